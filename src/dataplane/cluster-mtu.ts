/**
 * Cluster MTU: what the cluster link must carry, since redirected frames travel there inside GENEVE (RFC 8926).
 *
 *   | outer IPv4 20 | UDP 8 | GENEVE 8 | option 12 | inner Ethernet 14 | inner IP packet, <= zone MTU |
 *   `------------------------- what the cluster link's MTU must hold --------------------------------'
 *
 * A sealed redirect has 24 bytes more: what the option told, encrypted with the frame, and the tag.
 */
import { redirectBytes } from "./redirect.ts";

/** Even with small zones: replication and Raft are planned for ordinary Ethernet, and a zone may be raised later. */
const ZONE_MTU_MIN = 1500;

/**
 * The MTU that the cluster link needs, in bytes, when the largest MTU of all zones is `zoneMtuMax`: what a redirect adds, counted as an
 * MTU counts. The outer Ethernet header is left out; the inner one, which is as long, is not.
 */
export function clusterMtuNeeded(zoneMtuMax: number, isSealed = false): number {
  return Math.max(zoneMtuMax, ZONE_MTU_MIN) + redirectBytes(isSealed);
}
