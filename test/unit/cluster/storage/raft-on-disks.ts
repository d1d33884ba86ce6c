/**
 * A small Raft cluster whose members store their logs on disks in memory, in one deterministic life: elections, proposals,
 * snapshots, a leader that is cut off. The first member's disk may stop its machine, or all machines, at any operation. Owns the
 * schedule and the checks; a violation is thrown.
 */
import { InvariantError, type Message, ProposalDroppedError, RawNode, type Ready } from "raft-ts";
import { DurableStorage } from "../../../../cluster/storage/durable-storage.ts";
import { CrashError, type CrashModel, MemoryFs } from "../../../../cluster/storage/memory-fs.ts";
import { seededRandom } from "../../../../src/base/env.ts";
import { saveNow } from "./workload.ts";

export interface DiskLife {
  readonly members: number;
  readonly seed: number;
  /** Operation of the first member's disk at which it stops; 0 for never. */
  readonly crashAt: number;
  /** Who loses power then. */
  readonly who: "one" | "all";
  readonly makeFs?: () => MemoryFs;
  /** A driver that sends and applies first and stores last: the planted bug. */
  readonly isSavedLast?: boolean;
}

const ROUNDS = 60;
const HEALING_ROUNDS = 40;
const DOWN_ROUNDS = 4;
const SNAPSHOT_ENTRIES = 8;
const SEGMENT_BYTES = 1024;
const TORN: CrashModel = { tearBytes: 64, isJournalPerFolder: true };

class Member {
  readonly id: number;
  fs: MemoryFs;
  store: DurableStorage | undefined;
  raw: RawNode | undefined;
  applied: string[] = [];
  appliedIndex = 0;
  snapshotIndex = 0;
  upAt = 0;

  constructor(id: number, fs: MemoryFs) {
    this.id = id;
    this.fs = fs;
  }
}

class World {
  readonly #life: DiskLife;
  readonly #random: (bound: number) => number;
  readonly #members: Member[];
  #network: Message[] = [];
  #isCut = false;
  #proposed = 0;
  readonly #leaders = new Map<number, number>();
  readonly #entries = new Map<number, string>();
  /** What a leader has applied, and so told its client. */
  readonly acknowledged = new Set<string>();

  constructor(life: DiskLife) {
    this.#life = life;
    this.#random = seededRandom(life.seed);
    const makeFs = life.makeFs ?? (() => new MemoryFs());
    this.#members = Array.from({ length: life.members }, (_, i) => new Member(i + 1, makeFs()));
  }

