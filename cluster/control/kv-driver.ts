/**
 * Driver on a store: keeps the cluster's log in a key-value store that the site runs, where the embedded Raft is not started. Owns
 * proposing, the order in which entries are applied, who leads, snapshots, and what happens when the store is away or is not the one
 * that this member knows. Formats are kv-keys.ts, judgement kv-log.ts, the machine machine.ts, connections the Kv's.
 *
 *   propose --> one transaction: head is still entry n? then entries n+1.. and the new head; else read what came after n
 *   watch   --> entries as they come, in their order          read (every second, and after any doubt) --> what the watch missed
 *
 * An entry is committed when the transaction is; all members apply the same entries in the order of their indexes.
 */
import { SynwallError } from "../../src/base/errors.ts";
import type { KvEvent, KvResult } from "../storage/kv.ts";
import type { Committed, ControlDriver, DriverStatus } from "./control-driver.ts";
import { KvCompany } from "./kv-company.ts";
import {
  advance,
  decodeKvSnapshot,
  encodeKvSnapshot,
  encodePosition,
  fromJson,
  type LeaderRecord,
  type LogEntry,
  type StoreImage,
  toJson,
} from "./kv-keys.ts";
import { BEAT_MS, KvLeader } from "./kv-leader.ts";
import { continueLog } from "./kv-log.ts";
import { KvOffers, stoppedProposal } from "./kv-offers.ts";
import { KvReplica, type SharedLog } from "./kv-replica.ts";
import { type KvCompares, KvSession } from "./kv-session.ts";
import { KvVoice } from "./kv-voice.ts";
import { type ClusterState, type Command, type CommandResult, STORE_VOTER } from "./model.ts";
import { quorumOf } from "./quorum.ts";
import type { Timers } from "./timers.ts";

export interface KvDriverOptions {
  readonly log: SharedLog;
  readonly self: number;
  readonly isWitness: boolean;
  /** Members that the cluster was begun with. */
  readonly founders: readonly number[];
  readonly slots: number;
  /** A lease with all that clocks may differ by. */
  readonly promiseMs: number;
  readonly candidates: (state: ClusterState, voters: readonly number[]) => readonly number[];
  readonly timers: Timers;
  readonly random: (bound: number) => number;
  readonly plan: (state: ClusterState) => Command | undefined;
  readonly onCommitted: (state: ClusterState, committed: Committed) => void;
  readonly onLeader?: (lead: number, term: number) => void;
  readonly onFatal: (error: unknown) => void;
  readonly onLog?: (level: "debug" | "info" | "warn", message: string) => void;
}

const PROPOSE_TIMEOUT_MS = 2_000;
const TICK_MS = 10;
/** After a request that failed; a store that is away is asked so often whether it is back. */
const RETRY_MS = 200;
/** Entries kept behind a snapshot, for members that are a little behind. */
const KEEP_ENTRIES = 64;

export class KvDriver implements ControlDriver {
  readonly vote: KvVoice;
  readonly #options: KvDriverOptions;
  readonly #log: SharedLog;
  readonly #session: KvSession;
  readonly #replica: KvReplica;
  readonly #offers: KvOffers;
  readonly #leader: KvLeader;
  readonly company: KvCompany;
  /** All that was committed at some moment after the start is applied. */
  #isLive = false;
  /** Why the store is not the one that this member knows; empty: it is. */
  #refusal = "";
  #isReading = false;
  /** What is being read may be too old for whoever asked meanwhile. */
  #isReadAgain = false;
  #isReadWhole = true;
  #nextReadMs = 0;
  #isCommitting = false;
  #notBeforeMs = 0;
  #told = { lead: 0, term: 0 };
  #isEnded = false;
  #stopTicking: (() => void) | undefined;

