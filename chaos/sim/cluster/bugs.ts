/**
 * Bugs that can be planted in simulated nodes, each by a lie told at the seam of a real part, so that the checkers are seen to
 * find what they are for. The product knows none of them. Owns the list and the lies; what finds which is in docs/simulation.md.
 */
import type { Entry, Message, Ready } from "raft-ts";
import { generationOf } from "../../../cluster/control/generation.ts";
import type { Command } from "../../../cluster/control/model.ts";
import type { DurableStorage } from "../../../cluster/storage/durable-storage.ts";
import type { Env } from "../../../src/base/env.ts";
import { OP_DELETE, OP_UPSERT, RECORD_BYTES, RECORD_OP_AT } from "../../../src/base/record.ts";
import type { Engine } from "../../../src/dataplane/engine.ts";
import type { MemoryPort } from "../../../src/io/memory.ts";
import type { SharedMemory } from "../../../src/node/shared-memory.ts";
import type { FromWorker, ToWorker, WorkerSetup } from "../../../src/node/worker-protocol.ts";
import { setU16, u16 } from "../../../src/packet/bytes.ts";
import { PROTOCOL_UDP } from "../../../src/packet/ipv4.ts";
import type { Link } from "../../lab/topology.ts";
import type { TrialPlan } from "./trial-plan.ts";

export const BUGS = [
  /** New owners do not wait for whoever had the slot before. */
  "awaits-nobody",
  /** Packets go out before their flow is on the backup. */
  "forwards-unreplicated",
  /** One node believes in its lease for longer than others promised. */
  "stretches-lease",
  /** One node's clock runs much faster than any lease allows for. */
  "races",
  /** One node gives all its flows the same external port. */
  "shares-a-port",
  /** One node lets everything through. */
  "accepts-all",
  /** One node acknowledges copies of flows, and keeps none. */
  "drops-copies",
  /** Copies get lost now and then, and digests are always called equal. */
  "repairs-nothing",
  /** One node stores other entries than its leader sent. */
  "alters-entries",
  /** Disks say that they have synced, and have not. */
  "lying-disk",
  /** One node grants its vote to everybody who asks. */
  "votes-for-all",
  /** One node takes a refused vote for a granted one. */
  "elects-itself",
  /** One node keeps another weight of members than was agreed on. */
  "misapplies",
  /** One node keeps its copies of flows with another translation, and digests are always called equal. */
  "mangles-copies",
  /** Nodes say that nothing of a slot follows before they have sent what had no room. */
  "hurries-barriers",
  /** Workers date what they promise by the begin of their turn, however long ago that was. */
  "dates-by-turn",
] as const;
export type TrialBug = (typeof BUGS)[number];
/** What stories of pairs find (pair.ts). */
export const PAIR_BUGS = [
  /** Nodes go on alone without asking whether the other one's machine is there. */
  "probes-nobody",
  /** Nodes take silence for a process that ended: they await neither its promise nor an answer to a probe. */
  "buries-the-silent",
  /** A node that goes on alone does not mark its epoch as forced. */
  "marks-nothing",
  /** One node goes on with its own log, whoever wins. */
  "gives-way-to-nobody",
] as const;
export type Bug = TrialBug | (typeof PAIR_BUGS)[number];

/** Two of three nodes do not hear each other, and whoever votes for both stands still in the middle of its turns. */
export const STALLING = {
  ...{ nodes: 3, hasWitness: false, profile: "lan", isWeatherBad: false },
  ...{ kind: "storm", fault: "stalls", isCramped: false },
} as const satisfies Partial<TrialPlan>;

/** What a trial must be like for a bug to show itself soon. */
export function trialOf(bug: Bug | undefined): Partial<TrialPlan> {
  if (bug === undefined) return {};
  const small = { nodes: 2, hasWitness: true, profile: "lan", isWeatherBad: false } as const;
  return { ...small, ...TRIALS[bug] };
}

