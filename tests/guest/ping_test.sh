# SPDX-License-Identifier: Apache-2.0
# In the guest: pings over TCP through QEMU's user network and over both planes
# of the device, in turn, in one boot. By the medians of the best rounds (what
# else the host does only adds to a round) the socket plane must be faster than
# TCP, and the direct plane take less than 4 % of its time, in the better of two
# ways to wait: spinning always takes a CPU for each side, and where others want
# these, each waits for the other's turn.
# $1: the server over TCP; it is also behind /dev/lanecall0, and the firmware of
# /dev/lanecall1's card.
set -e
tcp=$1
socket=pcie:/dev/lanecall0
direct=pcie:/dev/lanecall1
rounds=9

ways() {
	cat <<-END
		tcp $tcp
		socket-rw $socket --mode rw
		socket-mapped $socket --mode mapped
		direct-always $direct --mode mapped --spin always
		direct-adaptive $direct --mode mapped --spin adaptive
	END
}

mkdir /tmp/rounds
for _ in $(seq $rounds); do
	ways | while read -r way to options; do
		# shellcheck disable=SC2086 # options are words
		lanecall --to "$to" $options ping --count 400 </dev/null |
			sed -n 's/.* p50 \([0-9.]*\).*/\1/p' >>"/tmp/rounds/$way"
	done
done

best() { sort -n "/tmp/rounds/$1" | sed -n 1p; }
echo "ping, the best of $rounds rounds' medians:"
ways | while read -r way _; do
	echo "$way $(best "$way")"
done | awk '
	NR == 1 { tcp = $2 }
	{ printf "%-16s %8.1f us %6.1f %% of TCP\n", $1, $2, 100 * $2 / tcp }
	$2 <= 0 || $1 ~ /^socket/ && $2 >= tcp {
		print "    that is too much"
		failed = 1
	}
	$1 ~ /^direct/ && (!direct || $2 < direct) { direct = $2 }
	END {
		if (direct >= 0.04 * tcp) {
			print "    the direct plane takes too much"
			failed = 1
		}
		exit failed || NR != 5
	}'
