/** What bench/redirect.bench.ts runs, in a process of its own. */
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { hashKeyFrom } from "../../src/base/hash.ts";
import { standaloneView } from "../../src/dataplane/cluster-view.ts";
import { CompiledPolicy } from "../../src/dataplane/compiled-policy.ts";
import type { EngineContext } from "../../src/dataplane/context.ts";
import { COUNTER_CELLS } from "../../src/dataplane/counters.ts";
import { FlowTable } from "../../src/dataplane/flow-table.ts";
import { NatUsage } from "../../src/dataplane/nat-usage.ts";
import { Packet } from "../../src/dataplane/packet.ts";
import { NOT_OPENED, NOT_WRAPPED, REDIRECT_COUNT_CELLS, Redirect } from "../../src/dataplane/redirect.ts";
import { LinkSeals } from "../../src/node/link-seals.ts";
import { ETHER_IPV4, ETHERNET_BYTES, setEtherType } from "../../src/packet/ethernet.ts";
import { PROTOCOL_UDP, writeHeader } from "../../src/packet/ipv4.ts";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "7" },
    frames: { type: "string", default: "200000" },
    smoke: { type: "boolean", default: false },
  },
});
const runs = values.smoke ? 1 : Number(values.runs);
const frames = values.smoke ? 2_000 : Number(values.frames);
const SIZES = [60, 590, 1514];
const AT = 256;
const IP = [0, 0xac10_0001, 0xac10_0002] as const;

const key = hashKeyFrom(new Uint8Array(32));
const bytes = new Uint8Array(4096);

function contextOf(self: 1 | 2): EngineContext {
  const other = self === 1 ? 2 : 1;
  const peer = {
    nodeId: other,
    clusterIp: IP[other],
    clusterMac: new Uint8Array(6),
    zoneMac: [],
  };
  const peers = [undefined, other === 1 ? peer : undefined, other === 2 ? peer : undefined];
  return {
    policy: new CompiledPolicy({
      zones: [],
      routes: [],
      snat: [],
      dnat: [],
      rules: [],
      affinity: "source",
      timeoutsMs: {} as never,
      syncDeadlineMs: 5,
      answered: [],
    }),
    view: { ...standaloneView(64, self), clusterIp: IP[self], peers },
    frames: { bytes, view: new DataView(bytes.buffer) } as never,
    output: { send: () => true },
    ports: [{ mac: new Uint8Array(6), mtuBytes: 1600, zone: -1 }],
    table: new FlowTable(1024, key),
    counters: new Float64Array(COUNTER_CELLS),
    natUsage: new NatUsage(undefined),
    key,
    clock: new Float64Array(1),
    nowMs: () => 0,
    random: () => 0,
  };
}

/** CPU time of this thread, in ns: the clock on the wall would count who else uses the machine. */
function cpuNs(): number {
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]);
}

/** Carries frames of one size from node 1 to node 2: CPU nanoseconds a frame, for both ends together. */
function carry(isSealed: boolean, sizeBytes: number): number {
  const one = contextOf(1);
  const two = contextOf(2);
  const seals = [1, 2].map((self) => {
    const made = new LinkSeals(self, new Uint8Array(32), isSealed ? "always" : "never");
    made.meet(3 - self, self, 3 - self);
    return made;
  });
  const counts = new Float64Array(REDIRECT_COUNT_CELLS);
  const out = new Redirect(one, seals[0]!, counts);
  const into = new Redirect(two, seals[1]!, counts);
  setEtherType(bytes, AT, ETHER_IPV4);
  writeHeader(bytes, AT + ETHERNET_BYTES, sizeBytes - ETHERNET_BYTES, 64, PROTOCOL_UDP, 1, 2);
  const packet = new Packet();
  packet.parse(bytes, AT, sizeBytes);
  const began = cpuNs();
  for (let i = 0; i < frames; i++) {
    packet.at = AT;
    packet.lengthBytes = sizeBytes;
    const length = out.wrap(packet, one.view.peers[2]!, 0, i & 63, false);
    if (length === NOT_WRAPPED) throw new Error("a frame was not wrapped");
    const inner = into.unwrap(out.at, length, out.at + ETHERNET_BYTES);
    if (inner === NOT_OPENED || inner !== AT || into.lengthBytes !== sizeBytes) {
      throw new Error("a frame did not come out as it went in");
    }
  }
  return (cpuNs() - began) / frames;
}

for (const isSealed of [false, true]) carry(isSealed, 60);
console.log(`redirect: CPU to wrap and unwrap a frame, ${runs} runs, interleaved; median (least to most)`);
console.log(`machine: ${cpus().length} x ${cpus()[0]?.model ?? "unknown CPU"}; Node.js ${process.version}`);
for (const size of SIZES) {
  const figures: [number[], number[]] = [[], []];
  for (let run = 0; run < runs; run++) {
    figures[0].push(carry(false, size));
    figures[1].push(carry(true, size));
  }
  const [clear, sealed] = figures.map((all) => all.sort((a, b) => a - b));
  const show = (all: readonly number[]): string =>
    `${(all[all.length >> 1]! / 1000).toFixed(2)} us (${(all[0]! / 1000).toFixed(2)} to ${(all.at(-1)! / 1000).toFixed(2)})`;
  const ratio = sealed![sealed!.length >> 1]! / clear![clear!.length >> 1]!;
  console.log(
    `${`${size} bytes`.padEnd(11)} clear ${show(clear!)}, sealed ${show(sealed!)}: ${ratio.toFixed(1)} x`,
  );
}
