/**
 * BFD session (RFC 5880, asynchronous mode): the states, timers and poll sequence of one (peer, link).
 * Owns no socket and no clock; heartbeats.ts feeds it packets and asks it what to send.
 *
 *                 +--+ recv Down
 *   recv AdminDown|  |  -> Init      recv Init, Up -> Up
 *   expired    +--v--+---+    +------+    +----+
 *   -----------> Down    +---->| Init +--->| Up |        recv Init while Down -> Up at once
 *              +---------+<----+--+---+    +-+--+
 *                   ^  expired, recv AdminDown |
 *                   +--------------------------+ recv Down, AdminDown; expired
 *
 * One deviation: while not Up, RFC 5880 6.8.3 wants a transmit interval of at least one second. That is the default here
 * (routers get it), but sessions inside the cluster set `slowMs` lower: a healed link should count within its detection time.
 */
import type { Env } from "../../src/base/env.ts";
import {
  BFD_ADMIN_DOWN,
  BFD_DOWN,
  BFD_INIT,
  BFD_UP,
  type BfdPacket,
  type BfdState,
  DIAG_ADMIN_DOWN,
  DIAG_DETECTION_TIME_EXPIRED,
  DIAG_NEIGHBOR_SIGNALED_DOWN,
  DIAG_NONE,
  emptyBfdPacket,
} from "./bfd-packet.ts";

const RFC_SLOW_MS = 1000;
const JITTER_STEPS = 2500;

export interface BfdConfig {
  /** Transmit interval wanted while Up, and the least interval that we can receive at. */
  readonly intervalMs: number;
  readonly multiplier: number;
  /** Transmit interval while not Up. */
  readonly slowMs?: number;
}

export class BfdSession {
  state: BfdState = BFD_DOWN;
  diag = DIAG_NONE;
  /** Nothing valid was heard for a detection time (or ever). */
  isSilent = true;
  /** The last state that the peer told. */
  remoteState: BfdState = BFD_DOWN;
  readonly discriminator: number;
  readonly #config: BfdConfig;
  readonly #env: Env;
  readonly #packet: BfdPacket = emptyBfdPacket();
  #remoteDiscriminator = 0;
  #remoteMinRxMs = 0.001;
  #remoteMinTxMs = 0;
  #remoteMultiplier = 0;
  #hasRemoteRx = true;
  #isPolling = false;
  #isFinalDue = false;
  #nextTxMs: number;
  /** From then on the next packet may leave, although it is not due (6.8.7). */
  #mayTxMs: number;
  #heardMs = Number.NEGATIVE_INFINITY;
  #forgivenMs = 0;

  constructor(config: BfdConfig, env: Env, nowMs: number) {
    this.#config = config;
    this.#env = env;
    this.discriminator = 1 + env.random(0xfffffffe);
    this.#nextTxMs = nowMs;
    this.#mayTxMs = nowMs;
  }

