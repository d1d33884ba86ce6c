/**
 * Slot of a packet, from the packet and the policy alone: both directions of a flow give the same slot on every node,
 * before any state arrived. Owns the rule; hashing and port mixing are base/hash.ts.
 *
 *   affinity source   keyed hash of the anchor: the end in the more trusted zone, after DNAT and before SNAT
 *   affinity flow     keyed hash of both ends, the same in both directions
 *   to a pool address the low bits of the mixed port: SNAT chose the port so that they are the flow's slot
 *   without ports     through SNAT: keyed hash of the far end, the only one that both directions know
 *
 * Addresses are words (base/address.ts); `slots` is a power of two.
 */
import { compareAddress, isIpv4, isSameAddress } from "../base/address.ts";
import { type HashKey, indexHash, keyedHash32, mix16 } from "../base/hash.ts";

/** Keeps the uses of the slot hash apart. */
const DOMAIN_FLOW = 0x666c6f77;
const DOMAIN_FAR = 0x66617220;

/** Slot of an address: of an asking host, or of a flow's anchor. */
export function slotOfAddress(key: HashKey, slots: number, words: Int32Array, at: number): number {
  const hash = isIpv4(words, at)
    ? keyedHash32(key, words[at + 3]!)
    : keyedHash32(key, words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
  return hash & (slots - 1);
}

/** Affinity `source`: the slot of the end in the more trusted zone; with equal trust of the lower address. */
export function slotBySource(
  key: HashKey,
  slots: number,
  source: Int32Array,
  sourceAt: number,
  destination: Int32Array,
  destinationAt: number,
  sourceTrust: number,
  destinationTrust: number,
): number {
  const isSource =
    sourceTrust === destinationTrust
      ? compareAddress(source, sourceAt, destination, destinationAt) < 0
      : sourceTrust > destinationTrust;
  return isSource
    ? slotOfAddress(key, slots, source, sourceAt)
    : slotOfAddress(key, slots, destination, destinationAt);
}

/** Affinity `flow`: symmetric in the two ends. */
export function slotByFlow(
  key: HashKey,
  slots: number,
  source: Int32Array,
  sourceAt: number,
  destination: Int32Array,
  destinationAt: number,
  sourcePort: number,
  destinationPort: number,
): number {
  const isOrdered = isSameAddress(source, sourceAt, destination, destinationAt)
    ? sourcePort <= destinationPort
    : compareAddress(source, sourceAt, destination, destinationAt) < 0;
  const a = addressHash(key, source, sourceAt);
  const b = addressHash(key, destination, destinationAt);
  const hash = isOrdered
    ? keyedHash32(key, a, b, (sourcePort << 16) | destinationPort, DOMAIN_FLOW)
    : keyedHash32(key, b, a, (destinationPort << 16) | sourcePort, DOMAIN_FLOW);
  return hash & (slots - 1);
}

/** Slot of a packet without ports that is translated: of its far end. */
export function slotOfFarEnd(key: HashKey, slots: number, words: Int32Array, at: number): number {
  return keyedHash32(key, addressHash(key, words, at), DOMAIN_FAR) & (slots - 1);
}

/** Slot of a packet to a pool address. */
export function slotOfPoolPort(key: HashKey, slots: number, port: number): number {
  return mix16(key, port) & (slots - 1);
}

/** One word for an address: itself for IPv4, a hash for IPv6. */
export function addressHash(key: HashKey, words: Int32Array, at: number): number {
  return isIpv4(words, at)
    ? words[at + 3]!
    : indexHash(key, words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
}
