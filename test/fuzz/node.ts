/**
 * Node: one engine for the fuzzer, with frame memory that is poisoned and watched. Every byte of a chunk that nobody has written
 * since it was given out is the poison; whoever writes into a free chunk, frees one twice or loses one is found out.
 */
import { seededRandom } from "../../src/base/env.ts";
import { OP_UPSERT, RECORD_BYTES, RECORD_OP_AT, RECORD_OPAQUE_AT } from "../../src/base/record.ts";
import { createRing, RecordRing } from "../../src/base/ring.ts";
import {
  type ClusterView,
  PEER_ALIVE,
  PEER_ON_CLUSTER_LINK,
  type PeerAddress,
  SLOT_OWNED,
  standaloneView,
} from "../../src/dataplane/cluster-view.ts";
import { COUNTER_CELLS, counterIndex, type ExtraCounter } from "../../src/dataplane/counters.ts";
import { Engine } from "../../src/dataplane/engine.ts";
import { FlowTable } from "../../src/dataplane/flow-table.ts";
import type { FrameMemory } from "../../src/dataplane/frame-memory.ts";
import type { PolicyModel } from "../../src/dataplane/policy-model.ts";
import { RULE_LOG_BYTES } from "../../src/dataplane/rule-log.ts";
import { VERDICT_LOCAL } from "../../src/dataplane/verdict.ts";
import { ip, mac } from "../unit/dataplane/frames.ts";
import { TEST_KEY } from "../unit/dataplane/world.ts";
import { Proofs } from "./proofs.ts";

export const SLOTS = 64;
export const CHUNK = 2048;
export const HEADROOM = 256;
const CHUNKS = 160;
export const ROWS = 256;
const RECORDS = 1024;
/** When an episode begins. */
export const START_MS = 1_000_000;
const WALL_MS = 1_700_000_000_000;

const WAITING = (["holdNow", "heldNow", "heldForNeighbourNow", "fragmentFramesNow"] as const).map(
  counterIndex,
);

/** A defect that a test plants, to see that it is found. */
export type Plant =
  | "throw"
  | "checksum"
  | "leak"
  | "read"
  | "lost"
  | "double"
  | "stray-write"
  | "gauge"
  | "immortal"
  | "forbidden"
  | "record"
  | "unsound"
  | "digest";

export class WatchedFrames implements FrameMemory {
  readonly bytes = new Uint8Array(CHUNKS * CHUNK);
  readonly #free: number[] = [];
  readonly #isOut = new Uint8Array(CHUNKS);
  readonly #clean: Uint8Array;

  constructor(poison: number) {
    this.#clean = new Uint8Array(CHUNK).fill(poison);
    this.bytes.fill(poison);
    for (let i = CHUNKS - 1; i >= 0; i--) this.#free.push(i);
  }