  /** Time without a packet after which the peer is silent on this link (6.8.4). */
  get detectionMs(): number {
    if (this.#remoteMultiplier === 0) return this.#config.multiplier * this.#config.intervalMs;
    return this.#remoteMultiplier * Math.max(this.#config.intervalMs, this.#remoteMinTxMs);
  }

  /** When the session is declared down unless a packet comes. */
  get deadlineMs(): number {
    return this.#heardMs + this.#forgivenMs + this.detectionMs;
  }

  /** A received packet that decodeBfd() accepted (6.8.6). False: discarded. */
  receive(p: BfdPacket, nowMs: number): boolean {
    if (p.yourDiscriminator !== 0 && p.yourDiscriminator !== this.discriminator) return false;
    this.#remoteDiscriminator = p.myDiscriminator;
    this.remoteState = p.state;
    this.#hasRemoteRx = p.requiredMinRxMs > 0;
    this.#remoteMinRxMs = p.requiredMinRxMs;
    this.#remoteMinTxMs = p.desiredMinTxMs;
    this.#remoteMultiplier = p.multiplier;
    this.#heardMs = nowMs;
    this.#forgivenMs = 0;
    this.isSilent = false;
    if (p.isFinal) this.#isPolling = false;
    if (this.state === BFD_ADMIN_DOWN) return true;
    this.#advance(p.state, nowMs);
    if (p.isPoll) this.#isFinalDue = true;
    return true;
  }

  /** Lets time pass: an unheard peer is silent, and a session with it is down. */
  tick(nowMs: number): void {
    if (this.isSilent || nowMs < this.deadlineMs) return;
    this.isSilent = true;
    this.#remoteDiscriminator = 0;
    if (this.state === BFD_INIT || this.state === BFD_UP) {
      this.#enter(BFD_DOWN, DIAG_DETECTION_TIME_EXPIRED, nowMs);
    }
  }

  /** Puts the judgement off: our own loop stood still for `ms`. Bounded, so that a limping observer still sees deaths. */
  forgive(ms: number): void {
    this.#forgivenMs = Math.min(this.#forgivenMs + ms, this.detectionMs);
  }

  /** Starts a poll sequence at once: a living peer answers it without waiting for its own timer. */
  poll(nowMs: number): void {
    this.#isPolling = true;
    this.#nextTxMs = nowMs;
  }

  /** Makes the next transmission due now. */
  hurry(nowMs: number): void {
    this.#nextTxMs = Math.min(this.#nextTxMs, nowMs);
  }

  /** We stop in order: the peer learns it at once instead of by silence. */
  adminDown(nowMs: number): void {
    this.#enter(BFD_ADMIN_DOWN, DIAG_ADMIN_DOWN, nowMs);
  }

  /** Undoes adminDown(): the session may come up again (6.8.16). */
  adminUp(nowMs: number): void {
    if (this.state === BFD_ADMIN_DOWN) this.#enter(BFD_DOWN, DIAG_NONE, nowMs);
  }

  isTransmitDue(nowMs: number): boolean {
    return nowMs >= this.transmitDueMs;
  }

  /** When the next packet is due; Infinity: none is. */
  get transmitDueMs(): number {
    if (this.#isFinalDue) return Number.NEGATIVE_INFINITY;
    // Required min RX of zero: the peer wants no periodic packets (6.8.7).
    const isWanted = this.#hasRemoteRx || this.#isPolling || this.state !== BFD_UP;
    return isWanted ? this.#nextTxMs : Number.POSITIVE_INFINITY;
  }

  /** The next packet is due, or may leave before that: it is within what jitter may take off its interval. */
  mayTransmit(nowMs: number): boolean {
    return (
      this.isTransmitDue(nowMs) || (nowMs >= this.#mayTxMs && this.transmitDueMs !== Number.POSITIVE_INFINITY)
    );
  }

  /**
   * The packet to send now; the transmit timer starts anew. Valid until the next call. `jitter`: which part of the span that the
   * interval may be reduced by is not taken off, 0..1.
   */
  transmit(nowMs: number, jitter = drawJitter(this.#env)): BfdPacket {
    const p = this.#packet;
    p.diag = this.diag;
    p.state = this.state;
    p.isFinal = this.#isFinalDue;
    // Never both (6.5): a poll that is under way goes on with the next packet.
    p.isPoll = this.#isPolling && !p.isFinal;
    p.multiplier = this.#config.multiplier;
    p.myDiscriminator = this.discriminator;
    p.yourDiscriminator = this.#remoteDiscriminator;
    p.desiredMinTxMs = this.#desiredMinTxMs;
    p.requiredMinRxMs = this.#config.intervalMs;
    this.#isFinalDue = false;
    const intervalMs = Math.max(this.#desiredMinTxMs, this.#remoteMinRxMs);
    this.#mayTxMs = nowMs + this.#jittered(intervalMs, 0);
    this.#nextTxMs = nowMs + this.#jittered(intervalMs, jitter);
    return p;
  }

  get #desiredMinTxMs(): number {
    return this.state === BFD_UP
      ? this.#config.intervalMs
      : Math.max(this.#config.intervalMs, this.#config.slowMs ?? RFC_SLOW_MS);
  }

  /** Intervals are reduced by 0 to 25 %, or by 10 to 25 % when a single loss would bring the session down (6.8.7). */
  #jittered(intervalMs: number, jitter: number): number {
    const span = this.#config.multiplier === 1 ? 15 : 25;
    return (intervalMs * (75 + span * jitter)) / 100;
  }

  #advance(remote: BfdState, nowMs: number): void {
    if (remote === BFD_ADMIN_DOWN) {
      if (this.state !== BFD_DOWN) this.#enter(BFD_DOWN, DIAG_NEIGHBOR_SIGNALED_DOWN, nowMs);
      return;
    }
    if (this.state === BFD_DOWN) {
      if (remote === BFD_DOWN) this.#enter(BFD_INIT, DIAG_NONE, nowMs);
      else if (remote === BFD_INIT) this.#enter(BFD_UP, DIAG_NONE, nowMs);
    } else if (this.state === BFD_INIT) {
      if (remote === BFD_INIT || remote === BFD_UP) this.#enter(BFD_UP, DIAG_NONE, nowMs);
    } else if (this.state === BFD_UP && remote === BFD_DOWN) {
      this.#enter(BFD_DOWN, DIAG_NEIGHBOR_SIGNALED_DOWN, nowMs);
    }
  }

  #enter(state: BfdState, diag: number, nowMs: number): void {
    const wasUp = this.state === BFD_UP;
    this.state = state;
    this.diag = diag;
    // The transmit interval changes with Up, and a change of timers starts a poll sequence (6.8.3).
    this.#isPolling = state === BFD_UP || (wasUp && state === BFD_DOWN && !this.isSilent);
    this.#nextTxMs = nowMs;
  }
}

/** For transmit(): sessions that are served together share one, and so they stay together. */
export function drawJitter(env: Env): number {
  return env.random(JITTER_STEPS + 1) / JITTER_STEPS;
}
