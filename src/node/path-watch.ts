/**
 * Path watch: whether the cluster link still carries the largest redirected frame, from each peer to this node. Owns when a heartbeat is
 * sent as a probe and what follows from those that come; pure, so the simulator runs it.
 *
 *   each second, to each node:  | heartbeat ... | zeros, up to the cluster link's MTU |      Bytes after a heartbeat's MAC mean nothing.
 *
 * The heartbeats of a node that does so say it in a flag, so one that stops to arrive whole is missed, and an older build is not. It is
 * the receiver that notices: nobody answers a probe, and a lost one costs one heartbeat of many.
 */
import { ENVELOPE_MAX_BYTES } from "../../cluster/liveness/envelope.ts";
import { MAX_NODE_ID } from "../dataplane/cluster-view.ts";

export const PROBE_MS = 1000;
/** So many probes in a row are not lost by chance. */
const MISSED_MAX = 5;
/** A peer that was not heard for so long is judged by others; its path is unknown. */
const HEARD_MS_MAX = 2 * PROBE_MS;

export const PATH_UNKNOWN = 0;
export const PATH_WHOLE = 1;
export const PATH_NARROW = 2;

export class PathWatch {
  readonly #sentMs = new Float64Array(MAX_NODE_ID + 1).fill(Number.NEGATIVE_INFINITY);
  readonly #heardMs = new Float64Array(MAX_NODE_ID + 1).fill(Number.NEGATIVE_INFINITY);
  /** When the last probe arrived, or when the first heartbeat came that says that probes are sent. */
  readonly #wholeMs = new Float64Array(MAX_NODE_ID + 1).fill(Number.NEGATIVE_INFINITY);
  readonly #state = new Uint8Array(MAX_NODE_ID + 1);

  /** Whether the heartbeat that goes to a peer now is to be a probe; if so, the next is due later. */
  takeDue(peer: number, nowMs: number): boolean {
    if (nowMs - this.#sentMs[peer]! < PROBE_MS) return false;
    this.#sentMs[peer] = nowMs;
    return true;
  }

  /** A heartbeat of the peer was believed. `lengthBytes`: its datagram, with what follows the MAC. */
  heard(peer: number, isProbing: boolean, lengthBytes: number, nowMs: number): void {
    if (!isProbing) return;
    if (nowMs - this.#heardMs[peer]! > HEARD_MS_MAX) this.#wholeMs[peer] = nowMs;
    this.#heardMs[peer] = nowMs;
    if (lengthBytes <= ENVELOPE_MAX_BYTES) return;
    this.#wholeMs[peer] = nowMs;
    if (this.#state[peer] === PATH_UNKNOWN) this.#state[peer] = PATH_WHOLE;
  }

  /** As judge() found last. */
  isNarrow(peer: number): boolean {
    return this.#state[peer] === PATH_NARROW;
  }

  /** Judges a peer's path: PATH_* when that is news, else -1. About once a second. */
  judge(peer: number, nowMs: number): number {
    const before = this.#state[peer]!;
    const isHeard = nowMs - this.#heardMs[peer]! <= HEARD_MS_MAX;
    if (!isHeard) {
      this.#state[peer] = PATH_UNKNOWN;
    } else if (nowMs - this.#wholeMs[peer]! > MISSED_MAX * PROBE_MS) {
      this.#state[peer] = PATH_NARROW;
    } else if (before === PATH_NARROW) {
      this.#state[peer] = PATH_WHOLE;
    }
    const now = this.#state[peer]!;
    // That a path is whole, or not known any more, is news only after it was narrow.
    return before === now || (before !== PATH_NARROW && now !== PATH_NARROW) ? -1 : now;
  }
}
