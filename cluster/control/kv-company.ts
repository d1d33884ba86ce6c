/**
 * Company: whether a member may act on what it alone hears, where the log is in a store. Owns this question; who leads is kv-leader.ts,
 * what comes of an answer is the shell's.
 *
 * Whoever reaches the store can commit, also a member that the others do not hear. So where members fall into two parts that both reach
 * it, each could declare the other one down, be let in again itself, and so on, and for as long as that lasts nobody would decide
 * anything. One part goes on, the one with the leader:
 *
 *   declare down   who leads, or hears the leader; the leader itself, whoever saw it die
 *   come up        who hears the leader, or everybody who is up
 *   either         who has seen no sign of another leader in the store for FORLORN_MS: the others are dead there, too
 *
 * A member that was declared down leads no more, or its beats would pass for those of a part that decides.
 */
import type { ClusterState } from "./model.ts";

/** Twice what a leader's record may stand still before somebody else takes over. */
const FORLORN_MS = 6_000;

export interface Company {
  /** `alive`: members that this one hears, itself included. */
  mayComeUp(alive: ReadonlySet<number>): boolean;
  /** `isLeader`: `node` was the leader when it was seen dying. */
  mayDeclareDown(node: number, isLeader: boolean, alive: ReadonlySet<number>): boolean;
}

export interface CompanyFacts {
  readonly self: number;
  readonly state: () => ClusterState;
  /** 0: the store does not answer, or nobody leads. */
  readonly lead: () => number;
  /** When the store last showed a record of another leader, or answered again after it was away. */
  readonly otherSeenMs: () => number;
  readonly nowMs: () => number;
}

export class KvCompany implements Company {
  readonly #facts: CompanyFacts;

  constructor(facts: CompanyFacts) {
    this.#facts = facts;
  }

  /** The store knows this member as up, or nobody else: it may lead. */
  get mayLead(): boolean {
    const { self } = this.#facts;
    const up = this.#up();
    return up.length === 0 || up.includes(self);
  }

  mayComeUp(alive: ReadonlySet<number>): boolean {
    const { self, lead } = this.#facts;
    const others = this.#up().filter((id) => id !== self);
    return (
      others.every((id) => alive.has(id)) ||
      (others.includes(lead()) && alive.has(lead())) ||
      this.#isForlorn()
    );
  }

  mayDeclareDown(node: number, isLeader: boolean, alive: ReadonlySet<number>): boolean {
    const { self } = this.#facts;
    if (!this.#up().includes(self)) return false;
    const lead = this.#facts.lead();
    return alive.has(lead) || (isLeader && lead === node) || this.#isForlorn();
  }

  #isForlorn(): boolean {
    const { nowMs, otherSeenMs } = this.#facts;
    return nowMs() - otherSeenMs() >= FORLORN_MS;
  }

  #up(): readonly number[] {
    return this.#facts
      .state()
      .members.filter(({ role, state }) => role === "node" && state !== "down" && state !== "removed")
      .map(({ id }) => id);
  }
}
