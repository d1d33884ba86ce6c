/**
 * Single world: the real engine as the only node of a cluster, without wires, threads or a clock of its own. Packets and time
 * are handed in, what leaves is handed back, and every neighbour that the engine asks for is there. Replay, trace and policy
 * tests run in it. Owns frame memory, the made-up link layer and which rule decided; nothing of what becomes of a packet.
 */
import type { Address } from "../../base/address.ts";
import { assert } from "../../base/assert.ts";
import { seededRandom } from "../../base/env.ts";
import type { HashKey } from "../../base/hash.ts";
import { createRing, RecordRing } from "../../base/ring.ts";
import { standaloneView } from "../../dataplane/cluster-view.ts";
import { COUNTER_CELLS } from "../../dataplane/counters.ts";
import { Engine } from "../../dataplane/engine.ts";
import { FlowReader } from "../../dataplane/flow-reader.ts";
import { FlowTable } from "../../dataplane/flow-table.ts";
import type { EnginePort, FrameMemory } from "../../dataplane/frame-memory.ts";
import type { PolicyModel } from "../../dataplane/policy-model.ts";
import { type LoggedPacket, RULE_LOG_BYTES, RuleLogReader } from "../../dataplane/rule-log.ts";
import { VERDICT_ANSWERED, VERDICT_FORWARDED, VERDICT_HELD, VERDICT_LOCAL } from "../../dataplane/verdict.ts";
import { virtualMac } from "../../dataplane/virtual-mac.ts";
import { setU16 } from "../../packet/bytes.ts";
import { answerFor, askedAddress, isHousekeeping } from "./neighbour-answers.ts";

const ETHERNET_BYTES = 14;
const ETHER_IPV4 = 0x0800;
const ETHER_IPV6 = 0x86dd;
/** Room for any IP packet: captures on hosts hold packets that the card would have cut. */
const CHUNK_BYTES = 66_560;
const HEADROOM_BYTES = 512;
const CHUNKS = 128;
const CLUSTER_MTU_BYTES = 65_535;
const RULE_LOG_RECORDS = 256;
const LIMITS = {
  heldFramesMax: 64,
  freeFramesMin: 8,
  neighboursMax: 4096,
  ruleLogsPerSecond: 1e9,
};

export interface SingleWorldOptions {
  readonly policy: PolicyModel;
  readonly slots: number;
  readonly key: HashKey;
  readonly flowsMax: number;
  readonly mtuBytes: number;
}

export interface LeavingFrame {
  readonly port: number;
  readonly frame: Uint8Array;
}

/** What became of one packet. */
export interface Outcome {
  readonly verdict: number;
  /** The decision of the rules, when they were asked and one of them matched. */
  readonly decision: LoggedPacket | undefined;
  /** What left because of it, without the engine's housekeeping. */
  readonly sent: readonly LeavingFrame[];
  /** Who was asked for a MAC on the way: next hops that were not known. */
  readonly asked: readonly { readonly port: number; readonly address: Address }[];
}

export class SingleWorld {
  readonly policy: PolicyModel;
  readonly counters = new Float64Array(COUNTER_CELLS);
  readonly ruleHits: Float64Array;
  readonly flows: FlowReader;
  /** The same, for tests that look at what the trackers know. */
  readonly table: FlowTable;
  readonly #engine: Engine;
  readonly #frames = new ChunkMemory();
  readonly #ports: readonly EnginePort[];
  readonly #log: RuleLogReader;
  #sent: LeavingFrame[] = [];
  #asked: { port: number; address: Address }[] = [];
  #questions: LeavingFrame[] = [];
  #nowMs = 0;

