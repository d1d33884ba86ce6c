/**
 * Fence: the asker's side. Owns what this node has learned about whose leases have run out.
 *
 * A node is fenced under epoch E at the moment when a majority of the voters refuses it under E (and was asked recently
 * enough that no restart can have made it forget) and each of their earlier promises has run out. Any lease needs a
 * majority, so it shares a voter with this one.
 */
import type { FenceAsk, FenceReply } from "./messages.ts";
import { DEFAULT_MARGIN_MS, DRIFT, FENCE_TRUST_LEASES, majority } from "./timing.ts";

const ASKS = 256;

export interface FenceConfig {
  readonly leaseMs: number;
  readonly voters: readonly number[];
  /** Between two asks for the same node. */
  readonly repeatMs: number;
  readonly marginMs?: number;
}

interface VoterAnswer {
  epoch: number;
  /** When the ask that it answered was sent. */
  askedMs: number;
  /** When its promises have run out. */
  outMs: number;
  knownEpoch: number;
  seenEpoch: number;
}

interface Target {
  epoch: number;
  nextAskMs: number;
  readonly answers: Map<number, VoterAnswer>;
}

export class FenceAsker {
  readonly #config: FenceConfig;
  readonly #targets = new Map<number, Target>();
  readonly #askedMs = new Float64Array(ASKS);
  /** As of LeaseHolder. */
  #sets: readonly (readonly number[])[];
  readonly #trustMs: number;
  #ask = 0;

  constructor(config: FenceConfig) {
    this.#config = config;
    this.#sets = [config.voters];
    this.#trustMs = config.leaseMs * FENCE_TRUST_LEASES;
  }

  setVoters(sets: readonly (readonly number[])[]): void {
    this.#sets = sets;
  }

  /** Asks for `node` to be fenced under `epoch` (a higher one replaces a lower one) until drop(). */
  want(node: number, epoch: number, nowMs: number): void {
    const t = this.#targets.get(node);
    if (t === undefined) {
      this.#targets.set(node, { epoch, nextAskMs: nowMs, answers: new Map() });
    } else if (epoch > t.epoch) {
      t.epoch = epoch;
      t.nextAskMs = nowMs;
    }
  }

  /** The node need not be fenced any more: the voters' fences lapse. */
  drop(node: number): void {
    this.#targets.delete(node);
  }

  /** Nodes that are being fenced. */
  wanted(): number[] {
    return [...this.#targets.keys()];
  }

  get isWanting(): boolean {
    return this.#targets.size > 0;
  }

  /** The asks to send to every voter now. */
  due(nowMs: number): FenceAsk[] {
    const asks: FenceAsk[] = [];
    for (const [node, t] of this.#targets) {
      if (nowMs < t.nextAskMs) continue;
      t.nextAskMs = nowMs + this.#config.repeatMs;
      this.#ask = (this.#ask + 1) >>> 0;
      this.#askedMs[this.#ask % ASKS] = nowMs;
      asks.push({ ask: this.#ask, node, epoch: t.epoch });
    }
    return asks;
  }

  /** A voter's answer. Answers to asks that are too old to be remembered, or to be trusted, are ignored. */
  reply(voter: number, r: FenceReply, nowMs: number): void {
    const t = this.#targets.get(r.node);
    if (t === undefined || r.ask > this.#ask || r.ask <= this.#ask - ASKS) return;
    const outMs = nowMs + r.remainingMs * DRIFT + (this.#config.marginMs ?? DEFAULT_MARGIN_MS);
    const askedMs = this.#askedMs[r.ask % ASKS] as number;
    if (nowMs >= askedMs + this.#trustMs) return;
    const before = t.answers.get(voter);
    // After that long the fence may have lapsed, or a restart have forgotten it, and the node have been promised something new.
    const isOver = before !== undefined && nowMs >= before.askedMs + this.#trustMs;
    if (before === undefined || isOver || r.epoch > before.epoch) {
      t.answers.set(voter, {
        epoch: r.epoch,
        askedMs,
        outMs,
        // What the cluster decided, and what the node has shown, stays so.
        knownEpoch: Math.max(before?.knownEpoch ?? 0, r.knownEpoch),
        seenEpoch: Math.max(before?.seenEpoch ?? 0, r.seenEpoch),
      });
      return;
    }
    before.knownEpoch = Math.max(before.knownEpoch, r.knownEpoch);
    before.seenEpoch = Math.max(before.seenEpoch, r.seenEpoch);
    if (r.epoch < before.epoch) return;
    before.askedMs = Math.max(before.askedMs, askedMs);
    before.outMs = Math.min(before.outMs, outMs);
  }

  /**
   * From when on `node` holds no lease under `epoch` or less, as far as answers tell; Infinity while a majority has not
   * answered recently. Holds at `nowMs` only.
   */
  fencedAtMs(node: number, epoch: number, nowMs: number): number {
    return this.#majorityth(node, Number.POSITIVE_INFINITY, (a) =>
      a.epoch >= epoch && nowMs < a.askedMs + this.#trustMs ? a.outMs : Number.POSITIVE_INFINITY,
    );
  }

  isFenced(node: number, epoch: number, nowMs: number): boolean {
    return nowMs >= this.fencedAtMs(node, epoch, nowMs);
  }

  /** A majority of the voters has applied this epoch or a later one, with `node` down in it: they refuse that life for good. */
  knownEpoch(node: number): number {
    return 0 - this.#majorityth(node, 0, (a) => -a.knownEpoch);
  }

  /** The highest epoch that `node` has shown to any voter: it decides nothing that it had lost by then. */
  seenEpoch(node: number): number {
    let highest = 0;
    for (const a of this.#targets.get(node)?.answers.values() ?? []) highest = Math.max(highest, a.seenEpoch);
    return highest;
  }

  /** The value that a majority of each set of voters has reached, counted from the lowest. */
  #majorityth(node: number, absent: number, value: (a: VoterAnswer) => number): number {
    const answers = this.#targets.get(node)?.answers;
    if (answers === undefined) return absent;
    let reached = Number.NEGATIVE_INFINITY;
    for (const voters of this.#sets) {
      const values = voters.map((v) => {
        const a = answers.get(v);
        return a === undefined ? absent : value(a);
      });
      values.sort((a, b) => a - b);
      reached = Math.max(reached, values[majority(values.length) - 1] ?? absent);
    }
    return reached;
  }
}