  /** Answers how many operations the first member's disk has seen. */
  run(): number {
    const { fs } = this.#members[0]!;
    fs.onOperation = (n) => {
      if (n === this.#life.crashAt) throw new CrashError("no power");
    };
    for (let round = 0; round < ROUNDS + HEALING_ROUNDS; round++) this.#round(round);
    this.#checkAcknowledged();
    return fs.operations;
  }

  #round(round: number): void {
    this.#isCut = round < ROUNDS && round % 20 >= 12 && round % 20 < 18;
    for (const member of this.#members) {
      if (member.raw === undefined && round >= member.upAt)
        this.#guard(round, member, () => this.#start(member));
      this.#guard(round, member, () => {
        member.raw?.tick();
        if (round < ROUNDS + HEALING_ROUNDS / 4) this.#propose(member);
      });
    }
    for (let i = 0; i < 6; i++) {
      for (const member of this.#members) this.#guard(round, member, () => this.#work(member));
      const messages = this.#network;
      this.#network = [];
      for (const m of messages) this.#guard(round, this.#members[m.to - 1]!, () => this.#deliver(m));
    }
  }

  /** Power fails in the middle of what the member did: it, or everybody, is gone with what was not durable. */
  #guard(round: number, member: Member, work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof CrashError)) throw error;
      for (const each of this.#life.who === "all" ? this.#members : [member]) {
        each.fs = each.fs.crash(this.#random, TORN);
        each.raw = undefined;
        each.store = undefined;
        each.upAt = round + DOWN_ROUNDS;
      }
    }
  }

  #start(member: Member): void {
    const store = DurableStorage.open({
      directory: "/d",
      clusterName: "c",
      nodeId: member.id,
      voters: this.#members.map(({ id }) => id),
      slots: 64,
      fs: member.fs,
      segmentBytes: SEGMENT_BYTES,
    });
    const snapshot = store.snapshot();
    member.store = store;
    load(member, snapshot.index, snapshot.data);
    member.raw = new RawNode({
      id: member.id,
      storage: store,
      applied: snapshot.index,
      random: this.#random,
      electionTick: 4,
      heartbeatTick: 1,
      preVote: true,
      checkQuorum: true,
      maxSizePerMessage: 256,
      maxInflightMessages: 4,
      maxUncommittedBytes: 4096,
      disableProposalForwarding: true,
      stepDownOnRemoval: true,
      readOnly: "safe",
    });
  }

  #propose(member: Member): void {
    if (member.raw?.status().state !== "leader") return;
    try {
      member.raw.propose(Buffer.from(`p${this.#proposed++}`.padEnd(60, ".")));
    } catch (error) {
      if (!(error instanceof ProposalDroppedError)) throw error;
    }
  }

  #deliver(m: Message): void {
    if (this.#isCut && (m.from === 1) !== (m.to === 1)) return;
    const raw = this.#members[m.to - 1]?.raw;
    if (m.type === "MsgSnap") this.#members[m.from - 1]!.raw?.reportSnapshot(m.to, raw !== undefined);
    raw?.step(m);
  }

  #work(member: Member): void {
    while (member.raw?.hasReady()) {
      const rd = member.raw.ready();
      this.#network.push(...rd.messages);
      if (this.#life.isSavedLast !== true) saveNow(member.store!, rd);
      this.#network.push(...rd.messagesAfterPersist);
      this.#apply(member, rd);
      if (this.#life.isSavedLast === true) saveNow(member.store!, rd);
      member.raw.advance();
      this.#checkLeader(member);
      if (member.appliedIndex - member.snapshotIndex < SNAPSHOT_ENTRIES) continue;
      const { confState } = member.raw.status();
      const state = Buffer.from(JSON.stringify(member.applied));
      member.store!.saveSnapshot(member.appliedIndex, confState, state, 2);
      member.snapshotIndex = member.appliedIndex;
    }
  }

  #apply(member: Member, rd: Ready): void {
    if (rd.snapshot !== undefined) load(member, rd.snapshot.index, rd.snapshot.data);
    for (const { index, term, data } of rd.committedEntries) {
      const text = Buffer.from(data).toString();
      const known = this.#entries.get(index) ?? `${term}:${text}`;
      if (known !== `${term}:${text}`) {
        throw new Error(`two entries were applied at ${index}: ${known} and ${term}:${text}`);
      }
      this.#entries.set(index, known);
      member.appliedIndex = index;
      if (text === "") continue;
      member.applied.push(text);
      if (member.raw!.status().state === "leader") this.acknowledged.add(text);
    }
  }

  #checkLeader(member: Member): void {
    const { state, term } = member.raw!.status();
    if (state !== "leader") return;
    const known = this.#leaders.get(term) ?? member.id;
    if (known !== member.id) throw new Error(`${known} and ${member.id} both lead term ${term}`);
    this.#leaders.set(term, member.id);
  }

  #checkAcknowledged(): void {
    for (const { id, applied } of this.#members) {
      const has = new Set(applied);
      for (const text of this.acknowledged) if (!has.has(text)) throw new Error(`member ${id} lost ${text}`);
    }
  }
}

function load(member: Member, index: number, data: Uint8Array): void {
  member.applied = data.length === 0 ? [] : (JSON.parse(Buffer.from(data).toString()) as string[]);
  member.appliedIndex = index;
  member.snapshotIndex = index;
}

export interface DiskLifeResult {
  /** What went wrong, if anything. */
  readonly violation?: string;
  readonly acknowledged: number;
  /** Of the first member's first disk. */
  readonly operations: number;
}

export function liveOnDisks(life: DiskLife): DiskLifeResult {
  const world = new World(life);
  try {
    return { operations: world.run(), acknowledged: world.acknowledged.size };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const kind = error instanceof InvariantError ? "InvariantError: " : "";
    return { violation: `${kind}${error.message}`, acknowledged: world.acknowledged.size, operations: 0 };
  }
}
