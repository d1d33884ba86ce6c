/**
 * Leader of a log in a store: who plans. Nothing rests on there being one only, since each commit names the head that it follows;
 * it spares the store plans that would be refused. Owns who is believed to lead, and when this member takes over.
 *
 *   liveness calls the leader dead           the first of the survivors takes over at once (succession.ts), the others later
 *   the leader is heard, but the store has   anybody after LAPSE_MS: it cannot commit, though it lives
 *   not heard of it for long
 *   there is none                            anybody at once
 *
 * To take over is to replace the leader's record as it was last read: of several that try, one does.
 */
import type { LeaderRecord } from "./kv-keys.ts";
import { Succession } from "./succession.ts";

/** A leader says every BEAT_MS that it can commit. */
export const BEAT_MS = 1_000;
const LAPSE_MS = 3_000;
const NOBODY: LeaderRecord = { term: 0, node: 0, beat: 0 };

export interface KvLeaderOptions {
  readonly self: number;
  readonly isWitness: boolean;
  /** Members that have a dataplane, this one included. */
  readonly candidates: () => readonly number[];
  /** This member is none that was declared down. */
  readonly mayLead: () => boolean;
}

export class KvLeader {
  readonly #options: KvLeaderOptions;
  readonly #succession = new Succession();
  #record = NOBODY;
  #modRevision = 0;
  #knownAt = 0;
  #seenMs = 0;
  #otherSeenMs: number | undefined;
  /** There is no leader, or it died. Stays until somebody else leads or this member has asked. */
  #isWanted = false;
  /** It was not heard of for long; any sign of it, or of the store after it was away, says otherwise. */
  #isLapsed = false;
  /** One request at a time: a store that is slow must not be asked again and again. */
  #isAsking = false;

  constructor(options: KvLeaderOptions) {
    this.#options = options;
  }

  get record(): LeaderRecord {
    return this.#record;
  }

  /** Of the record, 0 when there is none; what takes over must compare it. */
  get modRevision(): number {
    return this.#modRevision;
  }

  get isSelf(): boolean {
    return this.#record.node === this.#options.self;
  }

  /**
   * The record as it stood at the revision `knownAt`; undefined: there was none. True: another member leads than before, or in
   * another term.
   */
  saw(record: LeaderRecord | undefined, modRevision: number, knownAt: number, nowMs: number): boolean {
    if (knownAt < this.#knownAt) return false;
    this.#knownAt = knownAt;
    const before = this.#record;
    if (record === undefined) this.#isWanted = !this.#options.isWitness;
    else if (modRevision === this.#modRevision) return false;
    this.#record = record ?? { ...before, node: 0 };
    this.#modRevision = modRevision;
    this.#seenMs = nowMs;
    this.#isLapsed = false;
    if (this.#record.node !== 0 && !this.isSelf) this.#otherSeenMs = nowMs;
    const isOther = before.node !== this.#record.node || before.term !== this.#record.term;
    if (isOther && record !== undefined) {
      this.#isWanted = false;
      this.#succession.end();
    }
    return isOther;
  }

  /** The store answers again: what it did not tell meanwhile does not count. */
  reconnected(nowMs: number): void {
    this.#seenMs = nowMs;
    this.#otherSeenMs = nowMs;
    this.#isLapsed = false;
  }

  /** When another member was last seen leading, or the store answered again. */
  get otherSeenMs(): number {
    return this.#otherSeenMs ?? this.#seenMs;
  }

  died(node: number): void {
    const { self, isWitness, candidates, mayLead } = this.#options;
    if (node !== this.#record.node || isWitness || !mayLead()) return;
    if (this.#succession.begin(self, new Set([node]), candidates())) this.#isWanted = true;
  }

  tick(nowMs: number): void {
    const { self, isWitness, candidates } = this.#options;
    if (this.#succession.tick(0)) this.#isWanted = true;
    if (this.isSelf || isWitness || this.#record.node === 0 || !this.#options.mayLead()) return;
    const rank = Math.max(0, candidates().indexOf(self));
    if (nowMs - this.#seenMs >= LAPSE_MS + rank * BEAT_MS) this.#isLapsed = true;
  }

  /**
   * What is to replace the record when this member is to lead; undefined: it is not, or has asked already. The store has answered
   * when asked() is called; until the store is there to be asked, a reason waits.
   */
  takeOver(): LeaderRecord | undefined {
    if (this.#isAsking || !(this.#isWanted || this.#isLapsed)) return undefined;
    this.#isWanted = false;
    this.#isLapsed = false;
    // A reason may have waited while others declared this member down.
    if (this.#record.node !== 0 && !this.#options.mayLead()) return undefined;
    this.#isAsking = true;
    return { term: this.#record.term + 1, node: this.#options.self, beat: 0 };
  }

  /** The store has answered what takeOver() gave, or never will. */
  asked(): void {
    this.#isAsking = false;
  }

  /** What a leader writes every BEAT_MS; undefined: this member does not lead. */
  beat(): LeaderRecord | undefined {
    const { term, node, beat } = this.#record;
    return this.isSelf && this.#options.mayLead() ? { term, node, beat: beat + 1 } : undefined;
  }

  heir(node: number): LeaderRecord | undefined {
    return this.isSelf ? { term: this.#record.term + 1, node, beat: 0 } : undefined;
  }
}
