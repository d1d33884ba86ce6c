/**
 * Child of gc.test.ts: pushes packets of every kind through an engine in one synchronous run and prints, as JSON, what was
 * collected and allocated meanwhile. Runs alone in its process, so that every collection is the engine's.
 */
import { PerformanceObserver } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import { seededRandom } from "../../../src/base/env.ts";
import { RECORD_BYTES } from "../../../src/base/record.ts";
import { createRing, RecordRing } from "../../../src/base/ring.ts";
import { standaloneView } from "../../../src/dataplane/cluster-view.ts";
import { COUNTER_CELLS, counterIndex } from "../../../src/dataplane/counters.ts";
import { Engine } from "../../../src/dataplane/engine.ts";
import { FlowTable } from "../../../src/dataplane/flow-table.ts";
import { RULE_LOG_BYTES } from "../../../src/dataplane/rule-log.ts";
import { virtualMac } from "../../../src/dataplane/virtual-mac.ts";
import { arp, dotted, echo, ethernet, mac, see, tcp, udp } from "./frames.ts";
import { hostMac, INSIDE, LAB_POLICY, OUTSIDE, rule, TEST_KEY } from "./world.ts";

const FLOWS = 256;
const packets = Number(process.argv[2] ?? 1_000_000);
const CHUNK = 2048;

const bytes = new Uint8Array(512 * CHUNK);
const free = new Int32Array(512);
let freeCount = 0;
for (let i = 511; i >= 0; i--) free[freeCount++] = i;
const frames = {
  bytes,
  alloc: (): number => (freeCount === 0 ? -1 : free[--freeCount]! * CHUNK + 256),
  free: (at: number): void => {
    free[freeCount++] = at >>> 11;
  },
  available: (): number => freeCount,
};
const sent = new Int32Array(2);
let lastAt = 0;
const output = {
  send: (_port: number, at: number, lengthBytes: number): boolean => {
    sent[0] = at;
    sent[1] = lengthBytes;
    lastAt = at;
    frames.free(at);
    return true;
  },
};
const ring = new RecordRing(createRing(RECORD_BYTES, 8192));
const view = standaloneView(64);
view.backup.fill(2, 0, 64);
const counters = new Float64Array(COUNTER_CELLS);
const table = new FlowTable(8192, TEST_KEY);
// Every rule logs, so fast that most records are written and some are refused.
const ruleLog = new RecordRing(createRing(RULE_LOG_BYTES, 1024));
const DENY = rule(2, { name: "deny-in", fromZone: OUTSIDE, toZone: INSIDE, action: 0, log: true });
const rules = [...LAB_POLICY.rules.map((each) => ({ ...each, log: true })), DENY];
const ownMac = [mac("02:00:00:00:01:00"), mac("02:00:00:00:01:01")];
const engine = new Engine({
  policy: { ...LAB_POLICY, rules },
  view,
  frames,
  output,
  ports: [
    { mac: ownMac[0]!, mtuBytes: 1500, zone: INSIDE },
    { mac: ownMac[1]!, mtuBytes: 1500, zone: OUTSIDE },
  ],
  table,
  changes: ring,
  ruleLog,
  limits: { ruleLogsPerSecond: 15_000 },
  counters,
  ruleHits: new Float64Array(rules.length + 1),
  key: TEST_KEY,
  random: seededRandom(1),
});

const clock = Float64Array.of(1_000_000.25);
const virtual = [new Uint8Array(6), new Uint8Array(6)];
virtualMac(INSIDE, 0, virtual[0]!);
virtualMac(OUTSIDE, 0, virtual[1]!);

function push(port: number, frame: Uint8Array): number {
  const at = frames.alloc();
  bytes.set(frame, at);
  return engine.process(port, at, frame.length, clock[0]!);
}

function wrap(port: number, from: string, packet: Uint8Array): Uint8Array {
  return ethernet(virtual[port]!, hostMac(from), 0x0800, packet);
}

function teach(port: number, address: string): void {
  const gateway = dotted(LAB_POLICY.zones[port]!.gateway);
  push(
    port,
    ethernet(
      new Uint8Array(6).fill(255),
      hostMac(address),
      0x0806,
      arp({ op: 1, senderMac: hostMac(address), sender: address, target: gateway }),
    ),
  );
}

