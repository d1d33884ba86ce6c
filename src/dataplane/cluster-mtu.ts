/**
 * MTU arithmetic of the cluster link: redirected frames travel there inside GENEVE (RFC 8926). Owns the sizes only.
 *
 *   | outer IPv4 20 | UDP 8 | GENEVE 8 | option 12 | inner Ethernet 14 | inner IP packet, <= zone MTU |
 *   `------------------------- what the cluster link's MTU must hold --------------------------------'
 */
const OUTER_IPV4_BYTES = 20;
const UDP_BYTES = 8;
const GENEVE_BYTES = 8;
/** Option header 4, ingress zone and epoch 8. */
const GENEVE_OPTION_BYTES = 12;
const INNER_ETHERNET_BYTES = 14;

/** What a redirect adds to a zone's largest IP packet, counted as the cluster link's MTU counts (no outer Ethernet). */
export const REDIRECT_OVERHEAD_BYTES =
  OUTER_IPV4_BYTES + UDP_BYTES + GENEVE_BYTES + GENEVE_OPTION_BYTES + INNER_ETHERNET_BYTES;

/** Even with small zones: replication and Raft are planned for ordinary Ethernet, and a zone may be raised later. */
const ZONE_MTU_MIN = 1500;

/** The MTU that the cluster link needs, in bytes, when the largest MTU of all zones is `zoneMtuMax`. */
export function clusterMtuNeeded(zoneMtuMax: number): number {
  return Math.max(zoneMtuMax, ZONE_MTU_MIN) + REDIRECT_OVERHEAD_BYTES;
}
