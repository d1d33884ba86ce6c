/**
 * TCP tracker: owns a TCP flow's state and windows. Says whether a segment belongs to the connection; does not own
 * timeouts (trackers.ts) or what happens to a refused segment.
 *
 * State: each side's SYN and FIN, seen and acknowledged (RFC 9293 section 3.3.2 as seen from the middle). The name of the
 * connection's state follows from these eight bits, so simultaneous open and close need no cases of their own.
 *
 * Windows (G. van Rooij, "Real stateful TCP packet filtering in IP Filter"), for data from S to R:
 *
 *   S.end    highest sequence number that S sent, plus one
 *   S.limit  highest that S may send: largest acknowledgement + window that R announced
 *   S.max    largest window that S announced
 *
 *      R.acked                     S.end          S.limit
 *   ------|--------------------------|--------------|------->   I:   seq <= S.limit         II:  end >= S.end - R.max
 *         '--- sent, not acked ------'--- may send -'           III: ack <= R.end           IV:  ack >= R.end - max(S.max, 66000)
 */

import {
  ACK,
  acknowledgement,
  FIN,
  flags,
  headerBytes,
  NO_SCALE,
  RST,
  SYN,
  sequence,
  window,
  windowScale,
} from "../packet/tcp.ts";
import {
  F_META,
  F_STATE,
  F_WINDOW,
  FLAG_RESEED_ORIGINAL,
  ROW_WORDS,
  W_ACK,
  W_END,
  W_LIMIT,
  W_MAX,
  WINDOW_WORDS,
} from "./flow-layout.ts";
import type { FlowTable } from "./flow-table.ts";

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

/** The segment belongs to the connection and changed nothing that a backup must know. */
export const TRACK_SAME = 0;
/** It belongs, and the state changed. */
export const TRACK_CHANGED = 1;
/** It belongs and seeded a window after a takeover. */
export const TRACK_RESEEDED = 2;
/** A SYN that begins a new connection on the tuple of one that ended. */
export const TRACK_NEW = 3;
export const TRACK_INVALID = 4;
export const TRACK_OUT_OF_WINDOW = 5;
/** It passes, but must not keep the flow alive: state and timers stay as they are. */
export const TRACK_IGNORED = 6;

/** F_STATE: state in bits 0..7, then four bits a direction, then scales and what was offered. */
const STATE_MASK = 0xff;
const BITS_AT = 8;
const BITS_WIDTH = 4;
const BIT_SYN = 1;
const BIT_SYN_ACKED = 2;
const BIT_FIN = 4;
const BIT_FIN_ACKED = 8;
const SCALE_AT = 16;
const SCALE_WIDTH = 4;
const OFFERED_AT = 24;
const SEEN_AT = 26;
/** The side's SYN carried data (RFC 7413), of which the answer may acknowledge any part. */
const FAST_AT = 28;

/** An acknowledgement may be this far behind (a window without scaling, as van Rooij has it). */
const ACK_SPAN_MIN = 66_000;
/** Data in a SYN fits one frame. */
const SYN_DATA_BYTES_MAX = 2048;
/** How far behind reality a replica's windows may be: 10 Gbit/s for 50 ms. */
const RESEED_SPAN = 1 << 26;
/** What is assumed of a side whose SYN another node saw: the largest window and scale there are (RFC 7323 section 2.3). */
const UNSEEN_WINDOW = 65_535;
const UNSEEN_SCALE = 14;

/** The state of a row, TCP_*. */
export function tcpState(words: Int32Array, row: number): number {
  return words[row * ROW_WORDS + F_STATE]! & STATE_MASK;
}

/** True for flag combinations that no sane sender uses (RFC 9293 has no meaning for them). */
export function hasBadFlags(segmentFlags: number): boolean {
  const kind = segmentFlags & (SYN | FIN | RST);
  if (kind === SYN || kind === RST) return false;
  return (segmentFlags & ACK) === 0 || (kind !== 0 && kind !== FIN);
}