const TRIALS: Readonly<Partial<Record<Bug, Partial<TrialPlan>>> & Record<TrialBug, Partial<TrialPlan>>> = {
  // In a lan a lease is out by the time of detection: who awaits nobody does no harm there.
  "awaits-nobody": { kind: "single", profile: "vm", fault: "silence" },
  "forwards-unreplicated": { kind: "single" },
  "stretches-lease": { kind: "single", fault: "silence" },
  races: { kind: "single", fault: "silence", driftPpmMax: 5000 },
  "shares-a-port": { kind: "single" },
  "accepts-all": { kind: "single" },
  "drops-copies": { kind: "single", fault: "kill" },
  "repairs-nothing": { kind: "single", fault: "clock-jump" },
  "alters-entries": { kind: "single" },
  "lying-disk": { kind: "storm", nodes: 3, hasWitness: false },
  "votes-for-all": { kind: "single", nodes: 3, hasWitness: false, fault: "rivals" },
  "elects-itself": { kind: "single", nodes: 3, hasWitness: false, fault: "rivals" },
  misapplies: { kind: "single" },
  "mangles-copies": { kind: "single", fault: "kill" },
  "hurries-barriers": { kind: "single", isCramped: true },
  "dates-by-turn": STALLING,
};

const STRETCH = 20;
/** All the others are honest. */
const BUGGY_NODE = 1;
const SHARED_PORT = 5000;
const LOST_EVERY = 5;
/** Of a record: the port that answers are sent to, low byte first (dataplane/flow-record.ts). */
const TRANSLATED_PORT_AT = 92;

export function spoiledSetup(bug: Bug | undefined, setup: WorkerSetup): WorkerSetup {
  if (setup.selfId !== BUGGY_NODE) return setup;
  const { policy, profile } = setup;
  if (bug === "stretches-lease")
    return { ...setup, profile: { ...profile, leaseMs: profile.leaseMs * STRETCH } };
  if (bug !== "accepts-all") return setup;
  const { action } = policy.rules.at(-1)!;
  const { compiled: _, ...honest } = setup;
  return { ...honest, policy: { ...policy, rules: policy.rules.map((rule) => ({ ...rule, action })) } };
}

export function spoiledMessage(bug: Bug | undefined, message: ToWorker): ToWorker {
  if (bug !== "awaits-nobody" || message === 0 || message.type !== "state") return message;
  return { ...message, table: { ...message.table, awaiting: message.table.awaiting.map(() => []) } };
}

export function spoiledAnswer(bug: Bug | undefined, message: FromWorker): FromWorker {
  if (bug === "probes-nobody" && message !== 0 && message.type === "probed") {
    return { ...message, isAnswering: false };
  }
  if (bug === "buries-the-silent" && message !== 0 && message.type === "liveness") {
    const { event } = message;
    return event.type === "peerDown" ? { ...message, event: { ...event, cause: "lifeline" } } : message;
  }
  if (!isBlind(bug) || message === 0 || message.type !== "digest") return message;
  return { ...message, isEqual: true };
}

/** What a node proposes that takes slots without a proof, so that the cluster goes on in its error. */
export function unprovenSettle(bug: Bug | undefined, message: ToWorker, selfId: number): Command | undefined {
  if (bug !== "awaits-nobody" || message === 0 || message.type !== "state") return undefined;
  const { owner, awaiting, movedEpoch } = message.table;
  const slots = owner.flatMap((id, slot) => (id === selfId && awaiting[slot]!.length > 0 ? [slot] : []));
  if (slots.length === 0) return undefined;
  return { type: "settled", node: selfId, slots, movedEpochs: slots.map((slot) => movedEpoch[slot]!) };
}

export function spoilEngine(bug: Bug | undefined, engine: Engine): void {
  if (bug === "hurries-barriers") engine.publishBarrier = (slot, epoch) => engine.book.barrier(slot, epoch);
}

export function spoilMemory(bug: Bug | undefined, memory: SharedMemory): void {
  if (bug === "forwards-unreplicated") new Float64Array(memory.acked).fill(Number.POSITIVE_INFINITY);
}

/** The clock that a worker reads while it works. `turn`: when it began. */
export function spoiledEnv(bug: Bug | undefined, env: Env, turn: { readonly nowMs: number }): Env {
  return bug === "dates-by-turn" ? { ...env, nowMs: () => turn.nowMs } : env;
}

/** Local milliseconds in a true one. */
export function spoiledRate(bug: Bug | undefined, node: number, rate: number): number {
  return bug === "races" && node === BUGGY_NODE ? 0.25 : rate;
}

export function spoilPort(bug: Bug | undefined, node: number, link: Link, port: MemoryPort): void {
  if (bug !== "shares-a-port" || node !== BUGGY_NODE || link !== "outside") return;
  const send = port.send.bind(port);
  port.send = (at, lengthBytes) => {
    const { bytes } = port.pool;
    if (u16(bytes, at + 12) === 0x0800 && bytes[at + 23] === PROTOCOL_UDP) {
      setU16(bytes, at + 34, SHARED_PORT);
      // No checksum (RFC 768).
      setU16(bytes, at + 40, 0);
    }
    return send(at, lengthBytes);
  };
}

