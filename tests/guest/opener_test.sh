# SPDX-License-Identifier: Apache-2.0
# In the guest: root is served, on either plane, and another user is not.
set -e
check() { # WHAT COMMAND...
	what=$1
	shift
	if "$@" >/tmp/out 2>&1; then
		echo "ok: $what"
	else
		echo "FAILED: $what"
		cat /tmp/out
		exit 1
	fi
}
ping() { lanecall --to "pcie:/dev/$1" ping; }
mkdir -p /etc
echo 'caller:x:1000:1000::/tmp:/bin/sh' >/etc/passwd
as_user() { su caller -c "$*"; }
user_ping() { as_user lanecall --to "pcie:/dev/$1" ping; }
# denied REASON COMMAND...: it fails, and says why.
denied() {
	reason=$1
	shift
	if "$@" >/tmp/said 2>&1; then
		cat /tmp/said
		return 1
	fi
	cat /tmp/said
	grep -q "$reason" /tmp/said
}
chmod 666 /dev/lanecall*

check "root calls over the socket plane" ping lanecall0
check "root calls over the direct plane" ping lanecall1
check "there is another user" [ "$(as_user id -u)" = 1000 ]
check "who is not answered over the socket plane" \
	denied /dev/lanecall0 user_ping lanecall0
check "and cannot open the direct plane" \
	denied "/dev/lanecall1: open: Permission denied" user_ping lanecall1
check "root still calls over the socket plane" ping lanecall0
check "root still calls over the direct plane" ping lanecall1
check "a server that expects no header answers nobody" \
	denied /dev/lanecall2 ping lanecall2
