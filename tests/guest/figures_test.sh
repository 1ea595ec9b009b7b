# SPDX-License-Identifier: Apache-2.0
# In the guest of run_figures, which has the devices and reads the lines:
#
#     calls WAY NUMBER SYSTEM-CALLS YIELDS INTERRUPTS
#     idle PLANE      before what idle_clients says
set -e

# ping WAY DEVICE SPIN NUMBER. It gets channel 0, whose interrupts are those of
# its last open. Of a mapped program the driver sees no doorbells: those are
# counted outside.
ping() {
	strace -f -c -o /tmp/calls lanecall --to "pcie:/dev/$2" --mode mapped \
		--spin "$3" ping --count "$4" >/dev/null
	read -r interrupts <"/sys/class/lanecall/$2/channel0/interrupts"
	awk -v way="$1" -v calls="$4" -v interrupts="$interrupts" '
		$NF == "sched_yield" { yields = $4 }
		$NF == "total" { all = $4 }
		END { print "calls", way, calls, all - yields, yields + 0, interrupts }
	' /tmp/calls
}

# Short ones, so that the machine leaves some of them alone.
for _ in $(seq 5); do
	for number in 1 1001; do
		ping socket-spinning lanecall0 always $number
		ping socket-sleeping lanecall0 never $number
		ping direct-spinning lanecall1 always $number
		ping direct-sleeping lanecall2 never $number
	done
done

idle_seconds=4
for _ in $(seq 3); do
	echo "idle none"
	idle_clients 0 none $idle_seconds
	echo "idle socket"
	idle_clients 64 pcie:/dev/lanecall0 $idle_seconds
	echo "idle direct"
	idle_clients 64 pcie:/dev/lanecall2 $idle_seconds
done