  constructor(options: SingleWorldOptions) {
    const { policy, slots, key, flowsMax, mtuBytes } = options;
    // Each rule's decision is told, so that nobody has to look for the one that matched.
    this.policy = { ...policy, rules: policy.rules.map((rule) => ({ ...rule, log: true })) };
    this.#ports = portsOf(policy, mtuBytes);
    this.ruleHits = new Float64Array(policy.rules.length + 1);
    this.table = new FlowTable(flowsMax, key);
    this.flows = new FlowReader(this.table.buffer);
    const ruleLog = new RecordRing(createRing(RULE_LOG_BYTES, RULE_LOG_RECORDS));
    this.#log = new RuleLogReader(ruleLog);
    this.#engine = new Engine({
      policy: this.policy,
      view: standaloneView(slots),
      frames: this.#frames,
      output: { send: (port, at, lengthBytes) => this.#send(port, at, lengthBytes) },
      ports: this.#ports,
      table: this.table,
      changes: null,
      ruleLog,
      counters: this.counters,
      ruleHits: this.ruleHits,
      key,
      random: seededRandom(1),
      limits: LIMITS,
    });
  }

  /** The time of the world: that of the latest packet. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** First port of a zone. */
  portOf(zone: number): number {
    return this.#ports.findIndex((port) => port.zone === zone);
  }

  /** Moves time on, never back: time-outs and what the engine does by itself. Answers what left. */
  tick(nowMs: number): readonly LeavingFrame[] {
    if (nowMs <= this.#nowMs) return [];
    this.#nowMs = nowMs;
    this.#begin();
    this.#engine.tick(nowMs);
    this.#answer();
    return this.#sent;
  }

  /**
   * Takes an IP packet (at most 65,535 bytes) that enters through a port. `isGroup`: it came in a broadcast or multicast
   * frame.
   */
  process(port: number, packet: Uint8Array, isGroup = false): Outcome {
    const at = this.#frames.alloc();
    assert(at >= 0, "the world ran out of frames");
    const { bytes } = this.#frames;
    const isIpv6 = packet.length > 0 && packet[0]! >>> 4 === 6;
    if (isGroup) bytes.fill(0xff, at, at + 6);
    else virtualMac(this.#ports[port]!.zone, 0, bytes, at);
    writeSourceMac(bytes, at + 6, packet);
    setU16(bytes, at + 12, isIpv6 ? ETHER_IPV6 : ETHER_IPV4);
    bytes.set(packet, at + ETHERNET_BYTES);
    this.#begin();
    const verdict = this.#receive(port, at, ETHERNET_BYTES + packet.length);
    this.#answer();
    const decision = this.#log.take(RULE_LOG_RECORDS)[0];
    const [left] = this.#sent;
    return {
      // It waited for a neighbour, which answered.
      verdict: verdict !== VERDICT_HELD || left === undefined ? verdict : verdictOf(packet, left.frame),
      decision,
      sent: this.#sent,
      asked: this.#asked,
    };
  }

  #begin(): void {
    this.#sent = [];
    this.#asked = [];
    this.#log.take(RULE_LOG_RECORDS);
  }

  #receive(port: number, at: number, lengthBytes: number): number {
    const verdict = this.#engine.process(port, at, lengthBytes, this.#nowMs);
    if (verdict === VERDICT_LOCAL) this.#frames.free(at);
    return verdict;
  }

  /** Neighbours answer, until nobody is asked any more. */
  #answer(): void {
    for (let question = this.#questions.shift(); question !== undefined; question = this.#questions.shift()) {
      const answer = answerFor(question.frame);
      const at = this.#frames.alloc();
      assert(at >= 0, "the world ran out of frames");
      this.#frames.bytes.set(answer, at);
      this.#receive(question.port, at, answer.length);
    }
  }

  #send(port: number, at: number, lengthBytes: number): boolean {
    const frame = this.#frames.bytes.slice(at, at + lengthBytes);
    this.#frames.free(at);
    if (!isHousekeeping(frame)) {
      this.#sent.push({ port, frame });
      return true;
    }
    const address = askedAddress(frame);
    if (address !== undefined) {
      this.#asked.push({ port, address });
      this.#questions.push({ port, frame });
    }
    return true;
  }
}

/** What became of a packet because of which a frame left: an answer goes back to its source. */
function verdictOf(packet: Uint8Array, frame: Uint8Array): number {
  const isIpv6 = packet[0]! >>> 4 === 6;
  const lengthBytes = isIpv6 ? 16 : 4;
  const from = isIpv6 ? 8 : 12;
  const to = ETHERNET_BYTES + (isIpv6 ? 24 : 16);
  for (let i = 0; i < lengthBytes; i++) {
    if (packet[from + i] !== frame[to + i]) return VERDICT_FORWARDED;
  }
  return VERDICT_ANSWERED;
}

/** Zones' ports by their index; what no zone has is the cluster link. */
function portsOf(policy: PolicyModel, mtuBytes: number): EnginePort[] {
  const count = Math.max(0, ...policy.zones.flatMap((zone) => zone.ports.map((port) => port + 1)));
  return Array.from({ length: count }, (_, index): EnginePort => {
    const zone = policy.zones.find(({ ports }) => ports.includes(index))?.id ?? -1;
    return {
      mac: Uint8Array.of(0x02, 0x53, 0x57, 0xff, index >> 8, index & 0xff),
      mtuBytes: zone < 0 ? CLUSTER_MTU_BYTES : mtuBytes,
      zone,
    };
  });
}

/** A host's MAC, made of its address. */
function writeSourceMac(bytes: Uint8Array, at: number, packet: Uint8Array): void {
  const addressAt = packet.length >= 24 && packet[0]! >>> 4 === 6 ? 20 : 12;
  bytes[at] = 0x02;
  bytes[at + 1] = 0x4e;
  for (let i = 0; i < 4; i++) bytes[at + 2 + i] = packet[addressAt + i] ?? 0;
}

/** Frames in ordinary memory, with room for what is larger than any card's. */
class ChunkMemory implements FrameMemory {
  readonly bytes = new Uint8Array(CHUNKS * CHUNK_BYTES);
  readonly #free: number[] = Array.from({ length: CHUNKS }, (_, chunk) => chunk);

  alloc(): number {
    const chunk = this.#free.pop();
    return chunk === undefined ? -1 : chunk * CHUNK_BYTES + HEADROOM_BYTES;
  }

  free(at: number): void {
    this.#free.push(Math.floor(at / CHUNK_BYTES));
  }

  available(): number {
    return this.#free.length;
  }
}
