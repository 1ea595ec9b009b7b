# SPDX-License-Identifier: Apache-2.0
# In the guest: pings over the device and over TCP through QEMU's user network,
# in turn, in one boot; the device's median must be the lower one.
set -e
tcp=$1
rounds=9

median() { sort -n | sed -n "$((rounds / 2 + 1))p"; }
ping_p50() { lanecall --to "$1" ping --count 400 | sed 's/.* p50 \([0-9.]*\).*/\1/'; }

for round in $(seq $rounds); do
	ping_p50 pcie:/dev/lanecall0 >>/tmp/pcie
	ping_p50 "$tcp" >>/tmp/tcp
done
pcie=$(median </tmp/pcie)
user=$(median </tmp/tcp)
echo "ping, median of $rounds rounds' medians: pcie $pcie us, TCP through user networking $user us"
awk -v pcie="$pcie" -v user="$user" 'BEGIN { exit !(pcie > 0 && pcie < user) }'
