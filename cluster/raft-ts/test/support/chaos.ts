/**
 * A small cluster under everything that Raft must survive: messages lost, reordered and duplicated, links cut,
 * nodes crashed between any two steps of their driver with all that was not durable gone, memberships changing,
 * logs compacted. Owns the schedule and the checks of Raft figure 3; a violation is thrown as SafetyViolation.
 */
import {
  type ConfChange,
  type ConfChangeSingle,
  type Entry,
  type Message,
  ProposalDroppedError,
  type Ready,
} from "raft-ts";
import { bytes, TestNode, text, voters } from "./driver.ts";
import { Random } from "./random.ts";

export class SafetyViolation extends Error {
  constructor(property: string, detail: string) {
    super(`${property}: ${detail}`);
    this.name = "SafetyViolation";
  }
}

export interface ChaosOptions {
  readonly seed: number;
  readonly steps: number;
  readonly preVote?: boolean;
  readonly checkQuorum?: boolean;
  readonly isMembershipChanging?: boolean;
  readonly witness?: number;
}

const IDS = [1, 2, 3, 4, 5] as const;
const BOOTSTRAP = voters(1, 2, 3);
const NETWORK_MAX = 300;
const ADVANCE_PAUSED_ONE_IN = 8;

/** A Ready on its way through a driver. */
interface InProgress {
  readonly rd: Ready;
  stage: "taken" | "persisted" | "applied";
}

export class Chaos {
  readonly nodes = new Map<number, TestNode>();
  readonly #random: Random;
  readonly #options: ChaosOptions;
  readonly #readys = new Map<number, InProgress>();
  readonly #down = new Set<number>();
  #network: Message[] = [];
  readonly #cut = new Set<string>();
  #proposals = 0;

  /** Who led which term. */
  readonly #leaders = new Map<number, number>();
  /** Every entry ever made durable, by term and index, with the term of the one before it. */
  readonly #entries = new Map<string, { data: string; prevTerm: number }>();
  /** What was applied at an index, by whomever. */
  readonly #applied = new Map<number, string>();
  /** The membership after what was applied up to an index, by whomever. */
  readonly #memberships = new Map<number, string>();
  /** Terms of which leader completeness was checked. */
  readonly #checkedTerms = new Set<number>();
  /** The highest index applied anywhere. */
  #highestApplied = 0;
  /** What each read-index request must see at least. */
  readonly #reads: number[] = [];
  readonly counts = { reads: 0, snapshots: 0, joint: 0 };

  constructor(options: ChaosOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    for (const id of IDS) {
      const node = new TestNode(id, BOOTSTRAP, {
        electionTick: 5,
        heartbeatTick: 1,
        random: (n) => this.#random.below(n),
        preVote: options.preVote ?? false,
        checkQuorum: options.checkQuorum ?? false,
        maxSizePerMessage: 64,
        maxInflightMessages: 3,
        maxUncommittedBytes: 512,
        witness: id === options.witness,
      });
      node.onApply = (entry) => this.#checkApplied(node, entry);
      this.nodes.set(id, node);
    }
  }

  get appliedCount(): number {
    return this.#applied.size;
  }

  get termCount(): number {
    return this.#leaders.size;
  }

  run(): void {
    for (let i = 0; i < this.#options.steps; i++) {
      this.#step();
      this.#checkLeaders();
    }
  }

