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
as_user() {
	start-stop-daemon -S -c 1000:1000 -x /usr/bin/lanecall -- \
		--to "pcie:/dev/$1" ping
}
denied() { # COMMAND...: it fails, and the last line has why
	! "$@"
}
chmod 666 /dev/lanecall*

check "root calls over the socket plane" ping lanecall0
check "root calls over the direct plane" ping lanecall1
check "another user does not, over the socket plane" \
	denied as_user lanecall0
check "which is the end of the connection" \
	grep -q "closed the connection\|reset\|end" /tmp/out
check "nor over the direct plane" denied as_user lanecall1
check "which is why it cannot be opened" grep -qi "permi\|denied" /tmp/out
check "root still calls over both" ping lanecall0
check "root still calls over both" ping lanecall1
check "a server that is not told of the header serves nobody" \
	denied ping lanecall2
