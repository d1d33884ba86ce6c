/**
 * Raft driver: the serial loop around raft-ts' RawNode. Owns the order "persist, then send, then apply", the ticks, waiting
 * proposals, the planner's proposals of a leader, and snapshots of the state machine. Does not own what a command does
 * (machine.ts), the disk (storage/) or the network (transport/).
 *
 *   tick, message, proposal --> RawNode --> Ready: send; save; send what waited for the disk; apply; advance --> again
 *
 * While the disk writes, messages, ticks and proposals are taken; what they lead to is the next Ready, which waits for this one.
 */
import {
  type BasicStatus,
  type ConfChange,
  type ConfState,
  decodeConfChange,
  MalformedError,
  type Message,
  ProposalDroppedError,
  RawNode,
  type Ready,
  StepLocalMessageError,
} from "raft-ts";
import { SynwallError } from "../../src/base/errors.ts";
import type { LogStore } from "../storage/log-store.ts";
import type { Transport } from "../transport/transport.ts";
import { encodeEnvelope } from "./codec.ts";
import type { Committed, DriverStatus } from "./control-driver.ts";
import { isBeyondEmptyLog, requireFit, requireWholeLog } from "./fitness.ts";
import { LeaderLoss } from "./leader-loss.ts";
import { applyEntry, emptyMachine, encodeMachine, type MachineState, restoreMachine } from "./machine.ts";
import type { ClusterState, Command, CommandResult } from "./model.ts";
import { Proposals } from "./proposals.ts";
import { raftConfig } from "./raft-config.ts";
import { TickClock } from "./tick-clock.ts";
import type { Timers } from "./timers.ts";
import { DEFAULT_TUNING, type DriverTuning } from "./tuning.ts";

export interface RaftDriverOptions {
  readonly self: number;
  readonly isWitness: boolean;
  /** Who could succeed a leader, by `state`; see LeaderLoss. */
  readonly candidates: (state: ClusterState, voters: readonly number[]) => readonly number[];
  /** Slots of the cluster by the configuration. */
  readonly slots: number;
  readonly storage: LogStore;
  readonly transport: Pick<Transport, "sendRaft" | "sendSnapshot">;
  readonly timers: Timers;
  readonly random: (bound: number) => number;
  readonly tuning?: Partial<DriverTuning>;
  /** This member, too, has not heard `node` for a little longer than it should, though it has not judged it. */
  readonly isQuiet?: (node: number) => boolean;
  /** Run by a leader after every applied entry. */
  readonly plan?: (state: ClusterState) => Command | undefined;
  /** After each entry that was applied, and after a snapshot was installed. */
  readonly onCommitted: (state: ClusterState, committed: Committed) => void;
  readonly onLeader?: (lead: number, term: number) => void;
  /** The node must end: its disk failed or an invariant is broken. Called once, last. */
  readonly onFatal: (error: unknown) => void;
  readonly onLog?: (level: "debug" | "info" | "warn", message: string) => void;
}

const PROPOSE_TIMEOUT_MS = 2_000;
/** How often a member that was asked for its vote looks whether it misses the leader as well: well below a heartbeat interval. */
const RECONSIDER_MS = 1;

export class RaftDriver {
  readonly #options: RaftDriverOptions;
  readonly #tuning: DriverTuning;
  readonly #node: RawNode;
  readonly #proposals = new Proposals();
  readonly #loss: LeaderLoss;
  /** Tells the ids of this life from those of any other. */
  readonly #life: string;
  #machine: MachineState;
  #confState: ConfState;
  #applied: number;
  #snapshotIndex: number;
  #lead = 0;
  #term = 0;
  #sequence = 0;
  #plannedId = "";
  /** The revision at which nothing was to be planned, or a planned command changed nothing: planning again would find the same. */
  #planIdleAt = -1;
  #messagesRefused = 0;
  readonly #clock: TickClock;
  /** Set while somebody waits for this member to let go of the leader. */
  #stopReconsidering: (() => void) | undefined;
  #isPumpDue = false;
  #isPumping = false;
  /** A Ready whose messages were sent, and that the disk has not yet. */
  #unsaved: Ready | undefined;
  #isEnded = false;