  /** Mends everything and expects that the cluster works again and agrees. */
  converge(): void {
    this.#cut.clear();
    for (const id of [...this.#down]) this.#start(id);
    const probe = `probe-${this.#options.seed}`;
    for (let round = 0; round < 400; round++) {
      for (const node of this.nodes.values()) node.tick();
      this.#settle();
      const leader = [...this.nodes.values()].find((n) => this.#isCurrentLeader(n));
      if (leader === undefined) continue;
      if (round % 10 === 0) this.#tryTo(() => leader.propose(probe));
      this.#settle();
      if (this.#hasConverged(leader, probe)) return;
    }
    throw new SafetyViolation("Liveness", "the healed cluster did not agree on a new entry");
  }

  // ---------------------------------------------------------------- schedule

  #step(): void {
    const dice = this.#random.below(1000);
    const node = this.nodes.get(this.#random.pick(IDS))!;
    if (dice < 360) this.#deliver();
    else if (dice < 720) this.#advanceDriver(node);
    else if (dice < 850) this.#whileUp(node, () => node.tick());
    else if (dice < 910) this.#propose(node);
    else if (dice < 920) this.#readEverywhere();
    else if (dice < 930) this.#crash(node);
    else if (dice < 950) this.#startOne();
    else if (dice < 960) this.#cutOrHeal();
    else if (dice < 970) this.#compact(node);
    else if (dice < 980) this.#changeMembership(node);
    else if (dice < 985) this.#whileUp(node, () => node.raw.transferLeader(this.#random.pick(IDS)));
    else if (dice < 990) this.#whileUp(node, () => node.raw.forgetLeader());
    else if (dice < 995) this.#whileUp(node, () => node.raw.campaign());
    else this.#whileUp(node, () => node.raw.reportUnreachable(this.#random.pick(IDS)));
  }

  #whileUp(node: TestNode, action: () => void): void {
    if (!this.#down.has(node.id)) this.#tryTo(action);
  }

  #tryTo(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof ProposalDroppedError)) throw error;
    }
  }

  #send(messages: readonly Message[]): void {
    for (const m of messages) {
      if (this.#cut.has(`${m.from}-${m.to}`) || this.#random.chance(4)) {
        if (m.type === "MsgSnap") this.#reportSnapshot(m, false);
        continue;
      }
      this.#network.push(m);
      if (this.#random.chance(4)) this.#network.push(m);
    }
    while (this.#network.length > NETWORK_MAX)
      this.#network.splice(this.#random.below(this.#network.length), 1);
  }

  #deliver(): void {
    if (this.#network.length === 0) return;
    // Mostly in order, sometimes not at all in order.
    const at = this.#random.chance(70) ? 0 : this.#random.below(this.#network.length);
    const [m] = this.#network.splice(at, 1);
    this.#arrive(m!);
  }

  #arrive(m: Message): void {
    const node = this.nodes.get(m.to)!;
    if (m.type === "MsgSnap") this.#reportSnapshot(m, !this.#down.has(m.to));
    this.#whileUp(node, () => node.raw.step(m));
  }

  #reportSnapshot(m: Message, isOk: boolean): void {
    const sender = this.nodes.get(m.from)!;
    this.#whileUp(sender, () => sender.raw.reportSnapshot(m.to, isOk));
  }

  /** One step of the driver loop: take a Ready, or make it durable, or apply it, or advance. */
  #advanceDriver(node: TestNode): void {
    if (!this.#down.has(node.id)) this.#send(this.#nextStage(node));
  }

  /** Answers what may be sent from here on. */
  #nextStage(node: TestNode): readonly Message[] {
    const current = this.#readys.get(node.id);
    if (current === undefined) {
      if (!node.raw.hasReady()) return [];
      const rd = node.raw.ready();
      this.#readys.set(node.id, { rd, stage: "taken" });
      return rd.messages;
    }
    const { rd } = current;
    switch (current.stage) {
      case "taken":
        node.persist(rd);
        this.#checkEntries(node, rd.entries);
        current.stage = "persisted";
        return rd.messagesAfterPersist;
      case "persisted":
        this.#apply(node, rd);
        current.stage = "applied";
        // A pause here is worth a look now and then; if all paused, less would happen in as many steps.
        return this.#random.below(ADVANCE_PAUSED_ONE_IN) === 0 ? [] : this.#nextStage(node);
      case "applied":
        this.#readys.delete(node.id);
        node.raw.advance();
        return [];
    }
  }

