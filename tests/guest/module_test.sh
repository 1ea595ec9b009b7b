# SPDX-License-Identifier: Apache-2.0
# In the guest, with lanecall.ko not loaded yet: loading by modalias, loading
# again, refusals with a remedy.
set -e
check() { # WHAT COMMAND...
	what=$1
	shift
	if "$@"; then
		echo "ok: $what"
	else
		echo "FAILED: $what"
		dmesg | tail -n 20
		exit 1
	fi
}
calls() { lanecall --to pcie:/dev/lanecall0 "$@"; }
says() { # TEXT COMMAND...: COMMAND fails, in one line with TEXT in it
	text=$1
	shift
	if "$@" >/tmp/out 2>&1; then return 1; fi
	cat /tmp/out
	[ "$(wc -l </tmp/out)" = 1 ] && grep -q "$text" /tmp/out
}
device=$(dirname "$(grep -l 0x11e8 /sys/bus/pci/devices/*/device)")

check "no node without the module" [ ! -e /dev/lanecall0 ]
check "a missing node is one line" says /dev/lanecall0 calls ping

check "the device's modalias loads the module" \
	modprobe "$(cat "$device/modalias")"
check "the node is there" [ -c /dev/lanecall0 ]
check "a call works" calls ping
check "without --to too" lanecall ping

for round in 1 2 3 4 5; do
	rmmod lanecall
	check "the node goes with the module" [ ! -e /dev/lanecall0 ]
	modprobe lanecall
	check "a call works after loading again" calls ping
done
check "nothing is in use" \
	[ "$(cat /sys/class/lanecall/lanecall0/channels_in_use)" = 0 ]
