# SPDX-License-Identifier: Apache-2.0
# In a guest whose edu is a stock one: the driver leaves it alone and says what
# to do; the client names the remedy.
set -e
[ ! -e /dev/lanecall0 ]
[ ! -e "$(dirname "$(grep -l 0x11e8 /sys/bus/pci/devices/*/device)")/driver" ]
dmesg | grep "a stock edu without an RPC engine: start QEMU with -device edu,rpc="
if lanecall --to pcie:/dev/lanecall0 ping 2>/tmp/err; then exit 1; fi
cat /tmp/err
[ "$(wc -l </tmp/err)" = 1 ]
