/** What bench/engine.bench.ts runs, in a process of its own. Every packet is copied into a frame first, as a driver would deliver it. */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { seededRandom } from "../../src/base/env.ts";
import { hashKeyFrom } from "../../src/base/hash.ts";
import { RECORD_BYTES } from "../../src/base/record.ts";
import { createRing, RecordRing } from "../../src/base/ring.ts";
import { SLOT_OWNED, SLOT_REMOTE, standaloneView } from "../../src/dataplane/cluster-view.ts";
import { COUNTER_CELLS } from "../../src/dataplane/counters.ts";
import { Engine } from "../../src/dataplane/engine.ts";
import { FlowTable, flowTableBytes } from "../../src/dataplane/flow-table.ts";
import type { PolicyModel, RuleModel } from "../../src/dataplane/policy-model.ts";
import { virtualMac } from "../../src/dataplane/virtual-mac.ts";
import { ARP_REQUEST, ARP_SENDER_MAC, writeArp } from "../../src/packet/arp.ts";
import { setI32, setU16 } from "../../src/packet/bytes.ts";
import { ETHER_ARP, ETHER_IPV4, setEtherType } from "../../src/packet/ethernet.ts";
import { PROTOCOL_UDP, writeHeader } from "../../src/packet/ipv4.ts";
import * as udp from "../../src/packet/udp.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "7" },
    packets: { type: "string", default: "1000000" },
    smoke: { type: "boolean", default: false },
  },
});
const runs = values.smoke ? 1 : Number(values.runs);
const packets = values.smoke ? 20_000 : Number(values.packets);

const CHUNK = 2048;
const CHUNKS = 1024;
const FRAME = 60;
const FLOWS_MAX = 1 << 20;
const ip = (a: number, b: number, c: number, d: number): number =>
  ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
const SERVER = ip(198, 51, 100, 100);
const key = hashKeyFrom(Uint8Array.from({ length: 32 }, (_, i) => i * 11));

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
function policy(count: number): PolicyModel {
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
class Bed {
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
function images(count: number): Uint8Array {
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

interface Case {
  readonly name: string;
  run(): number;
}

/** Packets a second of established flows. */
function established(flows: number): Case {
  const bed = new Bed(100, true);
  const all = images(flows);
  for (let i = 0; i < flows; i++) bed.push(0, all, i * FRAME);
  bed.ring.release(bed.ring.length());
  return {
    name: `established UDP + SNAT, flows: ${flows.toLocaleString("en")}`,
    run: () => measure(packets, (i) => bed.push(0, all, (i % flows) * FRAME)),
  };
}

/** New flows a second; each run has a fresh table. */
function creating(rules: number, isReplicating: boolean): Case {
  const flows = Math.min(packets, 200_000);
  const all = images(flows);
  return {
    name: `new flows + SNAT, ${rules.toLocaleString("en")} rules${isReplicating ? ", records written" : ""}`,
    run: () => {
      const bed = new Bed(rules, isReplicating);
      return measure(flows, (i) => {
        if ((i & 4095) === 0) {
          bed.ring.release(bed.ring.length());
          bed.engine.tick(1000);
        }
        return bed.push(0, all, i * FRAME);
      });
    },
  };
}

function measure(count: number, step: (i: number) => number): number {
  let verdicts = 0;
  const started = process.hrtime.bigint();
  for (let i = 0; i < count; i++) verdicts += step(i);
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  // The checksum of the run: every packet was forwarded (verdict 0), every record applied (status 0).
  if (verdicts !== 0) throw new Error("not all packets were forwarded, or not all records applied");
  return count / seconds;
}

/** Records applied a second at a backup that knows none of the flows. */
function applying(): Case {
  const flows = Math.min(packets, 60_000);
  const all = images(flows);
  const owner = new Bed(1, true);
  for (let i = 0; i < flows; i++) owner.push(0, all, i * FRAME);
  return {
    name: "records of new flows applied at the backup",
    run: () => {
      const backup = new Bed(1, true, SLOT_REMOTE);
      return measure(flows, (i) => backup.engine.applyReplica(owner.ring.bytes, owner.ring.at(i), 1000));
    },
  };
}

const copying: Case = {
  name: "copy alone",
  run: () => {
    const all = images(1024);
    const target = new Uint8Array(CHUNK * 64);
    const started = process.hrtime.bigint();
    let sum = 0;
    for (let i = 0; i < packets; i++) {
      const at = (i & 63) * CHUNK;
      for (let j = 0; j < FRAME; j++) target[at + j] = all[(i & 1023) * FRAME + j]!;
      sum += target[at + 50]!;
    }
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    if (sum < 0) throw new Error("unreachable");
    return packets / seconds;
  },
};

const cases = [
  established(1),
  established(1000),
  established(values.smoke ? 4096 : 1_000_000),
  creating(100, true),
  creating(100, false),
  creating(10_000, false),
  applying(),
  copying,
];
for (const { run } of cases) run();
const rates = cases.map((): number[] => []);
for (let i = 0; i < runs; i++) {
  for (const [n, { run }] of cases.entries()) rates[n]!.push(run());
}
console.log(
  `engine: ${cpus()[0]?.model}, Node.js ${process.version}, ${runs} runs of ${packets.toLocaleString("en")}`,
);
console.log(`a flow takes ${(flowTableBytes(FLOWS_MAX) / FLOWS_MAX).toFixed(1)} bytes of the table`);
cases.forEach(({ name }, n) => {
  const sorted = rates[n]!.sort((a, b) => a - b);
  const thousands = (rate: number): string => `${(rate / 1000).toFixed(0)} k/s`.padStart(9);
  const median = sorted[sorted.length >> 1]!;
  console.log(
    `${name.padEnd(58)} ${thousands(median)} (${thousands(sorted[0]!).trim()} to ${thousands(sorted.at(-1)!).trim()})`,
  );
});
