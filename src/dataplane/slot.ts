/**
 * Slot of a packet, from the packet and the policy alone: both directions of a flow give the same slot on every node,
 * before any state arrived. Owns the rule; hashing and port mixing are base/hash.ts.
 *
 *   affinity source   keyed hash of the anchor: the end in the more trusted zone, after DNAT and before SNAT
 *   affinity flow     keyed hash of both ends, the same in both directions
 *   to a pool address the low bits of the mixed port: SNAT chose the port so that they are the flow's slot
 */
import { type HashKey, keyedHash32, mix16 } from "../base/hash.ts";

/** Keeps the two uses of the slot hash apart. */
const DOMAIN_FLOW = 0x666c6f77;

/** Slot of an address: of an asking host, or of a flow's anchor. `slots` is a power of two. */
export function slotOfAddress(key: HashKey, slots: number, address: number): number {
  return keyedHash32(key, address) & (slots - 1);
}

/** Affinity `source`: the slot of the end in the more trusted zone; with equal trust of the lower address. */
export function slotBySource(
  key: HashKey,
  slots: number,
  source: number,
  destination: number,
  sourceTrust: number,
  destinationTrust: number,
): number {
  let anchor = sourceTrust > destinationTrust ? source : destination;
  if (sourceTrust === destinationTrust) anchor = source >>> 0 < destination >>> 0 ? source : destination;
  return slotOfAddress(key, slots, anchor);
}

/** Affinity `flow`: symmetric in the two ends. */
export function slotByFlow(
  key: HashKey,
  slots: number,
  source: number,
  destination: number,
  sourcePort: number,
  destinationPort: number,
): number {
  const isOrdered = source === destination ? sourcePort <= destinationPort : source >>> 0 < destination >>> 0;
  const hash = isOrdered
    ? keyedHash32(key, source, destination, (sourcePort << 16) | destinationPort, DOMAIN_FLOW)
    : keyedHash32(key, destination, source, (destinationPort << 16) | sourcePort, DOMAIN_FLOW);
  return hash & (slots - 1);
}

/** Slot of a packet to a pool address. */
export function slotOfPoolPort(key: HashKey, slots: number, port: number): number {
  return mix16(key, port) & (slots - 1);
}
