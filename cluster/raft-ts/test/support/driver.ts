/**
 * A driver for tests: one RawNode with its storage and a state machine that remembers what was applied.
 * Owns the order of work that raft.md prescribes, and can be stopped between any two steps of it.
 */
import {
  type Config,
  type ConfState,
  decodeConfChange,
  type Entry,
  type HardState,
  MemoryStorage,
  type Message,
  RawNode,
  type ReadState,
  type Ready,
  type Snapshot,
} from "raft-ts";

export const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
export const bytes = (s: string): Uint8Array => new TextEncoder().encode(s);

export function voters(...ids: number[]): ConfState {
  return { voters: ids, votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
}

/** A configuration for tests: small, strict, without randomness. */
export function configOf(options: Partial<Config> & Pick<Config, "id" | "storage">): Config {
  return {
    electionTick: 10,
    heartbeatTick: 1,
    applied: 0,
    random: () => 0,
    preVote: false,
    checkQuorum: false,
    maxSizePerMessage: 1 << 20,
    maxInflightMessages: 256,
    maxUncommittedBytes: 0,
    disableProposalForwarding: false,
    stepDownOnRemoval: true,
    readOnly: "safe",
    ...options,
  };
}

export type NodeOptions = Partial<Omit<Config, "id" | "storage" | "applied">>;

/** What the state machine holds after a restart: exactly what the snapshot says. */
interface MachineState {
  readonly applied: string[];
}

export class TestNode {
  readonly id: number;
  readonly storage: MemoryStorage;
  raw: RawNode;
  /** One line per applied entry with data, as index:data. */
  applied: string[] = [];
  appliedIndex = 0;
  confState: ConfState;
  readStates: ReadState[] = [];
  /** Called for every entry that the state machine gets, before it is applied. */
  onApply: (entry: Entry) => void = () => {};
  /** A driver should make a new snapshot when the membership changed and the log is compacted already. */
  isSnapshotRenewed = true;
  readonly #options: NodeOptions;
  #synced: HardState = { term: 0, vote: 0, commit: 0 };

  constructor(id: number, confState: ConfState, options: NodeOptions = {}, storage?: MemoryStorage) {
    this.id = id;
    this.#options = options;
    this.storage = storage ?? new MemoryStorage(confState);
    this.#synced = this.storage.initialState().hardState;
    this.confState = confState;
    this.raw = this.#start();
  }

  /** Forgets everything that is not durable, and starts again from the storage. */
  restart(options: { isUnsyncedLost?: boolean } = {}): void {
    if (options.isUnsyncedLost === true) this.storage.setHardState(this.#synced);
    this.raw = this.#start();
  }

  /** Makes a Ready's state durable. */
  persist(rd: Ready): void {
    if (rd.snapshot !== undefined) this.storage.applySnapshot(rd.snapshot);
    this.storage.append(rd.entries);
    if (rd.hardState !== undefined) this.storage.setHardState(rd.hardState);
    if (rd.mustSync) this.#synced = this.storage.initialState().hardState;
  }

  /** Applies a Ready's snapshot and committed entries. */
  apply(rd: Ready): void {
    if (rd.snapshot !== undefined) this.#load(rd.snapshot);
    let isMembershipNew = false;
    for (const entry of rd.committedEntries) {
      this.onApply(entry);
      isMembershipNew ||= entry.type === "confChange";
      this.appliedIndex = entry.index;
      if (entry.type === "confChange")
        this.confState = this.raw.applyConfChange(decodeConfChange(entry.data));
      else if (entry.data.length > 0) this.applied.push(`${entry.index}:${text(entry.data)}`);
    }
    this.readStates.push(...rd.readStates);
    // A snapshot from before a member's addition is of no use to it, so a compacted log needs a new one.
    if (this.isSnapshotRenewed && isMembershipNew && this.storage.firstIndex() > 1)
      this.compact(Number.POSITIVE_INFINITY);
  }

  /** One whole round of the driver loop; answers what is to be sent. */
  process(): Message[] {
    const rd = this.raw.ready();
    this.persist(rd);
    this.apply(rd);
    this.raw.advance();
    return [...rd.messages, ...rd.messagesAfterPersist];
  }

  /** Rounds until nothing is left to do; answers what is to be sent. */
  drain(): Message[] {
    const out: Message[] = [];
    while (this.raw.hasReady()) out.push(...this.process());
    return out;
  }

  tick(count = 1): void {
    for (let i = 0; i < count; i++) this.raw.tick();
  }

  propose(data: string): void {
    this.raw.propose(bytes(data));
  }

  /** Snapshots the state machine and drops the log up to `keep` entries before it. */
  compact(keep = 0): void {
    const state: MachineState = { applied: this.applied };
    this.storage.createSnapshot(this.appliedIndex, this.confState, bytes(JSON.stringify(state)));
    const upTo = this.appliedIndex - keep;
    if (upTo >= this.storage.firstIndex()) this.storage.compact(upTo);
    // What a snapshot stands for is durable.
    this.#synced = this.storage.initialState().hardState;
  }

  /** The whole log that is durable, as term/data. */
  log(): string[] {
    const { storage } = this;
    const first = storage.firstIndex();
    const last = storage.lastIndex();
    if (last < first) return [];
    return storage.entries(first, last + 1, Number.POSITIVE_INFINITY).map((e) => `${e.term}/${text(e.data)}`);
  }

  #start(): RawNode {
    const snapshot = this.storage.snapshot();
    this.applied = [];
    this.#load(snapshot);
    this.readStates = [];
    const { id, storage } = this;
    return new RawNode(configOf({ ...this.#options, id, storage, applied: snapshot.index }));
  }

  #load(snapshot: Snapshot): void {
    if (snapshot.data.length > 0)
      this.applied = [...(JSON.parse(text(snapshot.data)) as MachineState).applied];
    this.appliedIndex = snapshot.index;
    this.confState = snapshot.confState;
  }
}

/** Several nodes and a network that delivers in order, except where a test cuts it. */
export class TestCluster {
  readonly nodes = new Map<number, TestNode>();
  /** Answers false for a message that gets lost. */
  filter: (m: Message) => boolean = () => true;
  /** Everything that was delivered, for tests that look at the traffic. */
  delivered: Message[] = [];

  constructor(ids: readonly number[], options: NodeOptions | ((id: number) => NodeOptions) = {}) {
    const conf = voters(...ids);
    for (const id of ids) this.add(id, conf, typeof options === "function" ? options(id) : options);
  }

  add(id: number, confState: ConfState, options: NodeOptions = {}): TestNode {
    const node = new TestNode(id, confState, options);
    this.nodes.set(id, node);
    return node;
  }

  node(id: number): TestNode {
    const node = this.nodes.get(id);
    if (node === undefined) throw new Error(`No node ${id}`);
    return node;
  }

  /** Delivers until silence. */
  settle(): void {
    for (let isBusy = true, round = 0; isBusy; round++) {
      if (round > 10_000) throw new Error("The cluster never falls silent");
      isBusy = false;
      for (const node of [...this.nodes.values()]) {
        const out = node.drain();
        for (const m of out) {
          isBusy = true;
          this.deliver(m);
        }
      }
    }
  }

  deliver(m: Message): void {
    if (!this.filter(m)) return;
    this.delivered.push(m);
    this.nodes.get(m.to)?.raw.step(m);
  }

  /** Nobody hears these nodes, and they hear nobody but themselves. */
  isolate(...ids: number[]): void {
    this.filter = (m) => ids.includes(m.from) === ids.includes(m.to);
  }

  heal(): void {
    this.filter = () => true;
  }

  elect(id: number): void {
    this.node(id).raw.campaign();
    this.settle();
  }

  tick(count = 1): void {
    for (let i = 0; i < count; i++) {
      for (const node of this.nodes.values()) node.tick();
      this.settle();
    }
  }

  leaders(): number[] {
    return [...this.nodes.values()].filter((n) => n.raw.status().state === "leader").map((n) => n.id);
  }
}