/** Digests are always called equal. */
function isBlind(bug: Bug | undefined): boolean {
  return bug === "repairs-nothing" || bug === "mangles-copies";
}

interface Batch {
  readonly firstSequence: number;
  readonly count: number;
  readonly slab: Uint8Array;
}

/** What a node makes of a message of replication. */
export function spoiledSync(bug: Bug | undefined, node: number, message: unknown): unknown {
  const spoil = spoilerOf(bug, node);
  if (spoil === undefined || (message as { type: string }).type !== "batch") return message;
  const batch = message as Batch;
  const slab = batch.slab.slice();
  for (let i = 0; i < batch.count; i++) {
    const at = i * RECORD_BYTES;
    if (slab[at + RECORD_OP_AT] === OP_UPSERT) spoil(slab, at, batch.firstSequence + i);
  }
  return { ...batch, slab };
}

/** What happens to each copy of a flow. */
function spoilerOf(
  bug: Bug | undefined,
  node: number,
): ((slab: Uint8Array, at: number, sequence: number) => void) | undefined {
  const isBuggy = node === BUGGY_NODE;
  if (bug === "repairs-nothing") {
    return (slab, at, sequence) => {
      if (sequence % LOST_EVERY === 0) slab[at + RECORD_OP_AT] = OP_DELETE;
    };
  }
  if (bug === "drops-copies" && isBuggy) {
    return (slab, at) => {
      slab[at + RECORD_OP_AT] = OP_DELETE;
    };
  }
  if (bug !== "mangles-copies" || !isBuggy) return undefined;
  return (slab, at) => {
    slab[at + TRANSLATED_PORT_AT]! ^= 1;
  };
}

/** What a node makes of a Raft message. */
export function spoiledRaft(bug: Bug | undefined, node: number, message: Message): Message {
  if (node !== BUGGY_NODE) return message;
  if (bug === "gives-way-to-nobody" && isOfAnother(node, message)) {
    const { from, to, term } = message;
    return { type: "MsgHeartbeatResp", from, to, term };
  }
  if (bug === "elects-itself" && message.type === "MsgVoteResp") return { ...message, reject: false };
  if (bug !== "alters-entries" || message.type !== "MsgApp") return message;
  return { ...message, entries: message.entries.map(altered) };
}

/** What a node says instead of a Raft message. */
export function spoiledReply(bug: Bug | undefined, node: number, message: Message): Message {
  if (bug !== "votes-for-all" || node !== BUGGY_NODE || message.type !== "MsgVoteResp") return message;
  return { ...message, reject: false };
}

/** A log from which other entries are applied than it holds. */
export function spoilLog(bug: Bug | undefined, node: number, storage: DurableStorage): void {
  if (bug === "marks-nothing") spoilRestart(storage);
  if (bug !== "misapplies" || node !== BUGGY_NODE) return;
  const save = storage.save.bind(storage);
  storage.save = (saved, done) => {
    const entries = (saved as Ready).committedEntries as Entry[];
    entries.forEach((entry, i) => {
      entries[i] = misread(entry);
    });
    save(saved, done);
  };
}

/** A log that begins with a state that does not say why it does. */
function spoilRestart(storage: DurableStorage): void {
  const restart = storage.restart.bind(storage);
  storage.restart = (snapshot, hardState) => {
    const state = JSON.parse(Buffer.from(snapshot.data).toString());
    delete state.cluster.forced;
    restart({ ...snapshot, data: Buffer.from(JSON.stringify(state)) }, hardState);
  };
}

/** A message of a log that another node began. */
function isOfAnother(node: number, { term }: Message): boolean {
  const { epoch, by } = generationOf(term);
  return epoch > 0 && by !== node;
}

/** Another weight of the member. */
function misread(entry: Entry): Entry {
  if (entry.type !== "normal") return entry;
  const text = Buffer.from(entry.data).toString();
  return { ...entry, data: Buffer.from(text.replace(/"weight":1\b/, '"weight":2')) };
}

/** Another letter in the id of its proposal. */
function altered(entry: Entry): Entry {
  const text = Buffer.from(entry.data).toString();
  return { ...entry, data: Buffer.from(text.replace(/("id":"\d+-)./, "$1x")) };
}
