/**
 * A world of one engine for tests: frame memory, captured output, a policy like the lab's, hosts that answer ARP.
 */

import { seededRandom } from "../../../src/base/env.ts";
import { hashKeyFrom } from "../../../src/base/hash.ts";
import { RECORD_BYTES } from "../../../src/base/record.ts";
import { createRing, RecordRing } from "../../../src/base/ring.ts";
import { type ClusterView, MAX_NODE_ID, standaloneView } from "../../../src/dataplane/cluster-view.ts";
import { COUNTER_CELLS, counterIndex, type ExtraCounter } from "../../../src/dataplane/counters.ts";
import { Engine } from "../../../src/dataplane/engine.ts";
import type { EngineLimits } from "../../../src/dataplane/engine-options.ts";
import { FlowTable } from "../../../src/dataplane/flow-table.ts";
import type { EnginePort, FrameMemory } from "../../../src/dataplane/frame-memory.ts";
import type { PolicyModel, Prefix, RuleModel } from "../../../src/dataplane/policy-model.ts";
import { REDIRECT_COUNT_CELLS } from "../../../src/dataplane/redirect.ts";
import type { RedirectSeal } from "../../../src/dataplane/redirect-seal.ts";
import { RULE_LOG_BYTES } from "../../../src/dataplane/rule-log.ts";
import { verdictName } from "../../../src/dataplane/verdict.ts";
import { virtualMac } from "../../../src/dataplane/virtual-mac.ts";
import { advertisement, arp, ethernet, ip, ip6, mac, macText, see, seeIp, words } from "./frames.ts";

export const INSIDE = 0;
export const OUTSIDE = 1;
export const PORT_INSIDE = 0;
export const PORT_OUTSIDE = 1;
export const PORT_CLUSTER = 2;
/** The inside zone's second port, under policies of twoLans(). */
export const LAN_B = 3;

export const TEST_KEY = hashKeyFrom(Uint8Array.from({ length: 32 }, (_, i) => i * 7 + 1));

/** "10.0.0.0/8" or "2001:db8::/32" to a prefix. */
export function prefix(text: string): Prefix {
  const [address, bits] = text.split("/");
  return { address: address!.includes(":") ? ip6(address!) : ip(address!), bits: Number(bits) };
}

export function rule(id: number, part: Partial<RuleModel>): RuleModel {
  return {
    id,
    name: `rule-${id}`,
    fromZone: -1,
    toZone: -1,
    sources: [],
    destinations: [],
    protocol: -1,
    sourcePorts: [],
    destinationPorts: [],
    icmpType: -1,
    icmpCode: -1,
    action: 1,
    commit: 0,
    log: false,
    ...part,
  };
}

export const TIMEOUTS = {
  tcpSynSent: 20_000,
  tcpSynReceived: 10_000,
  tcpEstablished: 7_200_000,
  tcpFinWait: 60_000,
  tcpCloseWait: 60_000,
  tcpLastAck: 30_000,
  tcpTimeWait: 30_000,
  tcpClose: 5_000,
  udpUnreplied: 10_000,
  udpReplied: 30_000,
  icmp: 10_000,
  other: 30_000,
};

/** The lab: inside may go out through SNAT, port 8080 of the pool leads to the web server. */
export const LAB_POLICY: PolicyModel = {
  zones: [
    {
      id: INSIDE,
      name: "inside",
      trust: 100,
      gateway: ip("10.10.0.1"),
      prefix: prefix("10.10.0.0/24"),
      ports: [0],
    },
    {
      id: OUTSIDE,
      name: "outside",
      trust: 0,
      gateway: ip("198.51.100.1"),
      prefix: prefix("198.51.100.0/24"),
      ports: [1],
    },
  ],
  routes: [{ to: prefix("0.0.0.0/0"), zone: OUTSIDE, via: ip("198.51.100.254") }],
  snat: [
    { fromZone: INSIDE, toZone: OUTSIDE, sources: [], pool: [ip("198.51.100.10"), ip("198.51.100.11")] },
  ],
  dnat: [
    {
      zone: OUTSIDE,
      address: ip("198.51.100.10"),
      protocol: 6,
      ports: { from: 8080, to: 8080 },
      to: ip("10.10.0.250"),
      toPort: 80,
    },
  ],
  rules: [
    rule(0, { fromZone: INSIDE, toZone: OUTSIDE }),
    rule(1, {
      fromZone: OUTSIDE,
      toZone: INSIDE,
      protocol: 6,
      destinations: [prefix("10.10.0.250/32")],
      destinationPorts: [{ from: 80, to: 80 }],
    }),
  ],
  affinity: "source",
  timeoutsMs: TIMEOUTS,
  syncDeadlineMs: 5,
  answered: [
    { zone: OUTSIDE, address: ip("198.51.100.10") },
    { zone: OUTSIDE, address: ip("198.51.100.11") },
  ],
};

