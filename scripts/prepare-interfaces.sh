#!/usr/bin/env bash
# Prepares a node's interfaces before it starts (ExecStartPre of synwall-node.service, as root):
#   zone interfaces   up, no address, no ARP and no IPv6 of the kernel, no offloads that hand on frames that no wire carries
#   cluster link      up; its address and MTU are the machine's own business, only checked
#
#   scripts/prepare-interfaces.sh CONFIGURATION
set -euo pipefail

config=${1:?name the configuration}
synwall=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/bin/synwall
OFFLOADS=(tx rx sg tso gso gro lro rxvlan txvlan)

report=$("$synwall" check --config "$config" --role node --json) || exit 2
interfaces=$(node -e 'for (const i of JSON.parse(process.argv[1]).interfaces) console.log(i.zone ?? "-", i.name)' "$report")

while read -r zone name; do
  [ -d "/sys/class/net/$name" ] || { echo "synwall: there is no interface $name: correct dataplane.interfaces" >&2; exit 2; }
  if [ "$zone" != - ]; then
    ip address flush dev "$name"
    sysctl -q -w "net.ipv6.conf.$name.disable_ipv6=1" || true # A kernel without IPv6 has nothing to turn off.
    ip link set dev "$name" arp off
  fi
  # XDP and libpcap see frames before the NIC finishes or splits them. What a driver does not have cannot be turned off.
  for offload in "${OFFLOADS[@]}"; do ethtool -K "$name" "$offload" off >/dev/null 2>&1 || true; done
  ip link set dev "$name" up
done <<<"$interfaces"
