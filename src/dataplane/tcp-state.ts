/**
 * TCP state: the word of a flow's row that holds it, and the name that its bits spell. Owns the layout and the naming; what a
 * segment does to it is tcp-tracker.ts.
 *
 * Each side's SYN and FIN, seen and acknowledged, as seen from the middle (RFC 9293 section 3.3.2): the state follows from these
 * eight bits, so simultaneous open and close need no cases of their own.
 *
 *   bit 0..7   TCP_*                         bit 24..25  side offered window scaling
 *   bit 8..15  four bits a side              bit 26..27  side's numbers are known
 *   bit 16..23 window scale of each side     bit 28..29  side's SYN carried data
 *                                            bit 30      SACK may be used      bit 31  noted (see tcp-tracker.ts)
 */
import { F_STATE, ROW_WORDS } from "./flow-layout.ts";

export const TCP_NONE = 0;
export const TCP_SYN_SENT = 1;
export const TCP_SYN_RECEIVED = 2;
export const TCP_ESTABLISHED = 3;
export const TCP_FIN_WAIT = 4;
export const TCP_CLOSE_WAIT = 5;
export const TCP_LAST_ACK = 6;
export const TCP_TIME_WAIT = 7;
export const TCP_CLOSED = 8;
export const TCP_STATES = 9;
/** By TCP_*. */
export const TCP_STATE_NAMES = [
  "none",
  "syn_sent",
  "syn_received",
  "established",
  "fin_wait",
  "close_wait",
  "last_ack",
  "time_wait",
  "closed",
] as const;

export const STATE_MASK = 0xff;
const BITS_AT = 8;
const BITS_WIDTH = 4;
export const BIT_SYN = 1;
export const BIT_SYN_ACKED = 2;
export const BIT_FIN = 4;
export const BIT_FIN_ACKED = 8;
export const SCALE_AT = 16;
export const SCALE_WIDTH = 4;
export const OFFERED_AT = 24;
export const SEEN_AT = 26;
/** The side's SYN carried data (RFC 7413), of which the answer may acknowledge any part. */
export const FAST_AT = 28;
/** Both SYNs, or the only one so far, offered selective acknowledgements (RFC 2018). */
export const SACK_BIT = 1 << 30;
/**
 * An acknowledgement's word holds a number of something that was let go without being judged:
 * in SYN-SENT the server's, what its last challenge acknowledged; else the client's, the end of a SYN.
 */
export const NOTED_BIT = 1 << 31;

/** The state of a row, TCP_*. */
export function tcpState(words: Int32Array, row: number): number {
  return words[row * ROW_WORDS + F_STATE]! & STATE_MASK;
}

export function isSideSeen(words: Int32Array, base: number, direction: number): boolean {
  return ((words[base + F_STATE]! >> (SEEN_AT + direction)) & 1) !== 0;
}

export function isNoted(words: Int32Array, base: number): boolean {
  return (words[base + F_STATE]! & NOTED_BIT) !== 0;
}

export function sideBits(state: number, direction: number): number {
  return (state >> (BITS_AT + direction * BITS_WIDTH)) & 15;
}

export function withBits(state: number, direction: number, bits: number): number {
  const shift = BITS_AT + direction * BITS_WIDTH;
  return (state & ~(15 << shift)) | (bits << shift);
}

/** Writes the name of the state that a row's bits spell, and answers it. */
export function settleState(words: Int32Array, base: number): number {
  const state = words[base + F_STATE]!;
  const name = stateOf(sideBits(state, 0), sideBits(state, 1));
  words[base + F_STATE] = (state & ~STATE_MASK) | name;
  return name;
}

function stateOf(original: number, reply: number): number {
  const both = original & reply;
  if ((both & BIT_FIN) !== 0) return (both & BIT_FIN_ACKED) !== 0 ? TCP_TIME_WAIT : TCP_LAST_ACK;
  const either = original | reply;
  if ((either & BIT_FIN) !== 0) return (either & BIT_FIN_ACKED) !== 0 ? TCP_CLOSE_WAIT : TCP_FIN_WAIT;
  if ((both & BIT_SYN_ACKED) !== 0) return TCP_ESTABLISHED;
  return (both & BIT_SYN) !== 0 ? TCP_SYN_RECEIVED : TCP_SYN_SENT;
}