  #apply(node: TestNode, rd: Ready): void {
    node.apply(rd);
    this.#highestApplied = Math.max(this.#highestApplied, node.appliedIndex);
    if (rd.snapshot !== undefined) this.counts.snapshots++;
    if (node.confState.votersOutgoing.length > 0) this.counts.joint++;
    this.#checkMembership(node);
    for (const { index, context } of rd.readStates) this.#checkRead(node, index, Number(text(context)));
  }

  #crash(node: TestNode): void {
    this.#readys.delete(node.id);
    this.#down.add(node.id);
  }

  #startOne(): void {
    const down = [...this.#down];
    if (down.length > 0) this.#start(this.#random.pick(down));
  }

  #start(id: number): void {
    this.#down.delete(id);
    this.nodes.get(id)!.restart({ isUnsyncedLost: this.#random.chance(50) });
  }

  #cutOrHeal(): void {
    if (this.#cut.size > 0 && this.#random.chance(60)) {
      this.#cut.clear();
      return;
    }
    const side = new Set(IDS.filter(() => this.#random.chance(50)));
    const isOneWay = this.#random.chance(25);
    for (const a of IDS) {
      for (const b of IDS) {
        if (side.has(a) && !side.has(b)) this.#cut.add(`${a}-${b}`);
        if (!isOneWay && !side.has(a) && side.has(b)) this.#cut.add(`${a}-${b}`);
      }
    }
  }

  #propose(node: TestNode): void {
    this.#whileUp(node, () => node.propose(`p${this.#proposals++}`));
  }

  /** Everybody is asked: whoever still takes itself for the leader must not answer beside the leader. */
  #readEverywhere(): void {
    for (const node of this.nodes.values()) this.#read(node);
  }

  #read(node: TestNode): void {
    const context = bytes(String(this.#reads.push(this.#highestApplied) - 1));
    this.#whileUp(node, () => node.raw.readIndex(context));
  }

  #compact(node: TestNode): void {
    const stage = this.#readys.get(node.id)?.stage ?? "applied";
    if (this.#down.has(node.id) || stage !== "applied") return;
    const isNew = node.appliedIndex > node.storage.snapshot().index;
    if (isNew) node.compact(this.#random.below(4));
  }

  #changeMembership(node: TestNode): void {
    if (this.#options.isMembershipChanging !== true) return;
    const types = ["addVoter", "addVoter", "addLearner", "remove"] as const;
    const count = this.#random.below(4);
    const changes = Array.from(
      { length: count },
      (): ConfChangeSingle => ({ type: this.#random.pick(types), id: this.#random.pick(IDS) }),
    );
    const transition = this.#random.pick(["auto", "auto", "implicit", "explicit"] as const);
    const cc: ConfChange = { changes, transition, context: bytes("why") };
    this.#whileUp(node, () => node.raw.proposeConfChange(cc));
  }

  // ---------------------------------------------------------------- checks

  /** Election Safety and Leader Completeness. */
  #checkLeaders(): void {
    for (const node of this.nodes.values()) {
      if (this.#down.has(node.id)) continue;
      const { state, term } = node.raw.status();
      if (state !== "leader") continue;
      const known = this.#leaders.get(term);
      if (known !== undefined && known !== node.id) {
        throw new SafetyViolation("Election Safety", `${known} and ${node.id} both lead term ${term}`);
      }
      this.#leaders.set(term, node.id);
      if (this.#checkedTerms.has(term)) continue;
      this.#checkedTerms.add(term);
      this.#checkCompleteness(node, term);
    }
  }

  #checkCompleteness(node: TestNode, term: number): void {
    // A leader's durable log is all it has when it is elected, but for its own first entry.
    const { storage } = node;
    for (const [index, entry] of this.#applied) {
      if (index <= storage.snapshot().index) continue;
      const [entryTerm] = entry.split("/");
      if (index > storage.lastIndex()) {
        throw new SafetyViolation("Leader Completeness", `leader ${node.id} of ${term} lacks entry ${index}`);
      }
      if (index >= storage.firstIndex() && storage.term(index) !== Number(entryTerm)) {
        throw new SafetyViolation("Leader Completeness", `leader ${node.id} of ${term} differs at ${index}`);
      }
    }
  }

  /** Log Matching: an entry is determined by index and term, and so is the one before it. */
  #checkEntries(node: TestNode, entries: readonly Entry[]): void {
    for (const entry of entries) {
      const key = `${entry.term}/${entry.index}`;
      const data = `${entry.type}:${text(entry.data)}`;
      const prevTerm = node.storage.term(entry.index - 1);
      const known = this.#entries.get(key);
      if (known === undefined) this.#entries.set(key, { data, prevTerm });
      else if (known.data !== data || known.prevTerm !== prevTerm) {
        throw new SafetyViolation("Log Matching", `entry ${key} on ${node.id} differs from another copy`);
      }
    }
  }

  /** State Machine Safety: one entry per index, applied in order, each durable where it is applied. */
  #checkApplied(node: TestNode, entry: Entry): void {
    if (entry.index !== node.appliedIndex + 1) {
      throw new SafetyViolation(
        "State Machine Safety",
        `${node.id} applies ${entry.index} after ${node.appliedIndex}`,
      );
    }
    if (node.storage.lastIndex() < entry.index || node.storage.term(entry.index) !== entry.term) {
      throw new SafetyViolation("Durability", `${node.id} applies ${entry.index} before it is durable`);
    }
    const value = `${entry.term}/${entry.type}:${text(entry.data)}`;
    const known = noted(this.#applied, entry.index, value);
    if (known !== value) {
      throw new SafetyViolation(
        "State Machine Safety",
        `${node.id} applies ${value} at ${entry.index}, not ${known}`,
      );
    }
  }

  /** Whoever applied the same entries has the same membership, whether by entries or by a snapshot. */
  #checkMembership(node: TestNode): void {
    const membership = JSON.stringify(node.confState);
    const known = noted(this.#memberships, node.appliedIndex, membership);
    if (known !== membership) {
      throw new SafetyViolation(
        "Membership",
        `${node.id} has ${membership} at ${node.appliedIndex}, not ${known}`,
      );
    }
  }

  /** Linearizable reads: a read sees all that was applied anywhere when it was asked for. */
  #checkRead(node: TestNode, index: number, read: number): void {
    this.counts.reads++;
    const least = this.#reads[read]!;
    if (index < least) {
      throw new SafetyViolation("Linearizability", `${node.id} reads at ${index}, but ${least} was applied`);
    }
  }

  // ---------------------------------------------------------------- healing

  #isCurrentLeader(node: TestNode): boolean {
    const { state, term } = node.raw.status();
    return state === "leader" && [...this.nodes.values()].every((n) => n.raw.status().term <= term);
  }

  #settle(): void {
    for (let i = 0; i < 10_000; i++) {
      let isBusy = false;
      for (const node of this.nodes.values()) {
        while (this.#readys.has(node.id) || node.raw.hasReady()) {
          isBusy = true;
          this.#network.push(...this.#nextStage(node));
          this.#checkLeaders();
        }
      }
      const messages = this.#network;
      this.#network = [];
      for (const m of messages) this.#arrive(m);
      if (!isBusy && messages.length === 0) return;
    }
    throw new SafetyViolation("Liveness", "the cluster never falls silent");
  }

  #hasConverged(leader: TestNode, probe: string): boolean {
    if (!leader.applied.some((line) => line.endsWith(`:${probe}`))) return false;
    const { voters: in_, votersOutgoing, learners } = leader.raw.status().confState;
    const members = new Set([...in_, ...votersOutgoing, ...learners]);
    const want = JSON.stringify(leader.applied);
    for (const id of members) {
      const node = this.nodes.get(id)!;
      // A snapshot from before its addition does not tell a new member that it is one.
      if (JSON.stringify(node.applied) === want) continue;
      if (leader.appliedIndex > leader.storage.snapshot().index) leader.compact(0);
      return false;
    }
    return true;
  }
}

/** What is known at `index`: what was noted there first, now if nothing was. */
function noted(known: Map<number, string>, index: number, value: string): string {
  const first = known.get(index) ?? value;
  known.set(index, first);
  return first;
}