/** Sets up a new row from its first segment, which is a SYN without ACK. */
export function beginTcp(table: FlowTable, row: number, bytes: Uint8Array, at: number, length: number): void {
  const words = table.words;
  const base = row * ROW_WORDS;
  words[base + F_STATE] = TCP_SYN_SENT | (BIT_SYN << BITS_AT);
  beginSide(words, base, 0, bytes, at, length);
}

/** True when the segment may open a connection: SYN alone of the four. */
export function isOpening(segmentFlags: number): boolean {
  return (segmentFlags & (SYN | ACK | RST | FIN)) === SYN;
}

/** Judges a segment of `direction` (length without the IP header) and moves the row's state on: TRACK_*. */
export function trackTcp(
  table: FlowTable,
  row: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): number {
  const words = table.words;
  const base = row * ROW_WORDS;
  const segmentFlags = flags(bytes, at);
  if (hasBadFlags(segmentFlags)) return TRACK_INVALID;
  const state = words[base + F_STATE]! & STATE_MASK;
  if ((segmentFlags & SYN) !== 0) return trackSyn(words, base, direction, bytes, at, length, state);
  if ((segmentFlags & RST) !== 0) return trackReset(words, base, direction, bytes, at, state);
  if ((words[base + F_META]! & (FLAG_RESEED_ORIGINAL << direction)) !== 0) {
    return reseed(words, base, direction, bytes, at, length);
  }
  if (state === TCP_SYN_SENT) {
    // Only the answer to a SYN is known yet. A bare ACK from the far side is a challenge (RFC 5961 section 4).
    return direction === 1 ? TRACK_IGNORED : TRACK_INVALID;
  }
  if (!isInWindow(words, base, direction, bytes, at, length)) return TRACK_OUT_OF_WINDOW;
  if (isAfterEnd(words, base, direction, segmentEnd(bytes, at, length))) return TRACK_OUT_OF_WINDOW;
  learnWindow(words, base, direction, bytes, at, length);
  if (state === TCP_CLOSED) return TRACK_IGNORED;
  return moveOn(words, base, direction, segmentFlags, acknowledgement(bytes, at), state);
}

/** First segment of one side: its end, its window, its scale. */
function beginSide(
  words: Int32Array,
  base: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): void {
  const side = base + F_WINDOW + direction * WINDOW_WORDS;
  const end = segmentEnd(bytes, at, length);
  const size = window(bytes, at);
  words[side + W_END] = end;
  words[side + W_LIMIT] = end;
  words[side + W_MAX] = size === 0 ? 1 : size;
  const scale = windowScale(bytes, at, headerBytes(bytes, at));
  let state = (words[base + F_STATE]! | (1 << (SEEN_AT + direction))) & ~(1 << (FAST_AT + direction));
  if (length > headerBytes(bytes, at)) state |= 1 << (FAST_AT + direction);
  state &= ~(15 << (SCALE_AT + direction * SCALE_WIDTH)) & ~(1 << (OFFERED_AT + direction));
  if (scale !== NO_SCALE) {
    state |= (scale << (SCALE_AT + direction * SCALE_WIDTH)) | (1 << (OFFERED_AT + direction));
  }
  words[base + F_STATE] = state;
}

