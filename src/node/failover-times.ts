/**
 * Failover times: how long each step of a takeover took, from the events of this node. Owns the three histograms:
 *
 *   last sign of life --detect--> judged dead --decide--> epoch committed --activate--> slots decided here
 *
 * A takeover is known by its epoch: only slots that this very epoch gave to this node count as gained in it. The commit may
 * come before this node's own judgement, when another was quicker; then there is no time from one to the other.
 */
import type { ClusterState } from "../../cluster/control/model.ts";
import { LatencyHistogram } from "../base/histogram.ts";

/** An epoch that gave us slots of a dead node, until the first of them is decided here. */
interface Takeover {
  readonly epoch: number;
  readonly committedMs: number;
  readonly slots: ReadonlySet<number>;
}

export class FailoverTimes {
  readonly detect = new LatencyHistogram();
  readonly decide = new LatencyHistogram();
  readonly activate = new LatencyHistogram();
  readonly #selfId: number;
  #takeovers = 0;
  /** By node id: when it was judged dead; until the commit, or until it is heard again. */
  readonly #judgedMs = new Map<number, number>();
  /** Members that the committed state has down. */
  #down: ReadonlySet<number> = new Set();
  #epoch = 0;
  #pending: readonly Takeover[] = [];

  constructor(selfId: number) {
    this.#selfId = selfId;
  }

  /** Takeovers in which this node gained slots. */
  get takeovers(): number {
    return this.#takeovers;
  }

  judged(node: number, lastHeardMs: number, atMs: number): void {
    this.detect.record(atMs - lastHeardMs);
    if (!this.#down.has(node)) this.#judgedMs.set(node, atMs);
  }

  /** The peer is heard: an earlier judgement was about another life, or came to nothing. */
  heard(node: number): void {
    this.#judgedMs.delete(node);
  }

  /** The committed state. `isAdmitted`: this process takes part; before that the log tells of earlier lives. */
  applied({ members, table }: ClusterState, isAdmitted: boolean, atMs: number): void {
    const down = new Set(members.filter(({ state }) => state === "down").map(({ id }) => id));
    for (const node of down) if (!this.#down.has(node)) this.#decided(node, atMs);
    this.#down = down;
    const isOurs = (slot: number, epoch: number): boolean =>
      table.owner[slot] === this.#selfId && table.movedEpoch[slot] === epoch;
    // What was taken from us again, or moved on, is not going to be gained.
    this.#pending = this.#pending.filter(({ epoch, slots }) =>
      [...slots].some((slot) => isOurs(slot, epoch)),
    );
    const isNew = table.epoch !== this.#epoch;
    this.#epoch = table.epoch;
    if (!isNew || !isAdmitted || table.cause !== "takeover") return;
    const slots = new Set([...table.owner.keys()].filter((slot) => isOurs(slot, table.epoch)));
    if (slots.size > 0) {
      this.#pending = [...this.#pending, { epoch: table.epoch, committedMs: atMs, slots }];
    }
  }

  /** This node decides these slots from now on. */
  gained(slots: readonly number[], atMs: number): void {
    const begun = this.#pending.filter((takeover) => slots.some((slot) => takeover.slots.has(slot)));
    if (begun.length === 0) return;
    for (const { committedMs } of begun) this.activate.record(Math.max(0, atMs - committedMs));
    this.#takeovers += begun.length;
    this.#pending = this.#pending.filter((takeover) => !begun.includes(takeover));
  }

  #decided(node: number, atMs: number): void {
    const judgedMs = this.#judgedMs.get(node);
    if (judgedMs === undefined) return;
    this.#judgedMs.delete(node);
    this.decide.record(Math.max(0, atMs - judgedMs));
  }
}
