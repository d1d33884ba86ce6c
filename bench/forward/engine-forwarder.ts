/**
 * Forwarder process of the forwarding bench: the engine and the packet loop of a node, standing alone, with the changes
 * that it would replicate thrown away as fast as they come. Arguments: driver, inside and outside interface.
 */
import { hashKeyFrom } from "../../src/base/hash.ts";
import { RECORD_BYTES } from "../../src/base/record.ts";
import { createRing, RecordRing } from "../../src/base/ring.ts";
import { standaloneView } from "../../src/dataplane/cluster-view.ts";
import { COUNTER_CELLS, counterIndex } from "../../src/dataplane/counters.ts";
import { Engine } from "../../src/dataplane/engine.ts";
import { FlowTable } from "../../src/dataplane/flow-table.ts";
import { ACTION_ACCEPT, COMMIT_DEFAULT, type PolicyModel } from "../../src/dataplane/policy-model.ts";
import { openPorts } from "../../src/io/open.ts";
import { requestRealtime } from "../../src/io/sched.ts";
import { nowMs } from "../../src/node/clock.ts";
import { PacketLoop } from "../../src/node/packet-loop.ts";
import { parseIpv4 } from "../../src/policy/address.ts";
import { DEFAULT_TIMEOUTS_MS } from "../../src/policy/timeouts.ts";
import { INSIDE_GATEWAY, OUTSIDE_GATEWAY, SNAT_ADDRESS } from "./frames.ts";

const SLOTS = 64;
const FLOWS_MAX = 262_144;
const INSIDE = 0;
const OUTSIDE = 1;
const REALTIME_PRIORITY = 20;

const address = (text: string): number => parseIpv4(text) ?? 0;
const policy: PolicyModel = {
  zones: [
    {
      id: INSIDE,
      name: "inside",
      trust: 100,
      gateway: address(INSIDE_GATEWAY),
      prefix: { address: address("10.10.0.0"), bits: 16 },
      ports: [0],
    },
    {
      id: OUTSIDE,
      name: "outside",
      trust: 0,
      gateway: address(OUTSIDE_GATEWAY),
      prefix: { address: address("198.51.100.0"), bits: 24 },
      ports: [1],
    },
  ],
  routes: [],
  snat: [{ fromZone: INSIDE, toZone: OUTSIDE, sources: [], pool: [address(SNAT_ADDRESS)] }],
  dnat: [],
  rules: [
    {
      id: 1,
      name: "out",
      fromZone: INSIDE,
      toZone: OUTSIDE,
      sources: [],
      destinations: [],
      protocol: -1,
      sourcePorts: [],
      destinationPorts: [],
      icmpType: -1,
      icmpCode: -1,
      action: ACTION_ACCEPT,
      commit: COMMIT_DEFAULT,
      log: false,
    },
  ],
  affinity: "source",
  timeoutsMs: DEFAULT_TIMEOUTS_MS,
  syncDeadlineMs: 5,
  answered: [{ zone: OUTSIDE, address: address(SNAT_ADDRESS) }],
};

const [driver, inside, outside] = process.argv.slice(2) as ["xdp" | "cap", string, string];
const filter = { kind: "all" } as const;
const { pool, ports } = openPorts(driver, [
  { interfaceName: inside, filter },
  { interfaceName: outside, filter },
]);
const key = hashKeyFrom(Uint8Array.from({ length: 32 }, (_, i) => i * 7));
const changes = new RecordRing(createRing(RECORD_BYTES, 4096));
const counters = new Float64Array(COUNTER_CELLS);
const engine = new Engine({
  policy,
  view: standaloneView(SLOTS),
  frames: pool,
  output: { send: (port, at, lengthBytes) => ports[port]!.send(at, lengthBytes) },
  ports: ports.map(({ mac, mtuBytes }, index) => ({ mac, mtuBytes, zone: index })),
  table: new FlowTable(FLOWS_MAX, key),
  changes,
  counters,
  ruleHits: new Float64Array(2),
  key,
  random: (bound) => Math.floor(Math.random() * bound),
});
const loop = new PacketLoop({
  engine,
  pool,
  ports,
  changes,
  replicas: new RecordRing(createRing(RECORD_BYTES, 64)),
  applied: new Float64Array(1),
  onLocal: () => {},
  onReplica: () => {},
  wakeMain: () => {},
});

let isTurnDue = false;
const turn = (): void => {
  isTurnDue = false;
  const isMore = loop.turn(nowMs());
  changes.release(changes.length());
  if (isMore && !isTurnDue) {
    isTurnDue = true;
    setImmediate(turn);
  }
};
requestRealtime(REALTIME_PRIORITY);
for (const port of ports) port.onReadable(turn);
setInterval(() => loop.tick(nowMs()), 1);
process.stdin
  .on("end", () => {
    if (process.env["BENCH_VERBOSE"] !== undefined) report();
    process.exit(0);
  })
  .resume();
process.stdout.write("ready\n");

function report(): void {
  const seen = [...counters.entries()].filter(([, count]) => count > 0).map(([i, count]) => `${i}=${count}`);
  process.stderr.write(`flows ${counters[counterIndex("flowsNow")]}; counters ${seen.join(" ")}\n`);
  for (const port of ports)
    process.stderr.write(`${port.name} ${JSON.stringify(port.counters)} ${port.counters.rxDropped}\n`);
}
