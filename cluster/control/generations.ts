/**
 * Generations: this member's Raft driver, whichever log of the cluster it drives. Begins a log of its own when this node goes on
 * alone, gives way to a log that wins, and keeps messages of one log out of the other. Owns the change from one driver to the
 * next; numbering and rank are generation.ts's, the forced step forced.ts's, and whether to force takeover/pair.ts's.
 *
 *   own log --force()--> a log of our own, alone
 *   own log --a leader of a log that wins is heard--> silent, the old log still on the disk --its snapshot--> that log
 *
 * The old log is thrown away in the same write that puts the winner's whole state in its place: whoever gives way to somebody who
 * gives way as well, or dies, has lost nothing. While it waits it refuses what it is sent, so that the winner sends its snapshot. Where it
 * had held the winner's log in an earlier life, Raft believes what was acknowledged then, for good: so the winner lets such a learner go,
 * and the configuration takes it in again (conf-plan.ts) as one of whom nothing is known.
 *
 * Why no promise of Raft is broken: a vote or an acknowledgement counts in one generation only, since terms of two generations
 * differ and messages of another one are not stepped. A generation begins with one voter that holds its first snapshot, so it is a
 * Raft cluster of its own. Whoever comes into it holds no vote of it before that snapshot is durable.
 */
import type { Message } from "raft-ts";
import type { ControlDriver, DriverStatus } from "./control-driver.ts";
import { RaftDriver, type RaftDriverOptions } from "./driver.ts";
import { forcedLog } from "./forced.ts";
import {
  type Claim,
  floorTerm,
  type Generation,
  generationOf,
  givesWay,
  isSameGeneration,
} from "./generation.ts";
import type { ClusterState, Command, CommandResult } from "./model.ts";

export interface GenerationsOptions extends RaftDriverOptions {
  /** Voters that the log was begun with. */
  readonly founders: readonly number[];
  /** This life was let in by the present log. */
  readonly isServing: () => boolean;
  /**
   * Another log from now on. `lost`: this member gave way; what the log before it decided alone is gone, and this life has to be
   * let in anew.
   */
  readonly onGeneration?: (change: "forced" | "lost", generation: Generation) => void;
  /** This member waits for the log of a winner, or does so no more; meanwhile it decides nothing. */
  readonly onYielding?: (isYielding: boolean, to: Generation) => void;
}

/** A winner that was not heard for so long does not win any more. */
const YIELD_MS = 3000;

export class Generations implements ControlDriver {
  readonly #options: GenerationsOptions;
  readonly #inner: RaftDriverOptions;
  #driver: RaftDriver;
  #generation: Generation;
  #isStarted = false;
  #isHeld = false;
  #isStopped = false;
  /** Whom this member gives way to, and when it was heard last. */
  #winner: Generation | undefined;
  #winnerHeardMs = 0;
  /** Messages of other generations that were not taken. */
  #foreign = 0;

  /** As RaftDriver's. */
  constructor(options: GenerationsOptions) {
    this.#options = options;
    this.#inner = { ...options, transport: this.#marked() };
    this.#generation = this.#stored();
    this.#driver = new RaftDriver(this.#inner);
  }

  /** `isHeld`: takes part only after release(). */
  start(isHeld = false): void {
    this.#isStarted = true;
    this.#isHeld = isHeld;
    if (!isHeld) this.#driver.start();
  }

  /** Nobody was met who would win: this log goes on. */
  release(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    if (this.#winner === undefined && !this.#isStopped) {
      this.#driver.start();
      this.#leadAlone();
    }
  }

  stop(): void {
    this.#isStopped = true;
    this.#driver.stop();
  }

  get generation(): Generation {
    return this.#generation;
  }

  get isHeld(): boolean {
    return this.#isHeld;
  }

  get isYielding(): boolean {
    return this.#winner !== undefined;
  }

  get foreign(): number {
    return this.#foreign;
  }

  state(): ClusterState {
    return this.#driver.state();
  }

  status(): DriverStatus {
    return this.#driver.status();
  }

  propose(command: Command, timeoutMs?: number): Promise<CommandResult> {
    return this.#driver.propose(command, timeoutMs);
  }

  proposeEncoded(id: string, data: Uint8Array, what: string, timeoutMs: number): Promise<CommandResult> {
    return this.#driver.proposeEncoded(id, data, what, timeoutMs);
  }

  proposeConfChange(change: Parameters<RaftDriver["proposeConfChange"]>[0]): void {
    this.#driver.proposeConfChange(change);
  }

