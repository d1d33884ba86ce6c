/**
 * Record check: whether a flow's record can have come from a flow table at all. Owns what a row must be like for the table to find
 * it again by both its tuples, and for nothing to be read beyond the slots; who may say so and when is replica.ts.
 */
import { MAPPED } from "../base/address.ts";
import { PROTOCOL_TCP } from "../packet/ipv4.ts";
import { FLAG_ADJUSTED } from "./flow-layout.ts";
import {
  ADDRESSES_AT,
  FAMILY_AT,
  FLAGS_AT,
  isIpv6Tuple,
  PORTS_AT,
  PROTOCOL_AT,
  readWord,
  STATE_AT,
} from "./flow-record.ts";
import { isPointer } from "./satellites.ts";

/** FLAG_ADJUSTED, as it stands in a record's first byte of flags. */
const ADJUSTED = FLAG_ADJUSTED >> 16;
/** Bytes of a tuple's two addresses. */
const TUPLE_BYTES = 32;

/** Whether the flow in the record at `at` can be entered. `slots`: how many there are. */
export function isSound(bytes: Uint8Array, at: number, slots: number): boolean {
  const protocol = bytes[at + PROTOCOL_AT]!;
  if (bytes[at + FAMILY_AT]! >> 2 !== 1) return false;
  // Only of TCP are numbers adjusted; a satellite that said so would be its own, and end with itself without end.
  if (protocol !== PROTOCOL_TCP && (bytes[at + FLAGS_AT]! & ADJUSTED) !== 0) return false;
  // A pointer's state is the slot that it leads to (borrowed.ts).
  if (isPointer(protocol) && readWord(bytes, at + STATE_AT) >>> 0 >= slots) return false;
  return isOfOneFamily(bytes, at, 0) && isOfOneFamily(bytes, at, 1) && !isOneTuple(bytes, at);
}

/** No IPv6 tuple holds an IPv4 address: it would be looked for as IPv4. */
function isOfOneFamily(bytes: Uint8Array, at: number, tuple: number): boolean {
  if (!isIpv6Tuple(bytes, at, tuple)) return true;
  const source = at + ADDRESSES_AT + tuple * TUPLE_BYTES;
  return !isMapped(bytes, source) && !isMapped(bytes, source + TUPLE_BYTES / 2);
}

/** A record's address begins with its last word; the first three follow. */
function isMapped(bytes: Uint8Array, at: number): boolean {
  return (
    readWord(bytes, at + 12) === MAPPED && readWord(bytes, at + 8) === 0 && readWord(bytes, at + 4) === 0
  );
}

/** Whether both tuples are the same: then only one of them would be found. */
function isOneTuple(bytes: Uint8Array, at: number): boolean {
  if (readWord(bytes, at + PORTS_AT) !== readWord(bytes, at + PORTS_AT + 4)) return false;
  const isIpv6 = isIpv6Tuple(bytes, at, 0);
  if (isIpv6 !== isIpv6Tuple(bytes, at, 1)) return false;
  const original = at + ADDRESSES_AT;
  const wordsBytes = isIpv6 ? 16 : 4;
  for (let end = 0; end < TUPLE_BYTES; end += 16) {
    for (let i = end; i < end + wordsBytes; i += 4) {
      if (readWord(bytes, original + i) !== readWord(bytes, original + TUPLE_BYTES + i)) return false;
    }
  }
  return true;
}
