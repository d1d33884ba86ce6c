#!/usr/bin/env bash
# Prepares a node's interfaces before it starts (ExecStartPre of synwall-node.service, as root), at every start: what is set here
# is forgotten when the machine is started again.
#   zone interfaces   up, no address, no ARP and no IPv6 of the kernel, no offloads that hand on frames that no wire carries
#   cluster link      up, and its MTU raised if redirected frames would not fit; its address is the machine's own business
#   all               at most as many receive queues as the packet worker serves
#
#   scripts/prepare-interfaces.sh CONFIGURATION
set -euo pipefail

config=${1:?name the configuration}
synwall=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/bin/synwall
OFFLOADS=(tx rx sg tso gso gro lro rxvlan txvlan)
# The limits of src/io/xdp/queue-budget.ts: each queue takes 16 MiB of frame memory.
QUEUES_PER_PORT_MAX=8
QUEUES_MAX=64

say() { echo "synwall: $*"; }
fail() { echo "synwall: $*" >&2; exit 2; }

report=$("$synwall" check --config "$config" --role node --json) || exit 2
mapfile -t interfaces < <(node -e 'for (const i of JSON.parse(process.argv[1]).interfaces) console.log(i.zone ?? "-", i.name)' "$report")
[ "${#interfaces[@]}" -gt 0 ] || fail "$config names no interfaces"

redirect_bytes=$(node -e 'console.log(JSON.parse(process.argv[1]).redirectBytes)' "$report")

limit_queues() {
  local name=$1 most=$((QUEUES_MAX / ${#interfaces[@]})) kind now
  if [ "$most" -gt "$QUEUES_PER_PORT_MAX" ]; then most=$QUEUES_PER_PORT_MAX; fi
  if [ "$most" -lt 1 ]; then most=1; fi
  # A driver has combined queues, or separate ones, or does not know the question: then it has one.
  for kind in Combined RX; do
    now=$({ ethtool -l "$name" 2>/dev/null || true; } | awk -v kind="$kind:" '/^Current/ { isNow = 1 } isNow && $1 == kind { print $2 }')
    case "$now" in "" | *[!0-9]*) continue ;; esac
    if [ "$now" -gt "$most" ]; then
      ethtool -L "$name" "${kind,,}" "$most" || fail "$name has $now receive queues, and ethtool -L $name ${kind,,} $most failed"
      say "$name: $now receive queues set to $most"
    fi
  done
}

mtu_of() { cat "/sys/class/net/$1/mtu"; }

zone_mtu=1500 # The cluster link is planned for ordinary Ethernet, also where zones are smaller (src/base/mtu.ts).
cluster_link=
for entry in "${interfaces[@]}"; do
  read -r zone name <<<"$entry"
  [ -d "/sys/class/net/$name" ] || fail "there is no interface $name: correct dataplane.interfaces, or wait for the card"
  if [ "$zone" = - ]; then
    cluster_link=$name
  else
    ip address flush dev "$name"
    sysctl -q -w "net.ipv6.conf.$name.disable_ipv6=1" || true # A kernel without IPv6 has nothing to turn off.
    ip link set dev "$name" arp off
    mtu=$(mtu_of "$name")
    if [ "$mtu" -gt "$zone_mtu" ]; then zone_mtu=$mtu; fi
  fi
  # XDP and libpcap see frames before the NIC finishes or splits them. What a driver does not have cannot be turned off.
  for offload in "${OFFLOADS[@]}"; do ethtool -K "$name" "$offload" off >/dev/null 2>&1 || true; done
  limit_queues "$name"
done

needed=$((zone_mtu + redirect_bytes))
if [ -n "$cluster_link" ] && [ "$(mtu_of "$cluster_link")" -lt "$needed" ]; then
  say "$cluster_link: MTU $(mtu_of "$cluster_link") raised to $needed; the switch must carry such frames too"
  ip link set dev "$cluster_link" mtu "$needed" || fail "$cluster_link cannot have MTU $needed: use a card that can, or smaller zones"
fi

for entry in "${interfaces[@]}"; do ip link set dev "${entry#* }" up; done