/** A segment with SYN: an opening, its retransmission, the answer, or a stranger on an old tuple. */
function trackSyn(
  words: Int32Array,
  base: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  state: number,
): number {
  const isAnswer = (flags(bytes, at) & ACK) !== 0;
  if (state === TCP_TIME_WAIT || state === TCP_CLOSED) {
    // RFC 9293 section 3.6.1: a new incarnation may begin from TIME-WAIT.
    return isAnswer ? TRACK_INVALID : TRACK_NEW;
  }
  if (state > TCP_SYN_RECEIVED) {
    // RFC 5961 section 4: the end point answers a SYN in a synchronized state with a challenge ACK; let it.
    return TRACK_IGNORED;
  }
  const isPeerSeen = ((words[base + F_STATE]! >> (SEEN_AT + 1 - direction)) & 1) !== 0;
  if (isAnswer && !(isPeerSeen && isAckOfSyn(words, base, direction, bytes, at))) return TRACK_INVALID;
  const own = base + F_WINDOW + direction * WINDOW_WORDS;
  if (state === TCP_SYN_RECEIVED && segmentEnd(bytes, at, length) !== words[own + W_END])
    return TRACK_IGNORED;
  beginSide(words, base, direction, bytes, at, length);
  const bits = sideBits(words[base + F_STATE]!, direction);
  let next = withBits(words[base + F_STATE]!, direction, bits | BIT_SYN);
  if (isAnswer) {
    next = withBits(next, 1 - direction, sideBits(next, 1 - direction) | BIT_SYN_ACKED);
    words[base + F_WINDOW + direction * WINDOW_WORDS + W_ACK] = acknowledgement(bytes, at);
  }
  words[base + F_STATE] = next;
  if (((next >> OFFERED_AT) & 3) !== 3 && ((next >> SEEN_AT) & 3) === 3) {
    // RFC 7323 section 2.2: scaling needs both sides' option.
    words[base + F_STATE] = next & ~(0xff << SCALE_AT);
  }
  openLimits(words, base, direction, bytes, at, isAnswer);
  return settle(words, base, state);
}

/** What each side may send grows by the other's SYN window, which is never scaled (RFC 7323 section 2.2). */
function openLimits(
  words: Int32Array,
  base: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  isAnswer: boolean,
): void {
  const own = base + F_WINDOW + direction * WINDOW_WORDS;
  const peer = base + F_WINDOW + (1 - direction) * WINDOW_WORDS;
  if (isAnswer) words[peer + W_LIMIT] = (acknowledgement(bytes, at) + window(bytes, at)) | 0;
  words[own + W_LIMIT] = (words[own + W_END]! + words[peer + W_MAX]!) | 0;
}

/** RST counts only inside the window, and ends the flow only where the end point must obey it (RFC 5961 section 3). */
function trackReset(
  words: Int32Array,
  base: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  state: number,
): number {
  const own = base + F_WINDOW + direction * WINDOW_WORDS;
  const peer = base + F_WINDOW + (1 - direction) * WINDOW_WORDS;
  const seen = (words[base + F_STATE]! >> (SEEN_AT + direction)) & 1;
  if (seen === 0) {
    // RFC 9293 section 3.10.7.3: a reset that answers a SYN acknowledges it exactly.
    if ((flags(bytes, at) & ACK) === 0 || acknowledgement(bytes, at) !== words[peer + W_END]) {
      return TRACK_OUT_OF_WINDOW;
    }
    return close(words, base, state);
  }
  const seq = sequence(bytes, at);
  const isReseeding = (words[base + F_META]! & (FLAG_RESEED_ORIGINAL << direction)) !== 0;
  const slack = isReseeding ? RESEED_SPAN : 0;
  if (((seq - words[own + W_LIMIT]!) | 0) > slack) return TRACK_OUT_OF_WINDOW;
  if (((seq - words[own + W_END]!) | 0) < -(words[peer + W_MAX]! >>> 0) - 1) return TRACK_OUT_OF_WINDOW;
  // Exactly what the receiver expects next: it must close. Elsewhere it answers with a challenge, and the flow lives on.
  if (seq === words[peer + W_ACK] || seq === words[own + W_END]) return close(words, base, state);
  return TRACK_IGNORED;
}

function close(words: Int32Array, base: number, state: number): number {
  words[base + F_STATE] = (words[base + F_STATE]! & ~STATE_MASK) | TCP_CLOSED;
  return state === TCP_CLOSED ? TRACK_IGNORED : TRACK_CHANGED;
}