/** The same policy with a second interface of the inside zone. */
export function twoLans(policy: PolicyModel): PolicyModel {
  const zones = policy.zones.map((zone) => (zone.id === INSIDE ? { ...zone, ports: [0, LAN_B] } : zone));
  return { ...policy, zones };
}

export const CHUNK = 2048;
export const HEADROOM = 256;

/** Frame memory that notices frames freed twice or lost. */
export class TestFrames implements FrameMemory {
  readonly bytes: Uint8Array;
  readonly #free: number[] = [];
  readonly #isOut: Uint8Array;

  constructor(chunks: number) {
    this.bytes = new Uint8Array(chunks * CHUNK);
    this.#isOut = new Uint8Array(chunks);
    for (let i = chunks - 1; i >= 0; i--) this.#free.push(i);
  }

  alloc(): number {
    const chunk = this.#free.pop();
    if (chunk === undefined) return -1;
    this.#isOut[chunk] = 1;
    return chunk * CHUNK + HEADROOM;
  }

  free(at: number): void {
    const chunk = Math.floor(at / CHUNK);
    if (this.#isOut[chunk] !== 1) throw new Error(`frame ${at} freed twice`);
    this.#isOut[chunk] = 0;
    this.#free.push(chunk);
  }

  available(): number {
    return this.#free.length;
  }
}

export interface Sent {
  readonly port: number;
  readonly frame: Uint8Array;
}

export interface WorldOptions {
  readonly policy?: PolicyModel;
  readonly view?: ClusterView;
  readonly capacity?: number;
  readonly ringRecords?: number;
  /** Records that the rule log takes; none unless given. */
  readonly ruleLogRecords?: number;
  readonly chunks?: number;
  readonly seed?: number;
  readonly limits?: Partial<EngineLimits>;
  /** The clock that the engine reads by itself; default: the time of the call. */
  readonly clock?: () => number;
  /** Hosts answer ARP at once; default true. */
  readonly answersArp?: boolean;
  /** Hosts that do not: what asks for them is among the frames sent. */
  readonly silent?: readonly string[];
  readonly ports?: readonly EnginePort[];
  readonly table?: FlowTable;
  readonly seal?: RedirectSeal;
  /** Where the use of pool addresses is told. */
  readonly natUsage?: SharedArrayBuffer;
}

/** The lab with IPv6 beside IPv4, routed without NAT. */
export const DUAL_POLICY: PolicyModel = {
  ...LAB_POLICY,
  zones: LAB_POLICY.zones.map((zone) => ({
    ...zone,
    ipv6: {
      gateway: ip6(zone.id === INSIDE ? "2001:db8:10::1" : "2001:db8:f::1"),
      prefix: prefix(zone.id === INSIDE ? "2001:db8:10::/64" : "2001:db8:f::/64"),
      linkLocal: ip6("fe80::1"),
    },
  })),
  routes: [...LAB_POLICY.routes, { to: prefix("::/0"), zone: OUTSIDE, via: ip6("2001:db8:f::fe") }],
};

/** The MAC of a host, from its address. */
export function hostMac(address: string): Uint8Array {
  if (address.includes(":"))
    return Uint8Array.of(0x02, 0xa6, ...new Uint8Array(words(address).buffer).slice(12));
  return Uint8Array.from([0x02, 0xaa, ...address.split(".").map(Number)]);
}

/** Whether an ARP request or a neighbour solicitation asks for a host. */
function isAskedFor(frame: Uint8Array, host: string): boolean {
  const { arp: request, ip: packet } = see(frame);
  if (request !== undefined || !host.includes(":")) return request?.target === host;
  const target = packet!.body.subarray(8, 24);
  const view = new DataView(target.buffer, target.byteOffset);
  return words(host).every((word, i) => view.getInt32(i * 4) === word);
}

export class World {
  nowMs = 1_000_000;
  readonly frames: TestFrames;
  readonly view: ClusterView;
  readonly policy: PolicyModel;
  readonly table: FlowTable;
  readonly ring: RecordRing | null;
  readonly ruleLog: RecordRing | undefined;
  readonly counters = new Float64Array(COUNTER_CELLS);
  readonly ruleHits: Float64Array;
  readonly redirectCounts = new Float64Array(REDIRECT_COUNT_CELLS);
  readonly engine: Engine;
  readonly ports: readonly EnginePort[];
  readonly sent: Sent[] = [];
  readonly #answersArp: boolean;
  readonly #silent: readonly string[];

