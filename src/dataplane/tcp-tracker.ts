/**
 * TCP tracker: says whether a segment belongs to the connection, and moves the connection's state on. Does not own the numbers
 * (tcp-window.ts), the state's layout (tcp-state.ts), time-outs (trackers.ts), or what happens to a refused segment.
 *
 *   SYN      -> trackOpening   opens, is sent again, opens anew, or is none of our knowledge: noted, for the ends to judge
 *   SYN ACK  -> trackAnswer    answers the SYN that is known, or the one that was noted
 *   RST      -> trackReset     ends the connection only where the receiver must obey it
 *   others   -> windows, then FIN and acknowledgements
 *
 * Noted: the ends may know better than the middle. A host that lost a connection opens it again on the same ports while it is
 * still known here; the other end answers with a challenge (RFC 5961 section 4) when it knows the old one, with SYN and ACK when
 * it does not. So a SYN that does not fit is let go without being believed, and is believed when it is answered.
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
import {
  BIT_FIN,
  BIT_FIN_ACKED,
  BIT_SYN,
  BIT_SYN_ACKED,
  isNoted,
  isSideSeen,
  NOTED_BIT,
  STATE_MASK,
  settleState,
  sideBits,
  TCP_CLOSED,
  TCP_SYN_RECEIVED,
  TCP_SYN_SENT,
  TCP_TIME_WAIT,
  withBits,
} from "./tcp-state.ts";
import {
  assumeSide,
  beginSide,
  isAckInWindow,
  isAckOfSyn,
  isInWindow,
  isSameSyn,
  learnWindow,
  openLimits,
  RESEED_SPAN,
  reseedWindow,
  segmentEnd,
} from "./tcp-window.ts";

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

/** The end that opened the flow, and the other one, as directions. */
const CLIENT = 0;
const SERVER = 1;

/** True for flag combinations that no sane sender uses (RFC 9293 has no meaning for them). */
export function hasBadFlags(segmentFlags: number): boolean {
  const kind = segmentFlags & (SYN | FIN | RST);
  if (kind === SYN || kind === RST) return false;
  return (segmentFlags & ACK) === 0 || (kind !== 0 && kind !== FIN);
}

/** True when the segment may open a connection: SYN alone of the four. */
export function isOpening(segmentFlags: number): boolean {
  return (segmentFlags & (SYN | ACK | RST | FIN)) === SYN;
}

/** Sets up a new row from its first segment, which is a SYN without ACK. */
export function beginTcp(table: FlowTable, row: number, bytes: Uint8Array, at: number, length: number): void {
  const words = table.words;
  const base = row * ROW_WORDS;
  words[base + F_STATE] = withBits(TCP_SYN_SENT, CLIENT, BIT_SYN);
  beginSide(words, base, CLIENT, bytes, at, length);
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
  if ((segmentFlags & SYN) !== 0) {
    return (segmentFlags & ACK) === 0
      ? trackOpening(words, base, direction, bytes, at, length, state)
      : trackAnswer(words, base, direction, bytes, at, length, state);
  }
  if ((segmentFlags & RST) !== 0) return trackReset(words, base, direction, bytes, at, state);
  const reseed = FLAG_RESEED_ORIGINAL << direction;
  if ((words[base + F_META]! & reseed) !== 0) {
    if (!reseedWindow(words, base, direction, bytes, at, length)) return TRACK_OUT_OF_WINDOW;
    words[base + F_META] = words[base + F_META]! & ~reseed;
    if (state !== TCP_CLOSED) moveOn(words, base, direction, segmentFlags, acknowledgement(bytes, at), state);
    return TRACK_RESEEDED;
  }
  if (state === TCP_SYN_SENT) return trackChallenge(words, base, direction, bytes, at);
  if (!isInWindow(words, base, direction, bytes, at, length)) return TRACK_OUT_OF_WINDOW;
  if (isAfterEnd(words, base, direction, segmentEnd(bytes, at, length))) return TRACK_OUT_OF_WINDOW;
  learnWindow(words, base, direction, bytes, at, length);
  if (state === TCP_CLOSED) return TRACK_IGNORED;
  return moveOn(words, base, direction, segmentFlags, acknowledgement(bytes, at), state);
}

