# SPDX-License-Identifier: Apache-2.0
# In the guest: `lanecall stat`, of a channel that this shell has open and of
# calls that were made.
set -e
check() { # WHAT COMMAND...
	what=$1
	shift
	if "$@"; then
		echo "ok: $what"
	else
		echo "FAILED: $what"
		cat /tmp/out
		exit 1
	fi
}
# has ROW COLUMN VALUE: in the table that was printed last.
has() {
	awk -v row="$1" -v column="$2" -v value="$3" '
		NR == 1 { for (i = 1; i <= NF; i++) if ($i == column) at = i }
		$1 == "lanecall0" && $2 == row && $at == value { found = 1 }
		END { exit !found }' /tmp/out
}
# The total's row has no words: its last columns are the last.
total() { # COLUMNS-FROM-THE-END
	awk -v back="$1" '$2 == "total" { print $(NF - back) + 0 }' /tmp/out
}
stat() { lanecall stat >/tmp/out 2>&1; }

stat
check "nothing is open" [ "$(wc -l </tmp/out)" = 2 ]

exec 3<>/dev/lanecall0
stat
check "an open channel has a row" has 0 STATE ready
check "its owner is this shell" has 0 PID $$
exec 3<&-

lanecall --mode rw ping --count 100
stat
flushes=$(total 5)
check "read and write: a flush for each call" [ "$flushes" = 100 ]

lanecall --mode mapped ping --count 100
stat
check "mapped: the client's word, marked" grep -q "^\* with what programs say" /tmp/out
check "mapped: another flush for each call" [ "$(total 5)" = 200 ]
read -r bytes </sys/class/lanecall/lanecall0/total/tx_bytes
read -r said </sys/class/lanecall/lanecall0/total/user_tx_bytes
check "mapped: as many bytes as by read and write" [ "$bytes" = "$said" ]

(timeout -s INT 3 lanecall stat --watch || true) >/tmp/out 2>&1
check "watching prints rates" grep -q "In each second:" /tmp/out

rmmod lanecall
check "without the module it fails" eval "! stat"
check "and names the remedy" grep -q "modprobe lanecall" /tmp/out