// Frames of established flows, both ways: UDP, TCP, echo.
const script: { port: number; frame: Uint8Array }[] = [];
const SERVER = "198.51.100.100";
teach(1, SERVER);
for (let i = 0; i < FLOWS; i++) {
  const client = `10.10.0.${2 + (i % 200)}`;
  teach(0, client);
  const kind = i % 3;
  const spec = { from: client, to: SERVER, sport: 1024 + i, dport: 443 };
  const first =
    kind === 0
      ? udp(spec)
      : kind === 1
        ? tcp({ ...spec, flags: "S", seq: 99 })
        : echo({ from: client, to: SERVER, id: i + 1 });
  push(0, wrap(0, client, first));
  const seen = see(bytes.slice(lastAt, lastAt + sent[1]!)).ip!;
  const back = { from: SERVER, to: seen.from, sport: 443, dport: seen.sport };
  if (kind === 1) {
    push(1, wrap(1, SERVER, tcp({ ...back, flags: "SA", seq: 499, ack: 100 })));
    push(0, wrap(0, client, tcp({ ...spec, flags: "A", seq: 100, ack: 500 })));
  }
  const there =
    kind === 1 ? tcp({ ...spec, flags: "PA", seq: 100, ack: 500, payload: new Uint8Array(20) }) : first;
  const again =
    kind === 0
      ? udp(back)
      : kind === 1
        ? tcp({ ...back, flags: "A", seq: 500, ack: 120 })
        : echo({ from: SERVER, to: seen.from, id: seen.sport, isReply: true });
  script.push({ port: 0, frame: wrap(0, client, there) }, { port: 1, frame: wrap(1, SERVER, again) });
}
// What is dropped, answered or asked, and new flows that are denied.
script.push({
  port: 1,
  frame: wrap(1, SERVER, udp({ from: SERVER, to: "10.10.0.9", sport: 5, dport: 6 })),
});
script.push({ port: 0, frame: wrap(0, "10.10.0.9", echo({ from: "10.10.0.9", to: "10.10.0.1", id: 3 })) });
script.push({
  port: 0,
  frame: wrap(0, "10.10.0.9", udp({ from: "10.10.0.9", to: SERVER, sport: 5, dport: 6, ttl: 1 })),
});
const fresh = wrap(
  0,
  "10.10.0.77",
  udp({ from: "10.10.0.77", to: SERVER, sport: 5, dport: 6, noChecksum: true }),
);
const denied = wrap(1, SERVER, udp({ from: SERVER, to: "10.10.0.9", sport: 7, dport: 8 }));
const ports = Uint8Array.from(script, ({ port }) => port);
const images = script.map(({ frame }) => frame);

/** Also makes a new flow every 16 packets and lets old ones expire, so that rules, NAT, records and timers run too. */
function run(count: number): number {
  let sum = 0;
  let flow = 0;
  for (let i = 0; i < count; i++) {
    const n = i % images.length;
    sum += push(ports[n]!, images[n]!);
    if ((i & 3) === 1) sum += push(1, denied);
    if ((i & 15) === 0) {
      flow = (flow + 1) & 4095;
      fresh[14 + 20] = 0x40 | (flow >> 8);
      fresh[14 + 21] = flow;
      sum += push(0, fresh);
    }
    if ((i & 63) === 0) {
      clock[0] = clock[0]! + 1;
      engine.tick(clock[0]!);
      ring.release(ring.length());
      ruleLog.release(ruleLog.length());
    }
  }
  return sum;
}

run(400_000);
await setTimeout(50);
run(400_000);
await setTimeout(50);
const collectedAtMs: number[] = [];
const observer = new PerformanceObserver((list) => {
  for (const { startTime } of list.getEntries()) collectedAtMs.push(startTime);
});
observer.observe({ entryTypes: ["gc"] });
await setTimeout(10);
const loggedBefore = counters[counterIndex("ruleLogRecords")]!;
const before = process.memoryUsage().heapUsed;
const startedMs = performance.now();
const sum = run(packets);
const endedMs = performance.now();
const grown = process.memoryUsage().heapUsed - before;
await setTimeout(20);
observer.disconnect();
process.stdout.write(
  JSON.stringify({
    packets,
    // Afterwards the idle process gives memory back, which the engine has no part in.
    collections: collectedAtMs.filter((at) => at >= startedMs && at <= endedMs).length,
    grownBytes: grown,
    nsPerPacket: ((endedMs - startedMs) * 1e6) / packets,
    logged: counters[counterIndex("ruleLogRecords")]! - loggedBefore,
    sum,
  }),
);
