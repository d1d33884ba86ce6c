/** Bed: an engine with frames of its own and a policy, and the packets of as many flows as wanted; for benches. Measures nothing. */
import { seededRandom } from "../../src/base/env.ts";
import { hashKeyFrom } from "../../src/base/hash.ts";
import { RECORD_BYTES } from "../../src/base/record.ts";
import { createRing, RecordRing } from "../../src/base/ring.ts";
import { SLOT_OWNED, standaloneView } from "../../src/dataplane/cluster-view.ts";
import { COUNTER_CELLS } from "../../src/dataplane/counters.ts";
import { Engine } from "../../src/dataplane/engine.ts";
import { FlowTable } from "../../src/dataplane/flow-table.ts";
import type { PolicyModel, RuleModel } from "../../src/dataplane/policy-model.ts";
import { virtualMac } from "../../src/dataplane/virtual-mac.ts";
import { ARP_REQUEST, ARP_SENDER_MAC, writeArp } from "../../src/packet/arp.ts";
import { setI32, setU16 } from "../../src/packet/bytes.ts";
import { ETHER_ARP, ETHER_IPV4, setEtherType } from "../../src/packet/ethernet.ts";
import { PROTOCOL_UDP, writeHeader } from "../../src/packet/ipv4.ts";
import * as udp from "../../src/packet/udp.ts";

export const CHUNK = 2048;
const CHUNKS = 1024;
export const FRAME = 60;
export const FLOWS_MAX = 1 << 20;
const ip = (a: number, b: number, c: number, d: number): number =>
  ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
const SERVER = ip(198, 51, 100, 100);
/** Of flows and slots. */
export const KEY_BYTES = Uint8Array.from({ length: 32 }, (_, i) => i * 11);
const key = hashKeyFrom(KEY_BYTES);

function rule(id: number, part: Partial<RuleModel>): RuleModel {
  return {
    id,
    name: `rule-${id}`,
    fromZone: 0,
    toZone: 1,
    sources: [],
    destinations: [],
    protocol: PROTOCOL_UDP,
    sourcePorts: [],
    destinationPorts: [],
    icmpType: -1,
    icmpCode: -1,
    action: 1,
    commit: 2,
    log: false,
    ...part,
  } as RuleModel;
}

/** `count` rules of which the last lets the bench's packets through: the others differ in destination and port. */
export function policy(count: number): PolicyModel {
  const rules = Array.from({ length: count - 1 }, (_, i) =>
    rule(i, {
      destinations: [{ address: ip(203, 0, (i >> 8) & 255, i & 255), bits: 32 }],
      destinationPorts: [{ from: 1000 + (i % 5000), to: 1000 + (i % 5000) }],
    }),
  );
  rules.push(rule(count - 1, {}));
  return {
    zones: [
      {
        id: 0,
        name: "inside",
        trust: 100,
        gateway: ip(10, 0, 0, 1),
        prefix: { address: ip(10, 0, 0, 0), bits: 8 },
        ports: [0],
      },
      {
        id: 1,
        name: "outside",
        trust: 0,
        gateway: ip(198, 51, 100, 1),
        prefix: { address: ip(198, 51, 100, 0), bits: 24 },
        ports: [1],
      },
    ],
    routes: [],
    snat: [{ fromZone: 0, toZone: 1, sources: [], pool: [ip(198, 51, 100, 10), ip(198, 51, 100, 11)] }],
    dnat: [],
    rules,
    affinity: "source",
    timeoutsMs: {
      tcpSynSent: 1e4,
      tcpSynReceived: 1e4,
      tcpEstablished: 1e7,
      tcpFinWait: 1e4,
      tcpCloseWait: 1e4,
      tcpLastAck: 1e4,
      tcpTimeWait: 1e4,
      tcpClose: 1e4,
      udpUnreplied: 1e9,
      udpReplied: 1e9,
      icmp: 1e4,
      other: 1e4,
    },
    syncDeadlineMs: 5,
    answered: [
      { zone: 1, address: ip(198, 51, 100, 10) },
      { zone: 1, address: ip(198, 51, 100, 11) },
    ],
  };
}

/** An engine with frame memory of its own, whose sent frames are free at once. */
export class Bed {
  readonly bytes = new Uint8Array(CHUNKS * CHUNK);
  readonly #free = new Int32Array(CHUNKS);
  #count = 0;
  readonly engine: Engine;
  readonly ring = new RecordRing(createRing(RECORD_BYTES, 65_536));

  constructor(rules: number, isReplicating: boolean, state = SLOT_OWNED) {
    for (let i = 0; i < CHUNKS; i++) this.free(i * CHUNK);
    const view = standaloneView(64);
    if (isReplicating) view.backup.fill(2, 0, 64);
    view.state.fill(state);
    this.engine = new Engine({
      policy: policy(rules),
      view,
      frames: this as never,
      output: this as never,
      ports: [0, 1].map((zone) => ({ mac: Uint8Array.of(2, 0, 0, 0, 0, zone), mtuBytes: 1500, zone })),
      table: new FlowTable(FLOWS_MAX, key),
      changes: this.ring,
      counters: new Float64Array(COUNTER_CELLS),
      ruleHits: new Float64Array(rules + 1),
      key,
      random: seededRandom(7),
    });
    this.#teach();
  }

  alloc(): number {
    return this.#count === 0 ? -1 : this.#free[--this.#count]! + 256;
  }

  free(at: number): void {
    this.#free[this.#count++] = at & ~(CHUNK - 1);
  }

  available(): number {
    return this.#count;
  }

  send(_port: number, at: number): boolean {
    this.free(at);
    return true;
  }

  push(port: number, image: Uint8Array, from: number): number {
    const at = this.alloc();
    for (let i = 0; i < FRAME; i++) this.bytes[at + i] = image[from + i]!;
    return this.engine.process(port, at, FRAME, 1000);
  }

  #teach(): void {
    const frame = new Uint8Array(FRAME).fill(0xff, 0, 6);
    frame.set([2, 9, 9, 9, 9, 9], 6);
    setEtherType(frame, 0, ETHER_ARP);
    writeArp(frame, 14, ARP_REQUEST, SERVER | 0, ip(198, 51, 100, 1) | 0);
    frame.set([2, 9, 9, 9, 9, 9], 14 + ARP_SENDER_MAC);
    this.push(1, frame, 0);
  }
}

/** `count` frames of distinct flows, from 10.x hosts to the server. */
export function images(count: number): Uint8Array {
  const all = new Uint8Array(count * FRAME);
  for (let i = 0; i < count; i++) {
    const at = i * FRAME;
    virtualMac(0, 0, all, at);
    all.set([2, 1, 1, 1, 1, 1], at + 6);
    setEtherType(all, at, ETHER_IPV4);
    writeHeader(
      all,
      at + 14,
      46,
      64,
      PROTOCOL_UDP,
      ip(10, 1 + (i >> 15), (i >> 7) & 255, 1 + (i & 127)) | 0,
      SERVER | 0,
    );
    udp.writeHeader(all, at + 34, 1024 + (i % 60_000), 9 + (i >> 15), 26);
    setU16(all, at + 40, 0x1234);
    setI32(all, at + 42, i);
  }
  return all;
}
