/**
 * Log check: what Raft promises, seen from outside all members at once.
 *
 *   logs agree        whatever two members hold as committed at one index is the same entry (State Machine Safety, section 5.4.3)
 *   commits survive   an entry that any member held as committed is held by all of them in the end, whatever crashed meanwhile
 *   one vote a term   no member votes for two in a term, across restarts too (section 5.2)
 *   one leader a term (Election Safety, section 5.2)
 *
 * All of it holds within one generation of the log (cluster/control/generation.ts). What the log of a node that went on alone, and
 * lost, had committed is lost with it; in the end all are in one generation.
 *
 * A ledger keeps a hash of each committed entry. It is read from the members' stores after every write, and again whenever a
 * process opens its log.
 */
import type { Entry, Message } from "raft-ts";
import { floorTerm, generationOf } from "../../../cluster/control/generation.ts";
import type { ClusterState } from "../../../cluster/control/model.ts";
import type { DurableStorage } from "../../../cluster/storage/durable-storage.ts";
import type { SimCluster } from "./cluster.ts";
import type { SimMember } from "./member.ts";

const FINDINGS_MAX = 5;

interface Seen {
  readonly hash: number;
  readonly term: number;
  readonly by: string;
}

export class LogCheck {
  readonly findings: string[] = [];
  readonly #cluster: SimCluster;
  /** By generation and index. */
  readonly #ledger = new Map<string, Seen>();
  /** By generation. */
  readonly #lastIndexes = new Map<number, number>();
  readonly #votes = new Map<string, number>();
  readonly #leaders = new Map<number, string>();
  #lastIndex = 0;

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
    cluster.onStored = (member, storage) => this.#watch(member, storage);
    cluster.onRaft = (member, message) => this.#onRaft(member, message);
  }

  /** Committed entries that were seen. */
  get committed(): number {
    return this.#lastIndex;
  }

  /** For a healed cluster at rest: who does not hold every committed entry, or applied them to another state. */
  atRest(): string[] {
    const { members } = this.#cluster;
    const states = new Set<string>();
    const generations = new Set<number>();
    const findings = members.flatMap(({ name, running }) => {
      if (running === undefined) return [`${name} does not run`];
      const { commit, applied, term } = running.controller.driver.status();
      const generation = floorTerm(generationOf(term));
      const lastIndex = this.#lastIndexes.get(generation) ?? 0;
      generations.add(generation);
      states.add(textOf(running.controller.driver.state()));
      if (applied >= lastIndex) return [];
      return [`${name} applied ${applied} of ${lastIndex} committed entries (commit ${commit})`];
    });
    if (generations.size > 1) findings.push(`members have logs of ${generations.size} generations`);
    if (states.size > 1) findings.push(`members applied the same log to ${states.size} different states`);
    return findings;
  }

  #watch(member: SimMember, storage: DurableStorage): void {
    let noted = 0;
    let generation = -1;
    const note = (): void => {
      const { commit, term } = storage.initialState().hardState;
      const present = floorTerm(generationOf(term));
      if (present !== generation) noted = 0;
      generation = present;
      const snapshot = storage.snapshot();
      if (snapshot.index > noted) this.#note(member, generation, snapshot.index, snapshot.term);
      const from = Math.max(noted + 1, storage.firstIndex());
      if (from <= commit) {
        for (const entry of storage.entries(from, commit + 1, Number.MAX_SAFE_INTEGER)) {
          this.#note(member, generation, entry.index, entry.term, hashOf(entry));
        }
      }
      noted = Math.max(noted, commit);
    };
    const save = storage.save.bind(storage);
    storage.save = (ready, done) => {
      save(ready, done);
      note();
    };
    const restart = storage.restart.bind(storage);
    storage.restart = (snapshot, hardState) => {
      restart(snapshot, hardState);
      note();
    };
    note();
  }

  #note({ name }: SimMember, generation: number, index: number, term: number, hash?: number): void {
    const key = `${generation} ${index}`;
    const seen = this.#ledger.get(key);
    this.#lastIndex = Math.max(this.#lastIndex, index);
    this.#lastIndexes.set(generation, Math.max(this.#lastIndexes.get(generation) ?? 0, index));
    if (seen === undefined) {
      if (hash !== undefined) this.#ledger.set(key, { hash, term, by: name });
      return;
    }
    if (seen.term === term && (hash === undefined || seen.hash === hash)) return;
    this.#find(
      `${name} holds another committed entry ${index} (term ${term}) than ${seen.by} (term ${seen.term})`,
    );
  }

  #onRaft({ id, name }: SimMember, message: Message): void {
    const { type, term, to } = message;
    if (type === "MsgVoteResp" && !message.reject) {
      const key = `${id} ${term}`;
      const before = this.#votes.get(key) ?? to;
      this.#votes.set(key, to);
      if (before !== to) this.#find(`${name} voted for ${before} and for ${to} in term ${term}`);
    }
    if (type !== "MsgApp" && type !== "MsgHeartbeat") return;
    const leader = this.#leaders.get(term) ?? name;
    this.#leaders.set(term, name);
    if (leader !== name) this.#find(`${leader} and ${name} both lead term ${term}`);
  }

  #find(what: string): void {
    if (this.findings.length < FINDINGS_MAX) this.findings.push(what);
  }
}

/** FNV-1a. */
function hashOf({ data, type }: Entry): number {
  let hash = type === "normal" ? 0x811c9dc5 : 0x1234567;
  for (const byte of data) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}

/** Whoever applied entries and whoever loaded a snapshot may name the same in another order. */
function textOf(state: ClusterState): string {
  return JSON.stringify(state, (_key, value: unknown) => {
    const isNamed = typeof value === "object" && value !== null && !Array.isArray(value);
    return isNamed ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value;
  });
}
