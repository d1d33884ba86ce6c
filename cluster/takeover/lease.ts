/**
 * Lease: the holder's side. Owns for how long this node may act exclusively without hearing from a majority.
 *
 *   request 7 sent           request 8 sent        acks of 7 from a majority
 *   ----|-------------------------|--------------------------|------------------|----
 *       '---------------------- lease: L after the SENDING of 7 ----------------'
 *
 * The lease counts from the sending, because a voter's promise begins at its receipt, which cannot be earlier.
 */
import { majority } from "./timing.ts";

/** Requests whose sending time is remembered; an ack of an older one is worthless anyway. */
const SENDS = 256;

export interface LeaseConfig {
  readonly leaseMs: number;
  readonly voters: readonly number[];
  /** Names this life: acks meant for an earlier one are ignored. */
  readonly nonce: number;
}

export class LeaseHolder {
  readonly #leaseMs: number;
  readonly #nonce: number;
  readonly #sentMs = new Float64Array(SENDS);
  readonly #ackedSentMs = new Map<number, number>();
  /** Majorities of all are needed: of one set, or of two while one follows the other. */
  #sets: readonly (readonly number[])[];
  #seq = 0;
  #validUntilMs = Number.NEGATIVE_INFINITY;

  constructor(config: LeaseConfig) {
    this.#leaseMs = config.leaseMs;
    this.#nonce = config.nonce;
    this.#sets = [config.voters];
  }

  /** Exclusive actions are allowed while now < this, on this node's monotonic clock. */
  get validUntilMs(): number {
    return this.#validUntilMs;
  }

  /** The voters changed by a commit; see control/quorum.ts. */
  setVoters(sets: readonly (readonly number[])[]): void {
    this.#sets = sets;
    this.#update();
  }

  /** What was acknowledged so far counts no more. */
  forget(): void {
    this.#ackedSentMs.clear();
    this.#update();
  }

  /** Begins a new request, sent now (or later, never earlier), and returns its number. */
  request(nowMs: number): number {
    this.#seq++;
    this.#sentMs[this.#seq % SENDS] = nowMs;
    return this.#seq;
  }

  /** `voter` acknowledged the request `seq` of the life `nonce`. An older ack than one before changes nothing. */
  ack(voter: number, nonce: number, seq: number): void {
    if (nonce !== this.#nonce || seq > this.#seq || seq <= this.#seq - SENDS || seq <= 0) return;
    const sentMs = this.#sentMs[seq % SENDS] as number;
    if (sentMs <= (this.#ackedSentMs.get(voter) ?? Number.NEGATIVE_INFINITY)) return;
    this.#ackedSentMs.set(voter, sentMs);
    this.#update();
  }

  #update(): void {
    let reachedMs = Number.POSITIVE_INFINITY;
    for (const voters of this.#sets) reachedMs = Math.min(reachedMs, this.#reachedMs(voters));
    this.#validUntilMs = reachedMs + this.#leaseMs;
  }

  /** When the latest request was sent that a majority of `voters` acknowledged. */
  #reachedMs(voters: readonly number[]): number {
    const sent = voters.map((v) => this.#ackedSentMs.get(v) ?? Number.NEGATIVE_INFINITY);
    sent.sort((a, b) => b - a);
    return sent[majority(sent.length) - 1] ?? Number.NEGATIVE_INFINITY;
  }
}