  constructor(options: KvDriverOptions) {
    this.#options = options;
    const { log, self, slots, random, onLog } = options;
    this.#log = log;
    this.#session = new KvSession({
      kv: log.kv,
      root: log.keys.root,
      onEvents: (events) => this.#guard(() => this.#onEvents(events)),
      // Not at once: a store that ends every watch must not be asked in a loop.
      onWatchEnd: () => {
        this.#nextReadMs = Math.min(this.#nextReadMs, options.timers.nowMs() + RETRY_MS);
      },
      onChange: () => this.#onConnection(),
      onLog,
    });
    this.#replica = new KvReplica({
      log,
      self,
      slots,
      onApplied: (state, committed, id) => this.#onApplied(state, committed, id),
      onKnown: (id, result) => this.#offers.known(id, result),
    });
    this.#offers = new KvOffers({ self, random, plan: options.plan });
    this.company = new KvCompany({
      self,
      state: () => this.state(),
      lead: () => this.#lead(),
      otherSeenMs: () => this.#leader.otherSeenMs,
      nowMs: () => options.timers.nowMs(),
    });
    this.#leader = new KvLeader({
      self,
      isWitness: options.isWitness,
      mayLead: () => this.company.mayLead,
      candidates: () => options.candidates(this.#replica.cluster, this.#voters()),
    });
    this.vote = new KvVoice({
      log,
      self,
      replica: this.#replica,
      promiseMs: options.promiseMs,
      isAble: () => this.#isAble,
      nowMs: () => options.timers.nowMs(),
      onBehind: () => this.#readSoon(false),
    });
  }

  start(): void {
    const { timers } = this.#options;
    this.#nextReadMs = timers.nowMs();
    this.#stopTicking = timers.every(TICK_MS, () => this.#guard(() => this.#tick()));
    this.#guard(() => this.#tick());
  }

  stop(): void {
    const isWell = !this.#isEnded;
    this.#end("this node is stopping");
    if (isWell) this.#guard(() => this.#replica.stop());
  }

  state(): ClusterState {
    return this.#replica.cluster;
  }

  status(): DriverStatus {
    const { cluster, at } = this.#replica;
    const { term } = this.#leader.record;
    const lead = this.#lead();
    const voters = this.#voters();
    const confState = {
      voters: [...voters],
      votersOutgoing: [],
      learners: [],
      learnersNext: [],
      autoLeave: false,
    };
    return {
      term,
      commit: at.index,
      applied: at.index,
      state: lead === 0 ? "waiting" : lead === this.#options.self ? "leader" : "follower",
      lead,
      voters,
      confState,
      // What is committed is in the store: any member that can read it holds it.
      matches: new Map(cluster.members.map(({ id }) => [id, at.index])),
      proposalsWaiting: this.#offers.size,
      messagesRefused: 0,
      store: { place: this.#log.kv.place, isConnected: this.#session.isConnected, refusal: this.#refusal },
    };
  }

  propose(command: Command, timeoutMs = PROPOSE_TIMEOUT_MS): Promise<CommandResult> {
    if (this.#isEnded) return Promise.reject(stoppedProposal(command));
    const answer = this.#offers.add(command, this.#options.timers.nowMs() + timeoutMs);
    queueMicrotask(() => this.#guard(() => this.#pump()));
    return answer;
  }

  leaderDied(node: number): void {
    if (node === this.#options.self) return;
    this.#leader.died(node);
    this.#guard(() => this.#lookAfterLead());
  }

  transferLeader(node: number): void {
    const heir = this.#leader.heir(node);
    if (heir !== undefined) this.#replaceLeader(heir);
  }

  /** The log has no voters of its own, and members say nothing to each other about it. */
  proposeConfChange(): void {}
  receive(): void {}
  unreachable(): void {}
  snapshotSent(): void {}

  // ---------------------------------------------------------------- clock

  #tick(): void {
    if (this.#isEnded) return;
    const nowMs = this.#options.timers.nowMs();
    this.#offers.tick(nowMs);
    this.#replica.tick(nowMs);
    if (nowMs >= this.#nextReadMs && !this.#isReading) this.#run(this.#read());
    if (!this.#isLive) return;
    this.#leader.tick(nowMs);
    this.#lookAfterLead();
    this.#pump();
  }

  #readSoon(isWhole: boolean): void {
    if (this.#isEnded) return;
    this.#isReadWhole ||= isWhole;
    this.#nextReadMs = this.#options.timers.nowMs();
    if (this.#isReading) this.#isReadAgain = true;
    else this.#run(this.#read());
  }

  // ---------------------------------------------------------------- reading

  /** Reads what came after the last applied entry; a leader tells in the same transaction that it can commit. */
  async #read(): Promise<void> {
    this.#isReading = true;
    try {
      for (let isMore = true; isMore && !this.#isEnded; ) {
        const isWhole = this.#isReadWhole;
        const beat = this.#isAble ? this.#leader.beat() : undefined;
        const result = await this.#transactLead(beat, isWhole);
        this.#nextReadMs = this.#options.timers.nowMs() + BEAT_MS;
        if (result === undefined) return;
        if (isWhole) this.#isReadWhole = false;
        isMore = this.#takeImage(this.#log.keys.imageOf(result.reads), result.revision);
      }
    } catch (error) {
      this.#session.failed(error);
      this.#nextReadMs = this.#options.timers.nowMs() + RETRY_MS;
    } finally {
      this.#isReading = false;
      if (this.#isReadAgain) this.#nextReadMs = this.#options.timers.nowMs();
      this.#isReadAgain = false;
    }
  }

  /** Writes the leader's record, if there is one to write, and reads an image. Undefined: the answer is older than what is known. */
  #transactLead(record: LeaderRecord | undefined, isWhole: boolean): Promise<KvResult | undefined> {
    const { keys } = this.#log;
    const image = keys.readImage(this.#replica.at.index, isWhole);
    if (record === undefined) return this.#transact([], image, []);
    return this.#transact(
      [{ key: keys.leader, modRevision: this.#leader.modRevision }],
      [{ type: "put", key: keys.leader, value: toJson(record) }, ...image],
      image,
    );
  }

  #transact(
    compare: KvCompares,
    success: Parameters<KvSession["transact"]>[1],
    failure: Parameters<KvSession["transact"]>[2],
  ): Promise<KvResult | undefined> {
    return this.#session.transact(compare, success, failure, (why) => this.#refuse(why));
  }

  #take({ reads, revision }: KvResult): void {
    if (this.#takeImage(this.#log.keys.imageOf(reads), revision)) this.#readSoon(false);
  }

  /** True: the log goes on behind what was read. */
  #takeImage(image: StoreImage, revision: number): boolean {
    const why = this.#replica.differs(image);
    if (why !== "") {
      this.#refuse(why);
      return false;
    }
    const { snapshot, leader, leases } = image;
    const nowMs = this.#options.timers.nowMs();
    // Before the entries: whoever acts on a takeover must know of the promises that were made before it.
    for (const lease of leases) this.vote.promises.saw(lease.node, lease.modRevision, nowMs);
    if (snapshot !== undefined) this.#replica.noteSnapshot(snapshot.snapshot.at, snapshot.modRevision);
    const next = continueLog(this.#replica.at, image);
    switch (next.type) {
      case "differs":
        this.#refuse(next.why);
        return false;
      case "readSnapshot":
        this.#isReadWhole = true;
        return true;
      case "snapshot":
        this.#replica.install(next.snapshot);
        return true;
      case "entries":
        this.#replica.applyAll(next.entries);
        if (next.isMore) return true;
        break;
      default:
        return next satisfies never;
    }
    if (this.#isEnded) return false;
    this.#isLive = true;
    this.#refusal = "";
    this.#notBeforeMs = 0;
    this.#noteLeader(leader?.record, leader?.modRevision ?? 0, revision);
    this.#session.watch(revision);
    this.#pump();
    return false;
  }

  /** The member goes on with what it owns, decides nothing, and looks again: somebody may bring the store back. */
  #refuse(why: string): void {
    if (this.#refusal === why) return;
    this.#refusal = why;
    this.#session.unwatch();
    const { kv } = this.#log;
    const text = `the store at ${kv.place} is not the one that this member knows: ${why}`;
    if (!this.#isLive) {
      throw new SynwallError("SW_STORE_LOST", `${text}; docs/errors.md says what to do`);
    }
    this.#options.onLog?.("warn", `${text}; nothing is decided, established flows go on`);
    this.#tellLead();
  }

  #onConnection(): void {
    if (this.#session.isConnected) this.#leader.reconnected(this.#options.timers.nowMs());
    this.#tellLead();
  }

  #onEvents(events: readonly KvEvent[]): void {
    if (this.#isEnded || this.#refusal !== "") return;
    const { keys } = this.#log;
    const nowMs = this.#options.timers.nowMs();
    const entries: LogEntry[] = [];
    for (const { key, value, modRevision } of events) {
      const node = keys.nodeOf(key);
      const index = keys.indexOf(key);
      if (node !== undefined) this.vote.promises.saw(node, modRevision, nowMs);
      else if (index !== undefined && value !== undefined) entries.push({ index, data: value });
      else if (key === keys.leader) {
        this.#noteLeader(value && fromJson<LeaderRecord>(value), value ? modRevision : 0, modRevision);
      } else if (key === keys.snapshot && value !== undefined) {
        this.#replica.noteSnapshot(decodeKvSnapshot(value).at, modRevision);
      } else if (value === undefined && index === undefined) this.#readSoon(true);
    }
    this.#replica.applyAll(entries);
    if (entries.some(({ index }) => index > this.#replica.at.index)) this.#readSoon(false);
    this.#pump();
  }

  // ---------------------------------------------------------------- leading

  #lead(): number {
    return this.#isAble && this.#session.isConnected ? this.#leader.record.node : 0;
  }

  #noteLeader(record: LeaderRecord | undefined, modRevision: number, knownAt: number): void {
    this.#leader.saw(record, modRevision, knownAt, this.#options.timers.nowMs());
    this.#tellLead();
    this.#lookAfterLead();
  }

  #tellLead(): void {
    const lead = this.#lead();
    const { term } = this.#leader.record;
    if (lead === this.#told.lead && term === this.#told.term) return;
    this.#told = { lead, term };
    this.#options.onLeader?.(lead, term);
  }

  /** A store that is away is asked by #read() whether it is back, and by nobody else. */
  #lookAfterLead(): void {
    if (!this.#isAble || !this.#session.isConnected) return;
    const record = this.#leader.takeOver();
    if (record !== undefined) this.#replaceLeader(record);
  }

  #replaceLeader(record: LeaderRecord): void {
    const taken = this.#transactLead(record, false).then((result) => {
      if (result !== undefined) this.#take(result);
    });
    this.#run(taken.finally(() => this.#leader.asked()));
  }

  // ---------------------------------------------------------------- committing

  #pump(): void {
    if (!this.#isAble || this.#isCommitting) return;
    if (this.#options.timers.nowMs() < this.#notBeforeMs) return;
    const isLeader = this.#lead() === this.#options.self;
    const batch = this.#offers.batch(this.#replica.cluster, isLeader);
    if (batch.length > 0) this.#run(this.#commit(batch));
    else if (isLeader && this.#replica.isSnapshotWanted) this.#run(this.#saveSnapshot());
  }

  async #commit(batch: readonly Uint8Array[]): Promise<void> {
    const { keys } = this.#log;
    this.#isCommitting = true;
    const from = this.#replica.at;
    let head = from;
    const entries = batch.map((data): LogEntry => {
      head = advance(head, data);
      return { index: head.index, data };
    });
    let isDone = false;
    try {
      // With the entries come the promises that were made before them: see kv-vote.ts.
      const image = keys.readImage(from.index, false);
      const result = await this.#transact(
        [{ key: keys.head, value: encodePosition(from) }],
        [
          ...entries.map(
            ({ index, data }) => ({ type: "put", key: keys.entry(index), value: data }) as const,
          ),
          { type: "put", key: keys.head, value: encodePosition(head) },
          ...image,
        ],
        image,
      );
      isDone = result?.succeeded === true;
      if (result !== undefined) this.#take(result);
    } catch (error) {
      this.#notBeforeMs = this.#options.timers.nowMs() + RETRY_MS;
      this.#readSoon(false);
      this.#session.failed(error);
    } finally {
      this.#isCommitting = false;
      // Those that were applied are settled; the others go by the head that is known now.
      this.#offers.again(!isDone);
    }
    this.#pump();
  }

  #onApplied(state: ClusterState, committed: Committed, id: string | undefined): void {
    this.#options.onCommitted(state, committed);
    if (id !== undefined) this.#offers.applied(id, committed.result, state);
  }

  async #saveSnapshot(): Promise<void> {
    const { keys } = this.#log;
    this.#isCommitting = true;
    const snapshot = this.#replica.snapshot();
    try {
      const result = await this.#transact(
        [{ key: keys.snapshot, modRevision: this.#replica.snapshotRevision }],
        [
          { type: "put", key: keys.snapshot, value: encodeKvSnapshot(snapshot) },
          keys.dropLog(Math.max(0, snapshot.at.index - KEEP_ENTRIES)),
        ],
        [],
      );
      if (result?.succeeded) this.#replica.noteSnapshot(snapshot.at, result.revision);
      else this.#readSoon(true);
    } catch (error) {
      this.#notBeforeMs = this.#options.timers.nowMs() + RETRY_MS;
      this.#session.failed(error);
    } finally {
      this.#isCommitting = false;
    }
    this.#pump();
  }

  // ---------------------------------------------------------------- start and end

  #voters(): readonly number[] {
    const { voters } = quorumOf(this.#replica.cluster, this.#options.founders);
    return voters.filter((id) => id !== STORE_VOTER);
  }

  /** The store is the one that this member knows, and was read whole. */
  get #isAble(): boolean {
    return this.#isLive && !this.#isEnded && this.#refusal === "";
  }

  /** Work that goes on by itself: what it throws ends the driver, unless the store is only away. */
  #run(work: Promise<void>): void {
    work.catch((error: unknown) => this.#guard(() => this.#session.failed(error)));
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (this.#isEnded) return;
      this.#end("this node failed");
      this.#options.onFatal(error);
    }
  }

  #end(why: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#stopTicking?.();
    this.#session.close();
    this.#offers.end(why);
  }
}
