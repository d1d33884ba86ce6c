/**
 * Probe log: when each probe of one flow was sent and heard at one end, in memory that is there before the first probe.
 * A process can be kept from running between the clock and the socket: a probe leaves at some time from `sentAtMs` to `sentByMs`.
 * Times are CLOCK_MONOTONIC milliseconds, which all processes of the machine share.
 */
export const PROBES_MAX = 600_000;

/** One end's view of one flow, as it travels to the drill. */
export interface ProbeRecord {
  readonly flow: number;
  /** Sequence number -> right before and right after it was sent. */
  readonly sentAtMs: readonly number[];
  readonly sentByMs: readonly number[];
  /** In order of arrival; the two arrays run in step. */
  readonly heard: readonly number[];
  readonly heardAtMs: readonly number[];
  /** The other end's address changed under way: the translation was lost. */
  readonly peerChanges: number;
}

export class ProbeLog {
  readonly #flow: number;
  readonly #sentAtMs = new Float64Array(PROBES_MAX);
  readonly #sentByMs = new Float64Array(PROBES_MAX);
  readonly #heard = new Uint32Array(PROBES_MAX);
  readonly #heardAtMs = new Float64Array(PROBES_MAX);
  #sentCount = 0;
  #heardCount = 0;
  #peer = "";
  #peerChanges = 0;

  constructor(flow: number) {
    this.#flow = flow;
  }

  /** Sequence number of the next probe, or -1 when the log is full. */
  nextSequence(): number {
    return this.#sentCount < PROBES_MAX ? this.#sentCount : -1;
  }

  sent(atMs: number, byMs: number): void {
    this.#sentAtMs[this.#sentCount] = atMs;
    this.#sentByMs[this.#sentCount++] = byMs;
  }

  heardProbe(sequence: number, atMs: number): void {
    if (this.#heardCount === PROBES_MAX) return;
    this.#heard[this.#heardCount] = sequence;
    this.#heardAtMs[this.#heardCount++] = atMs;
  }

  /** Notes where the other end is seen to be. */
  sawPeer(peer: string): void {
    if (this.#peer !== "" && this.#peer !== peer) this.#peerChanges++;
    this.#peer = peer;
  }

  record(): ProbeRecord {
    return {
      flow: this.#flow,
      sentAtMs: rounded(this.#sentAtMs.subarray(0, this.#sentCount)),
      sentByMs: rounded(this.#sentByMs.subarray(0, this.#sentCount)),
      heard: Array.from(this.#heard.subarray(0, this.#heardCount)),
      heardAtMs: rounded(this.#heardAtMs.subarray(0, this.#heardCount)),
      peerChanges: this.#peerChanges,
    };
  }
}

/** Whole microseconds: finer is noise, and JSON would carry every digit. */
export function rounded(times: Float64Array): number[] {
  return Array.from(times, (ms) => Math.round(ms * 1000) / 1000);
}
