/**
 * TCP windows: which sequence numbers and acknowledgements a side may send. Owns each side's numbers in a flow's row; the
 * state of the connection is tcp-tracker.ts.
 *
 * After G. van Rooij, "Real stateful TCP packet filtering in IP Filter", for data from S to R:
 *
 *   S.end    highest sequence number that S sent, plus one
 *   S.limit  highest that S may send: largest acknowledgement + window that R announced
 *   S.max    largest window that S announced
 *
 *      R.acked                     S.end          S.limit
 *   ------|--------------------------|--------------|------->   I:   seq <= S.limit         II:  end >= S.end - R.max
 *         '--- sent, not acked ------'--- may send -'           III: ack <= R.end           IV:  ack >= R.end - max(S.max, 66000)
 *
 * Where SACK may be used, III and IV are about the highest edge that a segment acknowledges: no byte that was never sent can
 * have arrived (RFC 2018 section 3).
 */
import {
  acknowledgement,
  FIN,
  flags,
  headerBytes,
  highestAcknowledged,
  isSackPermitted,
  NO_SCALE,
  SYN,
  sequence,
  window,
  windowScale,
} from "../packet/tcp.ts";
import {
  F_META,
  F_STATE,
  F_WINDOW,
  FLAG_UNSURE,
  W_ACK,
  W_END,
  W_LIMIT,
  W_MAX,
  WINDOW_WORDS,
} from "./flow-layout.ts";
import {
  BIT_SYN,
  FAST_AT,
  isSideSeen,
  NOTED_BIT,
  OFFERED_AT,
  SACK_BIT,
  SCALE_AT,
  SCALE_WIDTH,
  SEEN_AT,
  sideBits,
  withBits,
} from "./tcp-state.ts";

/** An acknowledgement may be this far behind (a window without scaling, as van Rooij has it). */
const ACK_SPAN_MIN = 66_000;
/** Data in a SYN fits one frame. */
const SYN_DATA_BYTES_MAX = 2048;
/** How far behind reality a replica's windows may be: 10 Gbit/s for 50 ms. */
export const RESEED_SPAN = 1 << 26;
/** What is assumed of a side whose SYN is not at hand: the largest window and scale there are (RFC 7323 section 2.3). */
const UNSEEN_WINDOW = 65_535;
const UNSEEN_SCALE = 14;

/** Sequence number after the segment: SYN and FIN count as one each (RFC 9293 section 3.4). */
export function segmentEnd(bytes: Uint8Array, at: number, length: number): number {
  const segmentFlags = flags(bytes, at);
  const extra = ((segmentFlags & SYN) >> 1) + (segmentFlags & FIN);
  return (sequence(bytes, at) + length - headerBytes(bytes, at) + extra) | 0;
}

/** Takes a side's numbers from its SYN: its end, its window, its options. */
export function beginSide(
  words: Int32Array,
  base: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): void {
  const side = base + F_WINDOW + direction * WINDOW_WORDS;
  const end = segmentEnd(bytes, at, length);
  const header = headerBytes(bytes, at);
  const size = window(bytes, at);
  words[side + W_END] = end;
  words[side + W_LIMIT] = end;
  words[side + W_MAX] = size === 0 ? 1 : size;
  const hasSack = isSackPermitted(bytes, at, header);
  let state = words[base + F_STATE]!;
  // Whoever is first may offer it, the other one may only accept it.
  if (!hasSack) state &= ~SACK_BIT;
  else if (!isSideSeen(words, base, 1 - direction)) state |= SACK_BIT;
  state = (state | (1 << (SEEN_AT + direction))) & ~(1 << (FAST_AT + direction));
  if (length > header) state |= 1 << (FAST_AT + direction);
  state &= ~(15 << (SCALE_AT + direction * SCALE_WIDTH)) & ~(1 << (OFFERED_AT + direction));
  const scale = windowScale(bytes, at, header);
  if (scale !== NO_SCALE) {
    state |= (scale << (SCALE_AT + direction * SCALE_WIDTH)) | (1 << (OFFERED_AT + direction));
  }
  // RFC 7323 section 2.2: scaling needs both sides' option.
  if (((state >> OFFERED_AT) & 3) !== 3 && ((state >> SEEN_AT) & 3) === 3) state &= ~(0xff << SCALE_AT);
  words[base + F_STATE] = state;
}

/**
 * A side whose SYN is not at hand, but was sent: another node saw it, or it was let go unjudged. With `isScaled` it may have
 * offered window scaling.
 */
export function assumeSide(
  words: Int32Array,
  base: number,
  direction: number,
  end: number,
  isScaled: boolean,
): void {
  const side = base + F_WINDOW + direction * WINDOW_WORDS;
  words[side + W_END] = end;
  words[side + W_LIMIT] = end;
  words[side + W_MAX] = UNSEEN_WINDOW;
  const state = words[base + F_STATE]!;
  const scale = isScaled
    ? (UNSEEN_SCALE << (SCALE_AT + direction * SCALE_WIDTH)) | (1 << (OFFERED_AT + direction))
    : 0;
  words[base + F_STATE] =
    withBits(state, direction, sideBits(state, direction) | BIT_SYN) | scale | (1 << (SEEN_AT + direction));
}

/** What each side may send grows by the other's SYN window, which is never scaled (RFC 7323 section 2.2). */
export function openLimits(
  words: Int32Array,
  base: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  isAnswer: boolean,
): void {
  const own = base + F_WINDOW + direction * WINDOW_WORDS;
  const peer = base + F_WINDOW + (1 - direction) * WINDOW_WORDS;
  if (isAnswer) words[peer + W_LIMIT] = (acknowledgement(bytes, at) + (window(bytes, at) || 1)) | 0;
  words[own + W_LIMIT] = (words[own + W_END]! + words[peer + W_MAX]!) | 0;
}