  alloc(): number {
    const chunk = this.#free.pop();
    if (chunk === undefined) return -1;
    const at = chunk * CHUNK;
    if (Buffer.compare(this.bytes.subarray(at, at + CHUNK), this.#clean) !== 0) {
      throw new Error("somebody wrote into a free frame");
    }
    this.#isOut[chunk] = 1;
    return at + HEADROOM;
  }

  free(at: number): void {
    const chunk = Math.floor(at / CHUNK);
    if (this.#isOut[chunk] !== 1) throw new Error("a frame was freed twice");
    this.#isOut[chunk] = 0;
    this.bytes.set(this.#clean, chunk * CHUNK);
    this.#free.push(chunk);
  }

  available(): number {
    return this.#free.length;
  }

  /** Frames that are out. */
  out(): number {
    return CHUNKS - this.#free.length;
  }
}

function viewOf(selfId: number): ClusterView {
  const other = 3 - selfId;
  const peers: (PeerAddress | undefined)[] = [];
  peers[other] = {
    nodeId: other,
    clusterIp: ip(`172.16.0.${other}`),
    clusterMac: mac(`02:00:00:00:0${other}:02`),
    zoneMac: [mac(`02:00:00:00:0${other}:00`), mac(`02:00:00:00:0${other}:01`), new Uint8Array(6)],
  };
  const view = standaloneView(SLOTS, selfId);
  for (let slot = 0; slot < SLOTS; slot++) view.home[slot] = slot % 2 === 0 ? 1 : 2;
  view.peerFlags[other] = PEER_ALIVE | PEER_ON_CLUSTER_LINK;
  return { ...view, clusterIp: ip(`172.16.0.${selfId}`), peers };
}

export interface Left {
  readonly port: number;
  readonly bytes: Uint8Array;
}

export class FuzzNode {
  readonly frames: WatchedFrames;
  readonly view: ClusterView;
  readonly table = new FlowTable(ROWS, TEST_KEY);
  readonly ring = new RecordRing(createRing(RECORD_BYTES, RECORDS));
  readonly ruleLog = new RecordRing(createRing(RULE_LOG_BYTES, 64));
  readonly counters = new Float64Array(COUNTER_CELLS);
  readonly engine: Engine;
  readonly left: Left[] = [];
  readonly proofs = new Proofs();
  nowMs = START_MS;
  /** Records of this node that the other has applied. */
  applied = 0;
  #received = 0;
  /** Record in hand, with another's bytes before and behind it. */
  readonly #record: Uint8Array;
  readonly #plant: Plant | undefined;

  constructor(selfId: number, policy: PolicyModel, poison: number, plant?: Plant) {
    this.#plant = plant;
    this.frames = new WatchedFrames(poison);
    this.#record = new Uint8Array(3 * RECORD_BYTES).fill(poison);
    this.view = viewOf(selfId);
    this.engine = new Engine({
      policy,
      view: this.view,
      frames: this.frames,
      output: { send: (port, at, length) => this.#send(port, at, length) },
      ports: [
        { mac: mac(`02:00:00:00:0${selfId}:00`), mtuBytes: 1400, zone: 0 },
        { mac: mac(`02:00:00:00:0${selfId}:01`), mtuBytes: 1500, zone: 1 },
        { mac: mac(`02:00:00:00:0${selfId}:02`), mtuBytes: 1600, zone: -1 },
      ],
      table: this.table,
      changes: this.ring,
      ruleLog: this.ruleLog,
      counters: this.counters,
      ruleHits: new Float64Array(policy.rules.length + 1),
      key: TEST_KEY,
      random: seededRandom(selfId),
      limits: {
        heldFramesMax: 48,
        freeFramesMin: 24,
        neighboursMax: 32,
        handoverHoldMs: 20,
        takeoverHoldMs: 60,
      },
    });
  }

  #send(port: number, at: number, length: number): boolean {
    if (this.#plant === "checksum" && this.#received % 50 === 49) this.frames.bytes[at + 25]! ^= 1;
    const extra = this.#plant === "leak" && this.#received % 50 === 49 ? 3 : 0;
    this.left.push({ port, bytes: this.frames.bytes.slice(at, at + length + extra) });
    this.frames.free(at);
    if (this.#plant === "double" && this.#received > 50) this.frames.free(at);
    return true;
  }

  receive(port: number, frame: Uint8Array): number {
    const at = this.frames.alloc();
    // What a port does when there is no frame: what arrives is lost.
    if (at < 0) return -1;
    this.frames.bytes.set(frame, at);
    this.#received++;
    if (this.#plant === "throw" && this.#received === 60) throw new RangeError("planted");
    const beyond = this.frames.bytes[at + frame.length]!;
    const verdict = this.engine.process(port, at, frame.length, this.nowMs);
    if (verdict === VERDICT_LOCAL) this.frames.free(at);
    if (this.#plant !== undefined && this.#received > 60) this.#sabotage(frame, at);
    return this.#plant === "read" && this.#received > 60 ? verdict ^ (beyond & 1) : verdict;
  }

  #sabotage(frame: Uint8Array, at: number): void {
    if (this.#plant === "lost") this.frames.alloc();
    if (this.#plant === "stray-write") this.frames.bytes[at] = this.frames.bytes[at]! ^ 0x5a;
    if (this.#plant === "gauge") this.counters[counterIndex("flowsTcpNow")]! += 1;
    if (this.#plant === "immortal") this.table.doubles[13] = 1e15;
    if (this.#plant === "forbidden") this.left.push({ port: 0, bytes: frame });
  }

  tick(ms: number): void {
    this.nowMs += ms;
    this.engine.setWallTime(Float64Array.of(WALL_MS + this.nowMs));
    this.engine.tick(this.nowMs);
    this.ruleLog.release(this.ruleLog.length());
  }

  count(name: ExtraCounter): number {
    return this.counters[counterIndex(name)]!;
  }

  /** Frames that wait in the engine, by its own account. */
  waiting(): number {
    let frames = 0;
    for (const cell of WAITING) frames += this.counters[cell]!;
    return frames;
  }

  /** Sets the state of all slots from who owns them and what state those of the other node have. */
  own(epoch: number, owner: (slot: number) => number, foreign: number): void {
    const { view } = this;
    const gained: number[] = [];
    view.epoch = epoch;
    for (let slot = 0; slot < SLOTS; slot++) {
      const next = owner(slot);
      const isOurs = next === view.selfId;
      const was = view.state[slot] === SLOT_OWNED && view.owner[slot] === view.selfId;
      view.owner[slot] = next;
      view.backup[slot] = 3 - next;
      view.state[slot] = isOurs ? SLOT_OWNED : foreign;
      if (isOurs && !was) {
        view.gainedEpoch[slot] = epoch;
        gained.push(slot);
      }
    }
    this.engine.slotsChanged(this.nowMs);
    this.engine.announceSlots(gained.slice(0, 4));
  }

  /** The records under way to the other node, oldest first; they are lost unless somebody applies them. */
  takeRecords(): Uint8Array[] {
    const { ring } = this;
    const records = Array.from({ length: ring.length() }, (_, i) =>
      Uint8Array.from(ring.bytes.subarray(ring.at(i), ring.at(i) + RECORD_BYTES)),
    );
    ring.release(records.length);
    if (this.#plant === "unsound") for (const record of records) record[RECORD_OPAQUE_AT] = 0;
    if (this.#plant === "record") for (const record of records) record[RECORD_BYTES - 1] = this.#record[0]!;
    return records;
  }

  /** Applies what came of `sent` records of the other node, and acknowledges those. */
  replicate(other: FuzzNode, sent: number, records: readonly Uint8Array[]): void {
    const b = this.#record;
    for (const record of records) {
      b.set(record, RECORD_BYTES);
      if (this.#plant === "digest" && record[RECORD_OP_AT] === OP_UPSERT) continue;
      this.proofs.heard(record, this.engine.applyReplica(b, RECORD_BYTES, this.nowMs));
    }
    other.applied += sent;
    other.view.ackedSequence[this.view.selfId] = other.applied;
    other.engine.acknowledged(other.nowMs);
  }
}
