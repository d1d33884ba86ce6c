/**
 * forwarding: 64-byte frames. Stateful forwarding with SNAT of 1,024 UDP flows: the engine on xdp ports against the
 * kernel's nftables (conntrack, SNAT) on the same wires, interleaved. Prints frames a second: median, least and most.
 *
 *   node --import tsx bench/forward.bench.ts [--runs 7] [--frames 1000000] [--smoke]
 *
 * CPU 0 generates; forwarding is on CPU 1: our process, or the kernel's threaded NAPI with the same real-time priority.
 * Otherwise the kernel forwards on the generator's CPU, and the generator waits for it: shown too, since that is how it
 * comes, and the better of the two is what we compare with.
 */
import { cpus, release } from "node:os";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Helper, Wires } from "./forward/wires.ts";

interface Variant {
  readonly name: string;
  run(): Promise<number>;
}

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "7" },
    frames: { type: "string", default: "1000000" },
    smoke: { type: "boolean", default: false },
    cap: { type: "boolean", default: false },
  },
});
const runs = values.smoke ? 1 : Number(values.runs);
const frames = values.smoke ? 20_000 : Number(values.frames);
const WARM_UP_ROUNDS = values.smoke ? 2 : 120;
const WARM_UP_ROUNDS_MAX = 400;
const WARM_UP_FRAMES = 5000;
const WARM_UP_PAUSE_MS = 20;
const GENERATE_CPU = 0;
const FORWARD_CPU = 1;

const wires = new Wires();
process.once("SIGINT", () => void wires.close().finally(() => process.exit(130)));
try {
  const generator = await wires.start("gen", GENERATE_CPU, "generator.ts", "g0", wires.mac("dut", "d0"));
  const measure = (): Promise<number> => blast(generator);
  const ours = (name: string, script: string, ...words: string[]): Variant => ({
    name,
    run: async () => {
      const forwarder = await wires.start("dut", FORWARD_CPU, script, ...words);
      await warmUp(generator);
      const rate = await measure();
      await forwarder.stop();
      return rate;
    },
  });
  const kernel = (name: string, isSteered: boolean): Variant => ({
    name,
    run: async () => {
      wires.steerKernel(isSteered);
      await warmUp(generator);
      const rate = await measure();
      wires.steerKernel(false);
      return rate;
    },
  });
  const server = wires.mac("sink", "s0");
  const variants: Variant[] = [
    ours("synwall: engine, stateful + SNAT, xdp", "engine-forwarder.ts", "xdp", "d0", "d1"),
    kernel("nftables: conntrack + SNAT, on CPU 1", true),
    kernel("nftables: conntrack + SNAT, on CPU 0", false),
    ours("ports alone, xdp", "raw-forwarder.ts", "xdp", "d0", "d1", server),
  ];
  if (values.cap) variants.push(ours("ports alone, cap", "raw-forwarder.ts", "cap", "d0", "d1", server));
  const rates = new Map<string, number[]>(variants.map(({ name }) => [name, []]));
  for (let run = 0; run < runs; run++) {
    for (const variant of variants) rates.get(variant.name)!.push(await variant.run());
  }
  print(variants, rates);
} finally {
  await wires.close();
}

/**
 * Every flow exists, and the code is compiled: that needs pauses, since the compiler's threads have no priority. A forwarder that
 * has not found its neighbours yet gets more rounds.
 */
async function warmUp(generator: Helper): Promise<void> {
  const before = wires.received();
  for (let round = 0; round < WARM_UP_ROUNDS_MAX; round++) {
    if (round >= WARM_UP_ROUNDS && wires.received() > before) return;
    await generator.ask(`${WARM_UP_FRAMES}`);
    await setTimeout(WARM_UP_PAUSE_MS);
  }
  throw new Error(`nothing was forwarded of ${WARM_UP_ROUNDS_MAX * WARM_UP_FRAMES} frames`);
}

/** Frames a second that reached the sink while the generator sent as fast as it could. */
async function blast(generator: Helper): Promise<number> {
  const before = wires.received();
  const { ms } = JSON.parse(await generator.ask(`${frames}`)) as { ms: number };
  return (((await settled()) - before) / ms) * 1000;
}

/** Frames received, when what was under way has come: at most what the rings hold. */
async function settled(): Promise<number> {
  let last = wires.received();
  for (;;) {
    await setTimeout(WARM_UP_PAUSE_MS);
    const now = wires.received();
    if (now === last) return now;
    last = now;
  }
}

function print(variants: readonly Variant[], rates: ReadonlyMap<string, readonly number[]>): void {
  const { model } = cpus()[0] ?? { model: "unknown CPU" };
  console.log(`forwarding: 64-byte frames, ${runs} runs of ${frames} frames, interleaved`);
  console.log(`machine: ${cpus().length} x ${model}; Linux ${release()}; Node.js ${process.version}`);
  const median = (name: string): number => [...rates.get(name)!].sort((a, b) => a - b)[runs >> 1]!;
  const kpps = (rate: number): string => `${(rate / 1000).toFixed(0)} kpps`;
  for (const { name } of variants) {
    const all = rates.get(name)!;
    console.log(
      `${name.padEnd(42)} ${kpps(median(name)).padStart(9)}  (${kpps(Math.min(...all))} to ${kpps(Math.max(...all))})`,
    );
  }
  const best = Math.max(median(variants[1]!.name), median(variants[2]!.name));
  console.log(`synwall / best nftables: ${(median(variants[0]!.name) / best).toFixed(2)}`);
}