  constructor(options: WorldOptions = {}) {
    this.policy = options.policy ?? LAB_POLICY;
    this.view = options.view ?? standaloneView(64);
    this.frames = new TestFrames(options.chunks ?? 256);
    this.table = options.table ?? new FlowTable(options.capacity ?? 1024, TEST_KEY);
    this.ring =
      options.ringRecords === undefined
        ? null
        : new RecordRing(createRing(RECORD_BYTES, options.ringRecords));
    this.ruleLog =
      options.ruleLogRecords === undefined
        ? undefined
        : new RecordRing(createRing(RULE_LOG_BYTES, options.ruleLogRecords));
    this.ruleHits = new Float64Array(this.policy.rules.length + 1);
    this.#answersArp = options.answersArp ?? true;
    this.#silent = options.silent ?? [];
    const self = this.view.selfId;
    const hasLanB = this.policy.zones.some(({ ports }) => ports.includes(LAN_B));
    this.ports = options.ports ?? [
      { mac: mac(`02:00:00:00:0${self}:00`), mtuBytes: 1500, zone: INSIDE },
      { mac: mac(`02:00:00:00:0${self}:01`), mtuBytes: 1500, zone: OUTSIDE },
      { mac: mac(`02:00:00:00:0${self}:02`), mtuBytes: 1600, zone: -1 },
      ...(hasLanB ? [{ mac: mac(`02:00:00:00:0${self}:03`), mtuBytes: 1500, zone: INSIDE }] : []),
    ];
    this.engine = new Engine({
      policy: this.policy,
      view: this.view,
      frames: this.frames,
      output: { send: (port, at, lengthBytes) => this.#send(port, at, lengthBytes) },
      ports: this.ports,
      table: this.table,
      changes: this.ring,
      ...(this.ruleLog === undefined ? {} : { ruleLog: this.ruleLog }),
      counters: this.counters,
      ruleHits: this.ruleHits,
      key: TEST_KEY,
      random: seededRandom(options.seed ?? 1),
      ...(options.seal === undefined ? {} : { seal: options.seal }),
      redirectCounts: this.redirectCounts,
      ...(options.natUsage === undefined ? {} : { natUsage: options.natUsage }),
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      ...(options.clock === undefined ? {} : { nowMs: options.clock }),
    });
  }

  #pendingArp: Sent[] = [];

  #send(port: number, at: number, lengthBytes: number): boolean {
    const frame = this.frames.bytes.slice(at, at + lengthBytes);
    this.frames.free(at);
    const seen = see(frame);
    const isAsking = seen.arp?.op === 1 && seen.arp.sender === "0.0.0.0";
    const isQuestion = isAsking || seen.ip?.icmpType === 135;
    if (this.#answersArp && isQuestion && !this.#silent.some((host) => isAskedFor(frame, host))) {
      this.#pendingArp.push({ port, frame });
    } else {
      this.sent.push({ port, frame });
    }
    return true;
  }

  /** Puts a whole frame into the engine. */
  receive(port: number, frame: Uint8Array): number {
    const at = this.frames.alloc();
    if (at < 0) throw new Error("the test ran out of frames");
    this.frames.bytes.set(frame, at);
    const verdict = this.engine.process(port, at, frame.length, this.nowMs);
    if (verdict === 5) this.frames.free(at);
    this.answerArp();
    return verdict;
  }

  /** Hosts answer what was asked. */
  answerArp(): void {
    while (this.#pendingArp.length > 0) {
      const { port, frame } = this.#pendingArp.shift()!;
      if (see(frame).type === 0x86dd) {
        this.receive(port, advertisement(frame));
        continue;
      }
      const asked = see(frame).arp!;
      const host = hostMac(asked.target);
      const reply = arp({
        op: 2,
        senderMac: host,
        sender: asked.target,
        targetMac: mac(asked.senderMac),
        target: asked.sender,
      });
      this.receive(port, ethernet(mac(asked.senderMac), host, 0x0806, reply));
    }
  }

  /** Puts an IP packet into the engine, as a host with the packet's source address (or `by`) would send it. */
  packet(port: number, payload: Uint8Array, by?: string): number {
    const to = new Uint8Array(6);
    virtualMac(this.ports[port]!.zone, 0, to);
    const type = payload.length >= 40 && payload[0]! >> 4 === 6 ? 0x86dd : 0x0800;
    return this.receive(port, ethernet(to, hostMac(by ?? seeIp(payload).from), type, payload));
  }

  /** All frames sent since the last call. */
  take(): Sent[] {
    return this.sent.splice(0);
  }

  /** The one frame sent since the last call. */
  takeOne(): Sent {
    const all = this.take();
    if (all.length !== 1) throw new Error(`expected one frame, got ${all.length}`);
    return all[0]!;
  }

  count(name: ExtraCounter): number {
    return this.counters[counterIndex(name)]!;
  }

  tick(ms = 1): void {
    this.nowMs += ms;
    this.engine.tick(this.nowMs);
    this.answerArp();
  }

  /** Frames that are neither free nor waiting in the engine. */
  lost(): number {
    return (
      this.frames.bytes.length / CHUNK -
      this.frames.available() -
      this.count("holdNow") -
      this.count("heldNow") -
      this.count("heldForNeighbourNow") -
      this.count("fragmentFramesNow")
    );
  }
}

export { MAX_NODE_ID, macText, verdictName };
