/**
 * Meeting point of fragments: a slot that every node computes alike from what all fragments of a datagram share, so that
 * they meet at its owner. Owns the rule; carrying them there is redirect.ts. A domain of its own keeps it apart from the
 * slots of flows.
 */
import { type HashKey, indexHash, slotHash } from "../base/hash.ts";
import type { FragmentInfo } from "../packet/fragment.ts";

/** "frag": together with the protocol it keeps this use of the slot hash apart from the others. */
const DOMAIN_FRAGMENT = 0x66726167;

/**
 * Slot at whose owner the datagram's fragments meet: of source, destination, identification, and for IPv4 of the protocol
 * (RFC 791 section 3.2). RFC 8200 section 4.5 leaves the next header out: it may differ from fragment to fragment.
 */
export function meetingSlot(key: HashKey, slots: number, fragment: FragmentInfo): number {
  const { words, identification } = fragment;
  const domain = DOMAIN_FRAGMENT ^ (fragment.isIpv6 ? 0 : fragment.protocol << 24);
  if (!fragment.isIpv6) {
    return slotHash(key, words[3]!, words[7]!, identification, domain) & (slots - 1);
  }
  const source = indexHash(key, words[0]!, words[1]!, words[2]!, words[3]!);
  const destination = indexHash(key, words[4]!, words[5]!, words[6]!, words[7]!);
  return slotHash(key, source, destination, identification, domain) & (slots - 1);
}