  /**
   * Throws SW_STORAGE_CORRUPT when the stored snapshot cannot be read, SW_CLUSTER_DIFFERS when it is of a cluster with other
   * slots, InvariantError when the store contradicts itself.
   */
  constructor(options: RaftDriverOptions) {
    this.#options = options;
    this.#tuning = { ...DEFAULT_TUNING, ...options.tuning };
    const { storage, slots } = options;
    const snapshot = storage.snapshot();
    // What the log is applied to is part of the log: the configuration may say something else today.
    this.#machine =
      snapshot.index === 0 ? emptyMachine(storage.founding?.slots ?? slots) : restoreMachine(snapshot.data);
    this.#confState = storage.initialState().confState;
    this.#applied = snapshot.index;
    this.#snapshotIndex = snapshot.index;
    this.#life = `${options.self}-${randomHex(options.random)}`;
    this.#node = new RawNode(raftConfig({ ...options, tuning: this.#tuning, applied: this.#applied }));
    this.#loss = new LeaderLoss({
      ...options,
      node: this.#node,
      candidates: () => options.candidates(this.#machine.cluster, this.#confState.voters),
      lateTicks: this.#tuning.heartbeatTick,
      isQuiet: (node) => options.isQuiet?.(node) === true,
      step: (message) => this.#step(message),
    });
    const { tickMs } = this.#tuning;
    this.#clock = new TickClock({ timers: options.timers, tickMs, onTicks: (ticks) => this.#onTicks(ticks) });
    this.#requireFit();
  }

  /** Begins to tick and to take messages; applies what is committed already. */
  start(): void {
    this.#clock.start();
    this.#pump();
  }

  stop(): void {
    this.#end("this node is stopping");
    this.#options.storage.close();
  }

  /** Ends as stop() does, but leaves the store open for whoever drives another log with it. */
  retire(why: string): void {
    this.#end(why);
  }

  state(): ClusterState {
    return this.#machine.cluster;
  }

  status(): DriverStatus {
    const { term, commit, state, lead, confState, progress } = this.#node.status();
    return {
      term,
      commit,
      applied: this.#applied,
      state,
      lead,
      voters: confState.voters,
      confState,
      matches: new Map([...progress].map(([id, { match }]) => [id, match])),
      proposalsWaiting: this.#proposals.size,
      messagesRefused: this.#messagesRefused,
    };
  }

  /**
   * Resolves when the command was applied on this node, with its result. Rejects with SW_CONTROL_TIMEOUT when that did not
   * happen in time (it may still happen), with SW_CONTROL_REFUSED when too many wait.
   */
  propose(command: Command, timeoutMs = PROPOSE_TIMEOUT_MS): Promise<CommandResult> {
    const id = `${this.#life}-${++this.#sequence}`;
    const data = encodeEnvelope({ id, by: this.#options.self, cmd: command });
    return this.proposeEncoded(id, data, command.type, timeoutMs);
  }

  /** As propose(), for a command that is encoded already: `id` must be the one inside. */
  proposeEncoded(id: string, data: Uint8Array, what: string, timeoutMs: number): Promise<CommandResult> {
    if (this.#isEnded) {
      return Promise.reject(new SynwallError("SW_CONTROL_TIMEOUT", `Cannot propose ${what}: stopped`));
    }
    const known = this.#machine.recent.find((entry) => entry.id === id);
    if (known !== undefined) return Promise.resolve(known.result);
    const answer = this.#proposals.add(id, data, what, this.#options.timers.nowMs() + timeoutMs);
    this.#pump();
    return answer;
  }

  /** A leader changes Raft's configuration; elsewhere without effect, and nobody tells: look at the status again. */
  proposeConfChange(change: ConfChange): void {
    if (this.#isEnded || this.#lead !== this.#options.self) return;
    this.#guard(() => {
      try {
        this.#node.proposeConfChange(change);
      } catch (error) {
        if (!(error instanceof ProposalDroppedError)) throw error;
      }
    });
    this.#pump();
  }

  /** Takes a message of a peer; `message.from` was checked by the transport. */
  receive(message: Message): void {
    if (this.#isEnded) return;
    this.#clock.catchUp();
    this.#guard(() => {
      const status = this.#node.basicStatus();
      requireWholeLog(message, status);
      if (isBeyondEmptyLog(message, status)) {
        this.#refused(message, "this log is empty: it may have held more");
        return;
      }
      this.#loss.receive(message);
    });
    this.#watchLeader();
    this.#pumpSoon();
  }

  /**
   * Liveness is sure that `node` is dead: if it leads, somebody else must, at once. Survivors need not learn of it at the
   * same time: whoever does first asks for votes, and the others give them as soon as they know, or suspect it as well.
   */
  leaderDied(node: number): void {
    if (this.#isEnded || node === this.#options.self) return;
    this.#clock.catchUp();
    this.#guard(() => this.#loss.died(node));
    this.#pump();
  }

  /** Hands leadership to `node`, as before a planned stop; without effect where nobody leads. */
  transferLeader(node: number): void {
    if (this.#isEnded) return;
    this.#guard(() => this.#node.transferLeader(node));
    this.#pump();
  }

  unreachable(node: number): void {
    if (this.#isEnded) return;
    this.#guard(() => this.#node.reportUnreachable(node));
    this.#pumpSoon();
  }

  snapshotSent(node: number, isDelivered: boolean): void {
    if (this.#isEnded) return;
    this.#guard(() => this.#node.reportSnapshot(node, isDelivered));
    this.#pumpSoon();
  }

  // ---------------------------------------------------------------- clock

  #onTicks(passed: number): void {
    if (this.#isEnded) return;
    const nowMs = this.#options.timers.nowMs();
    // Ticks that a stalled loop swallowed are made up for, but never enough for an election by themselves.
    const ticks = Math.min(passed, this.#tuning.electionTick - 1);
    this.#guard(() => {
      for (let i = 0; i < ticks; i++) {
        this.#node.tick();
        this.#proposals.tick(nowMs);
      }
      this.#loss.ticked(ticks);
    });
    this.#pump();
  }

  /** While all is well ticks matter for the leader's heartbeats, and to a follower only when many have passed. */
  #setPace(): void {
    const isWell = this.#lead !== 0 && this.#proposals.size === 0 && this.#loss.isQuiet;
    this.#clock.pace(isWell ? this.#tuning.heartbeatTick : 1);
  }

  /** Nobody tells when a leader begins to be missed: whoever is asked to let go of it looks, for as long as that matters. */
  #watchLeader(): void {
    const { timers, isQuiet } = this.#options;
    if (isQuiet === undefined || !this.#loss.isAsked || this.#isEnded) return;
    this.#stopReconsidering ??= timers.every(RECONSIDER_MS, () => this.#reconsider());
  }

  #reconsider(): void {
    if (!this.#isEnded) this.#guard(() => this.#loss.reconsider());
    if (!this.#loss.isAsked) this.#reconsidered();
    this.#pump();
  }

  #reconsidered(): void {
    this.#stopReconsidering?.();
    this.#stopReconsidering = undefined;
  }

  #step(message: Message): void {
    try {
      this.#node.step(message);
    } catch (error) {
      const isForeign = error instanceof MalformedError || error instanceof StepLocalMessageError;
      if (!isForeign && !(error instanceof ProposalDroppedError)) throw error;
      this.#refused(message, error.message);
    }
  }

  #refused(message: Message, why: string): void {
    this.#messagesRefused++;
    this.#options.onLog?.("debug", `refused ${message.type} of ${message.from}: ${why}`);
  }

  // ---------------------------------------------------------------- the loop

  /** Messages that arrive together are stepped together: one Ready and one sync for all of them. */
  #pumpSoon(): void {
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    void Promise.resolve().then(this.#pumpDue);
  }

  readonly #pumpDue = (): void => this.#pump();

  #pump(): void {
    this.#isPumpDue = false;
    if (this.#isPumping || this.#isEnded) return;
    this.#isPumping = true;
    this.#guard(() => {
      while (!this.#isEnded && this.#unsaved === undefined) {
        // First what is to be proposed: a new leader's first entry and the command that waited for it share a write.
        this.#noteLeader(this.#node.basicStatus());
        this.#offerProposals();
        if (!this.#node.hasReady()) this.#offerPlan();
        if (!this.#node.hasReady()) break;
        this.#begin(this.#node.ready());
      }
    });
    this.#isPumping = false;
    if (!this.#isEnded) this.#setPace();
  }

  /** A leader's entries go to its followers while its own disk writes (Raft thesis section 10.2.1). */
  #begin(ready: Ready): void {
    this.#send(ready.messages);
    this.#unsaved = ready;
    this.#options.storage.save(ready, (error) => this.#saved(ready, error));
  }

  #saved(ready: Ready, error: unknown): void {
    if (this.#isEnded) return;
    this.#unsaved = undefined;
    this.#guard(() => {
      if (error !== undefined) throw error;
      this.#finish(ready);
    });
    this.#pump();
  }

  #finish(ready: Ready): void {
    this.#send(ready.messagesAfterPersist);
    if (ready.snapshot !== undefined) this.#install(ready.snapshot);
    for (const entry of ready.committedEntries) this.#apply(entry);
    if (this.#isEnded) return;
    this.#node.advance();
    this.#maybeSnapshot();
  }

  #send(messages: readonly Message[]): void {
    const { transport } = this.#options;
    for (const message of messages) {
      if (message.type === "MsgSnap") transport.sendSnapshot(message);
      else transport.sendRaft(message);
    }
  }

  #noteLeader({ lead, term }: BasicStatus): void {
    if (lead !== 0) this.#loss.over();
    if (lead === this.#lead && term === this.#term) return;
    this.#lead = lead;
    this.#term = term;
    this.#plannedId = "";
    if (lead !== 0) this.#proposals.retryAll();
    this.#options.onLeader?.(lead, term);
  }

  #offerProposals(): void {
    // Who knows no leader cannot pass anything on.
    if (this.#proposals.size === 0 || this.#lead === 0) return;
    // What a leader took is in its log: it need not be told again in this term.
    this.#proposals.offer(this.#lead === this.#options.self, (data) => {
      try {
        this.#node.propose(data);
        return true;
      } catch (error) {
        if (!(error instanceof ProposalDroppedError)) throw error;
        return false;
      }
    });
  }

  /** One planned command at a time, and the next only from the state that it led to. */
  #offerPlan(): void {
    const { plan } = this.#options;
    if (plan === undefined || this.#plannedId !== "" || this.#lead !== this.#options.self) return;
    // Entries of earlier leaders may be unapplied: the plan would be made from an old state.
    const { applied, lastIndex } = this.#node.basicStatus();
    if (applied !== lastIndex) return;
    const { cluster } = this.#machine;
    if (cluster.revision === this.#planIdleAt) return;
    const command = plan(cluster);
    if (command === undefined) {
      this.#planIdleAt = cluster.revision;
      return;
    }
    const id = `${this.#life}-${++this.#sequence}`;
    try {
      this.#node.propose(encodeEnvelope({ id, by: this.#options.self, cmd: command }));
      this.#plannedId = id;
    } catch (error) {
      if (!(error instanceof ProposalDroppedError)) throw error;
    }
  }

  // ---------------------------------------------------------------- state machine

  #apply(entry: Ready["committedEntries"][number]): void {
    this.#applied = entry.index;
    if (entry.type === "confChange") {
      this.#confState = this.#node.applyConfChange(decodeConfChange(entry.data));
      return;
    }
    // A new leader's first entry is empty.
    if (entry.data.length === 0) return;
    const { state, envelope, result } = applyEntry(this.#machine, entry.data);
    this.#machine = state;
    this.#requireFit();
    if (envelope?.id === this.#plannedId) {
      this.#plannedId = "";
      if (!result.ok || !result.changed) this.#planIdleAt = state.cluster.revision;
    }
    this.#options.onCommitted(state.cluster, {
      index: entry.index,
      by: envelope?.by ?? 0,
      result,
      ...(envelope === undefined ? {} : { command: envelope.cmd }),
    });
    if (envelope !== undefined) this.#proposals.settle(envelope.id, result);
  }

  #install(snapshot: NonNullable<Ready["snapshot"]>): void {
    this.#machine = restoreMachine(snapshot.data);
    this.#confState = snapshot.confState;
    this.#applied = snapshot.index;
    this.#snapshotIndex = snapshot.index;
    this.#requireFit();
    this.#options.onCommitted(this.#machine.cluster, {
      index: snapshot.index,
      by: 0,
      result: { ok: true, changed: true },
    });
    for (const { id, result } of this.#machine.recent) this.#proposals.settle(id, result);
  }

  #maybeSnapshot(): void {
    const { storage } = this.#options;
    const { snapshotEntries, snapshotBytes, keepEntries } = this.#tuning;
    const entries = this.#applied - this.#snapshotIndex;
    if (entries === 0) return;
    if (entries < snapshotEntries && storage.bytesSinceSnapshot() < snapshotBytes) return;
    storage.saveSnapshot(this.#applied, this.#confState, encodeMachine(this.#machine), keepEntries);
    this.#snapshotIndex = this.#applied;
  }

  // ---------------------------------------------------------------- start and end

  #requireFit(): void {
    const { self, slots, storage } = this.#options;
    requireFit(this.#machine.cluster, { self, slots, log: storage.founding?.log ?? "" });
  }

  /** A failed disk or a broken invariant ends the driver: what was not sent stays unsent. */
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
    this.#clock.stop();
    this.#reconsidered();
    this.#proposals.failAll(why);
  }
}

/** 48 random bits; `random` gives at most 32 at a time. */
function randomHex(random: (bound: number) => number): string {
  const part = (): string => random(0x100_0000).toString(16).padStart(6, "0");
  return part() + part();
}