  leaderDied(node: number): void {
    if (!this.#isHeld) this.#driver.leaderDied(node);
  }

  transferLeader(node: number): void {
    this.#driver.transferLeader(node);
  }

  unreachable(node: number): void {
    this.#driver.unreachable(node);
  }

  snapshotSent(node: number, isDelivered: boolean): void {
    this.#driver.snapshotSent(node, isDelivered);
  }

  /** Takes a message of a peer; `message.from` was checked by the transport. */
  receive(message: Message): void {
    if (this.#isStopped) return;
    const theirs = generationOf(message.term);
    if (!isSameGeneration(theirs, this.#generation)) this.#meet(message, theirs);
    else if (this.#winner === undefined && !this.#isForgotten(message)) {
      this.#driver.receive(unmarked(message, this.#generation));
    }
  }

  /** Now and then: whoever gives way to a winner that is gone goes on by itself. */
  tick(): void {
    if (this.#winner === undefined || this.#options.timers.nowMs() < this.#winnerHeardMs + YIELD_MS) return;
    const winner = this.#winner;
    this.#winner = undefined;
    this.#drive();
    this.#options.onYielding?.(false, winner);
  }

  /** Goes on without `peer`, in a log of its own. False: it cannot. */
  force(peer: number): boolean {
    const { self, slots, storage, founders, onGeneration } = this.#options;
    if (this.#isStopped || this.#winner !== undefined) return false;
    const forced = forcedLog(storage, { self, peer, slots: storage.founding?.slots ?? slots, founders });
    if (forced === undefined) return false;
    const { snapshot, generation } = forced;
    this.#replace(() => storage.restart(snapshot, { term: snapshot.term, vote: 0, commit: snapshot.index }));
    onGeneration?.("forced", generation);
    this.#told(snapshot.index);
    this.#leadAlone();
    return true;
  }

  // ---------------------------------------------------------------- two logs meet

  #meet(message: Message, theirs: Generation): void {
    const isLeader =
      message.type === "MsgApp" || message.type === "MsgHeartbeat" || message.type === "MsgSnap";
    const mine: Claim = {
      generation: this.#generation,
      isServing: this.#winner === undefined && (this.#leads() || this.#options.isServing()),
    };
    // Whoever leads serves, and this member as well: else each of two leaders could give way to the other.
    if (!isLeader || !givesWay(mine, { generation: theirs, isServing: true })) {
      this.#foreign++;
      return;
    }
    this.#yield(theirs);
    if (message.type === "MsgSnap") this.#adopt(message, theirs);
    else this.#refuse(message);
  }

  #leads(): boolean {
    return this.#driver.status().state === "leader";
  }

  #yield(winner: Generation): void {
    this.#winnerHeardMs = this.#options.timers.nowMs();
    if (this.#winner !== undefined && isSameGeneration(this.#winner, winner)) return;
    this.#winner = winner;
    this.#driver.retire(`node ${winner.by} went on alone in epoch ${winner.epoch}, and its log wins`);
    this.#options.onYielding?.(true, winner);
  }

  /**
   * As a member would whose log is empty: then its leader sends all that it has. `logTerm` tells which log it is that this member holds.
   * A leader that believes it to have everything sends heartbeats alone: it is told as well.
   */
  #refuse(message: Extract<Message, { type: "MsgApp" | "MsgHeartbeat" }>): void {
    const { self, transport } = this.#options;
    const base = { from: self, to: message.from, term: message.term };
    if (message.type === "MsgHeartbeat") {
      const { context } = message;
      transport.sendRaft({
        type: "MsgHeartbeatResp",
        ...base,
        ...(context === undefined ? {} : { context }),
      });
    }
    const index = message.type === "MsgApp" ? message.index : 0;
    const logTerm = floorTerm(this.#generation) + 1;
    transport.sendRaft({ type: "MsgAppResp", ...base, index, reject: true, rejectHint: 0, logTerm });
  }

  /**
   * A learner refuses, for it holds another log, and this leader knows entries of its own log there: those are gone. Refusals by members
   * of this log are Raft's: what they held they hold, or their disk was lost (fitness.ts).
   */
  #isForgotten(message: Message): boolean {
    if (message.type !== "MsgAppResp" || !message.reject || message.logTerm === 0) return false;
    if (isSameGeneration(generationOf(message.logTerm), this.#generation)) return false;
    const { matches, confState } = this.#driver.status();
    const id = message.from;
    // Raft would ask again at once after the refusal of entry 0, and learn nothing.
    if ((matches.get(id) ?? 0) === 0) return message.index === 0;
    // A voter's acknowledgements may have committed entries: nobody takes those back.
    if (confState.learners.includes(id)) {
      this.#driver.proposeConfChange({ changes: [{ type: "remove", id }], transition: "auto" });
    }
    return true;
  }

  #adopt(message: Extract<Message, { type: "MsgSnap" }>, generation: Generation): void {
    const { storage, onGeneration } = this.#options;
    const { snapshot, term } = message;
    this.#winner = undefined;
    this.#replace(() => storage.restart(snapshot, { term, vote: 0, commit: snapshot.index }));
    onGeneration?.("lost", generation);
    this.#told(snapshot.index);
    // It has the snapshot: this acknowledges it.
    this.#driver.receive(message);
  }

  // ---------------------------------------------------------------- one driver after the other

  /** A failed disk ends the process, as in the driver. */
  #replace(restart: () => void): void {
    this.#driver.retire("another log of the cluster begins");
    try {
      restart();
      this.#generation = this.#stored();
      this.#isHeld = false;
      this.#drive();
    } catch (error) {
      this.#isStopped = true;
      this.#options.onFatal(error);
    }
  }

  #drive(): void {
    this.#driver = new RaftDriver(this.#inner);
    if (this.#isStarted && !this.#isHeld) this.#driver.start();
  }

  /** Who votes alone need not wait for an election by the clock. */
  #leadAlone(): void {
    const { self } = this.#options;
    const { confState, lead } = this.#driver.status();
    const other = confState.learners[0];
    if (lead !== 0 || other === undefined || confState.voters.some((id) => id !== self)) return;
    this.#driver.leaderDied(other);
  }

  #told(index: number): void {
    if (this.#isStopped) return;
    this.#options.onCommitted(this.#driver.state(), { index, by: 0, result: { ok: true, changed: true } });
  }

  #stored(): Generation {
    return generationOf(this.#options.storage.initialState().hardState.term);
  }

  /** What Raft sends without a term (thesis section 6.2: requests on their way to the leader) is marked with its generation. */
  #marked(): RaftDriverOptions["transport"] {
    const { transport } = this.#options;
    return {
      sendRaft: (message) =>
        transport.sendRaft(message.term === 0 ? { ...message, term: floorTerm(this.#generation) } : message),
      sendSnapshot: (message) => transport.sendSnapshot(message),
    };
  }
}

function unmarked(message: Message, generation: Generation): Message {
  return message.term === floorTerm(generation) ? { ...message, term: 0 } : message;
}