/** A SYN alone. */
function trackOpening(
  words: Int32Array,
  base: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  state: number,
): number {
  if (state === TCP_CLOSED) return TRACK_NEW;
  if (state === TCP_TIME_WAIT) {
    // RFC 9293 section 3.6.1: a new incarnation begins above the numbers of the old one; below it may be an old duplicate.
    const old = words[base + F_WINDOW + direction * WINDOW_WORDS + W_END]!;
    if (((sequence(bytes, at) - old) | 0) >= 0) return TRACK_NEW;
  } else if (state === TCP_SYN_SENT) {
    // Once more, perhaps without its data (RFC 7413 section 4.2.1), which the answer may acknowledge all the same.
    if (isSameSyn(words, base, direction, bytes, at, length)) return TRACK_SAME;
    beginSide(words, base, direction, bytes, at, length);
    let next = withBits(
      words[base + F_STATE]!,
      direction,
      sideBits(words[base + F_STATE]!, direction) | BIT_SYN,
    );
    if (direction === SERVER) {
      // Simultaneous open (RFC 9293 section 3.5, figure 7): no older connection is left to be reset.
      next &= ~NOTED_BIT;
      words[base + F_WINDOW + WINDOW_WORDS + W_ACK] = 0;
      openLimits(words, base, direction, bytes, at, false);
    }
    words[base + F_STATE] = next;
    return settle(words, base, state);
  } else if (state === TCP_SYN_RECEIVED && isSameSyn(words, base, direction, bytes, at, length)) {
    // Whoever answered with SYN and ACK sends that again, not the SYN.
    const hasAnswered =
      direction === SERVER && (sideBits(words[base + F_STATE]!, CLIENT) & BIT_SYN_ACKED) !== 0;
    return hasAnswered ? TRACK_INVALID : TRACK_SAME;
  }
  // Nobody but who opened the flow may open it anew on the strength of the old decision.
  if (direction === SERVER) return TRACK_INVALID;
  words[base + F_WINDOW + W_ACK] = segmentEnd(bytes, at, length);
  words[base + F_STATE] = words[base + F_STATE]! | NOTED_BIT;
  return TRACK_IGNORED;
}

/** A SYN with an acknowledgement. */
function trackAnswer(
  words: Int32Array,
  base: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  state: number,
): number {
  if (state > TCP_SYN_RECEIVED && isInWindow(words, base, direction, bytes, at, length)) {
    // A retransmission that was late: the client answers it with an acknowledgement (RFC 5961 section 4.2).
    return direction === SERVER && state < TCP_TIME_WAIT ? TRACK_IGNORED : TRACK_INVALID;
  }
  const isOfNoted =
    direction === SERVER &&
    state !== TCP_SYN_SENT &&
    isNoted(words, base) &&
    acknowledgement(bytes, at) === words[base + F_WINDOW + W_ACK];
  if (isOfNoted) {
    // The client did open the connection anew, and the server agrees: the old one is forgotten by both.
    words[base + F_WINDOW + W_ACK] = 0;
    words[base + F_STATE] = TCP_SYN_SENT;
    const isScaled = windowScale(bytes, at, headerBytes(bytes, at)) !== NO_SCALE;
    assumeSide(words, base, CLIENT, acknowledgement(bytes, at), isScaled);
  } else if (state > TCP_SYN_RECEIVED) {
    return direction === SERVER && state < TCP_TIME_WAIT ? TRACK_OUT_OF_WINDOW : TRACK_INVALID;
  } else if (!isSideSeen(words, base, 1 - direction) || !isAckOfSyn(words, base, direction, bytes, at)) {
    return TRACK_INVALID;
  } else if (direction === CLIENT && !isSameSyn(words, base, direction, bytes, at, length)) {
    return TRACK_INVALID;
  }
  // The same answer once more keeps what was sent behind it; one with another number comes from a server that keeps no state
  // (RFC 4987 section 3.6).
  const isAgain = isSideSeen(words, base, direction) && isInWindow(words, base, direction, bytes, at, length);
  if (isAgain && (sideBits(words[base + F_STATE]!, 1 - direction) & BIT_SYN_ACKED) !== 0) return TRACK_SAME;
  if (!isAgain) beginSide(words, base, direction, bytes, at, length);
  words[base + F_WINDOW + direction * WINDOW_WORDS + W_ACK] = acknowledgement(bytes, at);
  let next = words[base + F_STATE]! & ~NOTED_BIT;
  next = withBits(next, direction, sideBits(next, direction) | BIT_SYN);
  words[base + F_STATE] = withBits(next, 1 - direction, sideBits(next, 1 - direction) | BIT_SYN_ACKED);
  openLimits(words, base, direction, bytes, at, true);
  return settle(words, base, isOfNoted ? TCP_SYN_SENT : state);
}