/** After a takeover the first segment of each side tells where that side is, within what may have been missed. */
function reseed(
  words: Int32Array,
  base: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): number {
  const own = base + F_WINDOW + direction * WINDOW_WORDS;
  const peer = base + F_WINDOW + (1 - direction) * WINDOW_WORDS;
  const state = words[base + F_STATE]! & STATE_MASK;
  const end = segmentEnd(bytes, at, length);
  const ack = acknowledgement(bytes, at);
  if (isSideSeen(words, base, direction)) {
    const ahead = (end - words[own + W_END]!) | 0;
    if (ahead > RESEED_SPAN || ahead < -RESEED_SPAN) return TRACK_OUT_OF_WINDOW;
  }
  if (isSideSeen(words, base, 1 - direction)) {
    const ackAhead = (ack - words[peer + W_END]!) | 0;
    if (ackAhead > RESEED_SPAN || ackAhead < -RESEED_SPAN) return TRACK_OUT_OF_WINDOW;
  }
  inferSide(words, base, direction, end);
  inferSide(words, base, 1 - direction, ack);
  if (((end - words[own + W_END]!) | 0) > 0) words[own + W_END] = end;
  if (((ack - words[peer + W_END]!) | 0) > 0) words[peer + W_END] = ack;
  words[base + F_META] = words[base + F_META]! & ~(FLAG_RESEED_ORIGINAL << direction);
  learnWindow(words, base, direction, bytes, at, length);
  // What this side may send is known only from the other side; until it speaks, allow what it announced last.
  const limit = (end + (words[peer + W_MAX]! >>> 0)) | 0;
  if (((limit - words[own + W_LIMIT]!) | 0) > 0) words[own + W_LIMIT] = limit;
  if (state !== TCP_CLOSED) moveOn(words, base, direction, flags(bytes, at), ack, state);
  return TRACK_RESEEDED;
}

function isSideSeen(words: Int32Array, base: number, direction: number): boolean {
  return ((words[base + F_STATE]! >> (SEEN_AT + direction)) & 1) !== 0;
}

/**
 * A side that speaks, or whose bytes are acknowledged, has sent its SYN, whoever saw that: the handshake went on between the
 * last record and the takeover. Without this the connection would be refused for good.
 */
function inferSide(words: Int32Array, base: number, direction: number, end: number): void {
  if (isSideSeen(words, base, direction)) return;
  const side = base + F_WINDOW + direction * WINDOW_WORDS;
  words[side + W_END] = end;
  words[side + W_LIMIT] = end;
  words[side + W_MAX] = UNSEEN_WINDOW;
  const state = words[base + F_STATE]!;
  const isScaled = ((state >> (OFFERED_AT + 1 - direction)) & 1) !== 0;
  const scale = isScaled ? UNSEEN_SCALE << (SCALE_AT + direction * SCALE_WIDTH) : 0;
  words[base + F_STATE] =
    withBits(state, direction, sideBits(state, direction) | BIT_SYN) | scale | (1 << (SEEN_AT + direction));
}

function isInWindow(
  words: Int32Array,
  base: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): boolean {
  const own = base + F_WINDOW + direction * WINDOW_WORDS;
  const peer = base + F_WINDOW + (1 - direction) * WINDOW_WORDS;
  const seq = sequence(bytes, at);
  const end = segmentEnd(bytes, at, length);
  const ack = acknowledgement(bytes, at);
  const ownMax = words[own + W_MAX]! >>> 0;
  const peerMax = words[peer + W_MAX]! >>> 0;
  return (
    ((seq - words[own + W_LIMIT]!) | 0) <= 0 &&
    ((end - words[own + W_END]!) | 0) >= -peerMax - 1 &&
    ((ack - words[peer + W_END]!) | 0) <= 0 &&
    ((ack - words[peer + W_END]!) | 0) >= -Math.max(ownMax, ACK_SPAN_MIN) - 1
  );
}

/** Nothing follows a FIN (RFC 9293 section 3.6). One that its receiver acknowledged is no stranger's. */
function isAfterEnd(words: Int32Array, base: number, direction: number, end: number): boolean {
  if ((sideBits(words[base + F_STATE]!, direction) & BIT_FIN_ACKED) === 0) return false;
  return ((end - words[base + F_WINDOW + direction * WINDOW_WORDS + W_END]!) | 0) > 0;
}