export function isInWindow(
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
  const hasSack = (words[base + F_STATE]! & SACK_BIT) !== 0;
  const ack = hasSack ? highestAcknowledged(bytes, at, headerBytes(bytes, at)) : acknowledgement(bytes, at);
  const peerMax = words[peer + W_MAX]! >>> 0;
  return (
    ((seq - words[own + W_LIMIT]!) | 0) <= 0 &&
    ((end - words[own + W_END]!) | 0) >= -peerMax &&
    isAckInWindow(words, base, direction, ack, 0)
  );
}

/**
 * III and IV: whether a side may acknowledge this, give or take `slack`. What the other one sent unseen here, before a takeover or
 * while the lease was out, may be acknowledged long after; no later segment tells where that ended, since any may be a
 * repetition. An end point itself refuses what it never sent (RFC 9293 section 3.10.7.4), so nobody gains by such an acknowledgement:
 * it moves the other's limit, never its end.
 */
export function isAckInWindow(
  words: Int32Array,
  base: number,
  direction: number,
  ack: number,
  slack: number,
): boolean {
  const ownMax = words[base + F_WINDOW + direction * WINDOW_WORDS + W_MAX]! >>> 0;
  const ahead = (ack - words[base + F_WINDOW + (1 - direction) * WINDOW_WORDS + W_END]!) | 0;
  const isUnsure = (words[base + F_META]! & FLAG_UNSURE) !== 0;
  return ahead <= (isUnsure ? RESEED_SPAN : slack) && ahead >= -Math.max(ownMax, ACK_SPAN_MIN) - slack;
}

/** Moves both sides' numbers on by a segment that is in the window. */
export function learnWindow(
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
  const state = words[base + F_STATE]!;
  const scale = (state >> (SCALE_AT + direction * SCALE_WIDTH)) & 15;
  const size = window(bytes, at) << scale;
  if (size > words[own + W_MAX]!) words[own + W_MAX] = size;
  if (((end - words[own + W_END]!) | 0) > 0) words[own + W_END] = end;
  // A zero window may still be probed with one byte (RFC 9293 section 3.8.6.1).
  const limit = (ack + (size === 0 ? 1 : size)) | 0;
  if (((limit - words[peer + W_LIMIT]!) | 0) > 0) words[peer + W_LIMIT] = limit;
  const before = words[own + W_ACK]!;
  if (direction === 0 && (state & NOTED_BIT) !== 0) {
    // The client goes on with the connection that it has: the SYN that was noted was not its own, or is forgotten.
    words[base + F_STATE] = state & ~NOTED_BIT;
    words[own + W_ACK] = ack;
  } else if (before === 0 || ((ack - before) | 0) > 0) {
    words[own + W_ACK] = ack;
  }
}

/** Whether a SYN's answer acknowledges the other side's SYN, with any part of the data it carried (RFC 7413). */
export function isAckOfSyn(
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

/** Whether a SYN is the side's own once more, without the data that it may have carried (RFC 7413 section 4.2.1). */
export function isSameSyn(
  words: Int32Array,
  base: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): boolean {
  if (!isSideSeen(words, base, direction)) return false;
  const missing =
    (words[base + F_WINDOW + direction * WINDOW_WORDS + W_END]! - segmentEnd(bytes, at, length)) | 0;
  const isFast = ((words[base + F_STATE]! >> (FAST_AT + direction)) & 1) !== 0;
  return missing === 0 || (isFast && missing > 0 && missing <= SYN_DATA_BYTES_MAX);
}

/**
 * After a takeover the first segment of each side tells where that side is, within what may have been missed. A side that
 * speaks, or whose bytes are acknowledged, has sent its SYN, whoever saw that. False: it is from nowhere near.
 */
export function reseedWindow(
  words: Int32Array,
  base: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): boolean {
  const own = base + F_WINDOW + direction * WINDOW_WORDS;
  const peer = base + F_WINDOW + (1 - direction) * WINDOW_WORDS;
  const end = segmentEnd(bytes, at, length);
  const ack = acknowledgement(bytes, at);
  if (isFar(words, base, direction, end) || isFar(words, base, 1 - direction, ack)) return false;
  inferSide(words, base, direction, end);
  inferSide(words, base, 1 - direction, ack);
  if (((end - words[own + W_END]!) | 0) > 0) words[own + W_END] = end;
  if (((ack - words[peer + W_END]!) | 0) > 0) words[peer + W_END] = ack;
  learnWindow(words, base, direction, bytes, at, length);
  // What this side may send is known only from the other side; until it speaks, allow what it announced last.
  const limit = (end + (words[peer + W_MAX]! >>> 0)) | 0;
  if (((limit - words[own + W_LIMIT]!) | 0) > 0) words[own + W_LIMIT] = limit;
  return true;
}

function isFar(words: Int32Array, base: number, direction: number, end: number): boolean {
  if (!isSideSeen(words, base, direction)) return false;
  const ahead = (end - words[base + F_WINDOW + direction * WINDOW_WORDS + W_END]!) | 0;
  return ahead > RESEED_SPAN || ahead < -RESEED_SPAN;
}

/** Without this a connection whose handshake went on between the last record and the takeover would be refused for good. */
function inferSide(words: Int32Array, base: number, direction: number, end: number): void {
  if (isSideSeen(words, base, direction)) return;
  assumeSide(
    words,
    base,
    direction,
    end,
    ((words[base + F_STATE]! >> (OFFERED_AT + 1 - direction)) & 1) !== 0,
  );
}