/**
 * Anything else while only the SYN is known. The server may still have an older connection on these ports: what it sends of that
 * is let go, and the client resets it with the number that it is told (RFC 9293 section 3.5.1).
 */
function trackChallenge(
  words: Int32Array,
  base: number,
  direction: number,
  bytes: Uint8Array,
  at: number,
): number {
  if (direction === CLIENT) return TRACK_INVALID;
  words[base + F_WINDOW + WINDOW_WORDS + W_ACK] = acknowledgement(bytes, at);
  words[base + F_STATE] = words[base + F_STATE]! | NOTED_BIT;
  return TRACK_IGNORED;
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
  const hasAck = (flags(bytes, at) & ACK) !== 0;
  const seq = sequence(bytes, at);
  const ack = acknowledgement(bytes, at);
  const isNotedHere = isNoted(words, base);
  if (!isSideSeen(words, base, direction)) {
    // RFC 9293 section 3.10.7.3: a reset that answers a SYN acknowledges it.
    return hasAck && isAckOfSyn(words, base, direction, bytes, at)
      ? close(words, base, state)
      : TRACK_OUT_OF_WINDOW;
  }
  if (state === TCP_SYN_SENT) {
    // The client gives up, or resets the older connection that the server still has.
    if (seq === words[own + W_END]) return close(words, base, state);
    return isNotedHere && seq === words[peer + W_ACK] ? TRACK_IGNORED : TRACK_OUT_OF_WINDOW;
  }
  // The server refuses a SYN that was let go.
  if (isNotedHere && direction === SERVER && hasAck && ack === words[peer + W_ACK]) {
    return close(words, base, state);
  }
  const isReseeding = (words[base + F_META]! & (FLAG_RESEED_ORIGINAL << direction)) !== 0;
  const slack = isReseeding ? RESEED_SPAN : 0;
  if (((seq - words[own + W_LIMIT]!) | 0) > slack) return TRACK_OUT_OF_WINDOW;
  // Zero is what some stacks put there.
  if (hasAck && ack !== 0 && !isAckInWindow(words, base, direction, ack, slack)) return TRACK_OUT_OF_WINDOW;
  // What the receiver acknowledged is below its window for sure.
  const isAckKnown = words[peer + W_ACK] !== 0 && !(isNotedHere && direction === SERVER);
  const lowest = isAckKnown
    ? words[peer + W_ACK]!
    : (words[own + W_END]! - (words[peer + W_MAX]! >>> 0) - 1) | 0;
  if (((seq - lowest) | 0) < -slack) return TRACK_OUT_OF_WINDOW;
  // Exactly what the receiver expects next: it must close. Elsewhere it answers with a challenge, and the flow lives on.
  const isExact = seq === words[own + W_END] || (isAckKnown && seq === words[peer + W_ACK]);
  return isExact ? close(words, base, state) : TRACK_IGNORED;
}

function close(words: Int32Array, base: number, state: number): number {
  words[base + F_STATE] = (words[base + F_STATE]! & ~STATE_MASK) | TCP_CLOSED;
  return state === TCP_CLOSED ? TRACK_IGNORED : TRACK_CHANGED;
}

/** Nothing follows a FIN (RFC 9293 section 3.6). One that its receiver acknowledged is no stranger's. */
function isAfterEnd(words: Int32Array, base: number, direction: number, end: number): boolean {
  if ((sideBits(words[base + F_STATE]!, direction) & BIT_FIN_ACKED) === 0) return false;
  return ((end - words[base + F_WINDOW + direction * WINDOW_WORDS + W_END]!) | 0) > 0;
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
  return settleState(words, base) === before ? TRACK_SAME : TRACK_CHANGED;
}