function learnWindow(
  words: Int32Array,
  base: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): void {
  const own = base + F_WINDOW + direction * WINDOW_WORDS;
  const peer = base + F_WINDOW + (1 - direction) * WINDOW_WORDS;
  const end = segmentEnd(bytes, at, length);
  const ack = acknowledgement(bytes, at);
  const scale = (words[base + F_STATE]! >> (SCALE_AT + direction * SCALE_WIDTH)) & 15;
  const size = window(bytes, at) << scale;
  if (size > words[own + W_MAX]!) words[own + W_MAX] = size;
  if (((end - words[own + W_END]!) | 0) > 0) words[own + W_END] = end;
  // A zero window may still be probed with one byte (RFC 9293 section 3.8.6.1).
  const limit = (ack + (size === 0 ? 1 : size)) | 0;
  if (((limit - words[peer + W_LIMIT]!) | 0) > 0) words[peer + W_LIMIT] = limit;
  const before = words[own + W_ACK]!;
  if (before === 0 || ((ack - before) | 0) > 0) words[own + W_ACK] = ack;
}

/** FIN and the acknowledgements of SYN and FIN. */
function moveOn(
  words: Int32Array,
  base: number,
  direction: number,
  segmentFlags: number,
  ack: number,
  before: number,
): number {
  let state = words[base + F_STATE]!;
  const peerDirection = 1 - direction;
  const peerEnd = words[base + F_WINDOW + peerDirection * WINDOW_WORDS + W_END]!;
  let peerBits = sideBits(state, peerDirection);
  if ((peerBits & BIT_SYN) !== 0) peerBits |= BIT_SYN_ACKED;
  // After FIN a side's end does not move any more, so its acknowledgement is exactly there.
  if ((peerBits & BIT_FIN) !== 0 && ack === peerEnd) peerBits |= BIT_FIN_ACKED;
  state = withBits(state, peerDirection, peerBits);
  if ((segmentFlags & FIN) !== 0) state = withBits(state, direction, sideBits(state, direction) | BIT_FIN);
  words[base + F_STATE] = state;
  return settle(words, base, before);
}

/** Names the state that the bits spell. */
function settle(words: Int32Array, base: number, before: number): number {
  const state = words[base + F_STATE]!;
  const name = stateOf(sideBits(state, 0), sideBits(state, 1));
  words[base + F_STATE] = (state & ~STATE_MASK) | name;
  return name === before ? TRACK_SAME : TRACK_CHANGED;
}

function stateOf(original: number, reply: number): number {
  const both = original & reply;
  if ((both & BIT_FIN) !== 0) return (both & BIT_FIN_ACKED) !== 0 ? TCP_TIME_WAIT : TCP_LAST_ACK;
  const either = original | reply;
  if ((either & BIT_FIN) !== 0) return (either & BIT_FIN_ACKED) !== 0 ? TCP_CLOSE_WAIT : TCP_FIN_WAIT;
  if ((both & BIT_SYN_ACKED) !== 0) return TCP_ESTABLISHED;
  return (both & BIT_SYN) !== 0 ? TCP_SYN_RECEIVED : TCP_SYN_SENT;
}

function sideBits(state: number, direction: number): number {
  return (state >> (BITS_AT + direction * BITS_WIDTH)) & 15;
}

function withBits(state: number, direction: number, bits: number): number {
  const shift = BITS_AT + direction * BITS_WIDTH;
  return (state & ~(15 << shift)) | (bits << shift);
}

/** Whether a SYN's answer acknowledges the other side's SYN, with any part of the data it carried (RFC 7413). */
function isAckOfSyn(
  words: Int32Array,
  base: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
): boolean {
  const peer = base + F_WINDOW + (1 - direction) * WINDOW_WORDS;
  const behind = (words[peer + W_END]! - acknowledgement(bytes, at)) | 0;
  const isFast = ((words[base + F_STATE]! >> (FAST_AT + 1 - direction)) & 1) !== 0;
  return behind >= 0 && behind <= (isFast ? SYN_DATA_BYTES_MAX : 0);
}

/** Sequence number after the segment: SYN and FIN count as one each (RFC 9293 section 3.4). */
function segmentEnd(bytes: Uint8Array, at: number, length: number): number {
  const segmentFlags = flags(bytes, at);
  const extra = ((segmentFlags & SYN) >> 1) + (segmentFlags & FIN);
  return (sequence(bytes, at) + length - headerBytes(bytes, at) + extra) | 0;
}
