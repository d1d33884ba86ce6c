/**
 * Generate: the way of one episode. Draws steps, puts them into a rig, answers what the engines sent, and keeps what behaved in a
 * way not seen before. Coverage is behaviour: the verdict, the counters that moved, what left and by which port.
 */
import { readFileSync } from "node:fs";
import { seededRandom } from "../../src/base/env.ts";
import { COUNT_VERDICTS, COUNTER_CELLS } from "../../src/dataplane/counters.ts";
import { neighbourAnswer, reply, routerError } from "./answers.ts";
import { FRAME_BYTES_MAX, mutate, type Random } from "./mutate.ts";
import type { Plant } from "./node.ts";
import { FAMILIES } from "./policies.ts";
import { PATTERN_COUNT, Rig } from "./rig.ts";
import { makeSeeds, type Template } from "./seeds.ts";
import type { Step } from "./steps.ts";
import { u16 } from "./wire.ts";

export const CORPUS_FILE = new URL("./corpus.txt", import.meta.url);
const CORPUS_FRAME_BYTES_MAX = 320;
const RECENT_MAX = 48;
/** Counters that tell the time or the load, not a behaviour: receive and transmit totals, the pool. */
const COUNTED_FROM = COUNT_VERDICTS + 4;

export class Corpus {
  readonly seeds = makeSeeds();
  readonly kept: Template[] = [];
  readonly signatures = new Set<number>();

  /** Reads the frames that earlier runs kept. */
  load(): this {
    for (const line of readFileSync(CORPUS_FILE, "utf8").split("\n")) {
      const [port, hex] = line.split(" ");
      if (hex !== undefined)
        this.kept.push({ port: Number(port), bytes: Uint8Array.from(Buffer.from(hex, "hex")) });
    }
    return this;
  }

  /** At most `max` of the frames that were kept, from all parts of the run. */
  text(max: number): string {
    const all = this.kept.filter(({ bytes }) => bytes.length <= CORPUS_FRAME_BYTES_MAX);
    const step = Math.max(1, all.length / max);
    const short = Array.from({ length: Math.min(max, all.length) }, (_, i) => all[Math.floor(i * step)]!);
    return `${short.map(({ port, bytes }) => `${port} ${Buffer.from(bytes).toString("hex")}`).join("\n")}\n`;
  }
}

export interface EpisodeOptions {
  readonly seed: number;
  readonly frames: number;
  readonly corpus: Corpus;
  /** Whether every second replication brings damaged, repeated and lost records. */
  readonly isForging?: boolean;
  readonly plant?: Plant;
}

export class Episode {
  readonly rig: Rig;
  readonly steps: Step[] = [];
  readonly verdicts = new Float64Array(128);
  frames = 0;
  readonly #random: Random;
  readonly #isForging: boolean;
  readonly #corpus: Corpus;
  readonly #limit: number;
  readonly #scratch = new Uint8Array(FRAME_BYTES_MAX + 64);
  readonly #recent: (Template & { readonly node: number })[] = [];
  readonly #queue: Step[] = [];
  readonly #before = new Float64Array(COUNTER_CELLS);

  constructor({ seed, frames, corpus, plant, isForging = false }: EpisodeOptions) {
    this.#random = seededRandom(Math.imul(seed, 0x9e3779b1) >>> 0);
    this.#corpus = corpus;
    this.#limit = frames;
    this.rig = new Rig(this.#random(FAMILIES.length), plant);
    this.#isForging = isForging;
  }

  /** Goes the whole way; throws what an oracle or an engine threw, with `steps` as they were taken. */
  run(): void {
    this.#answer();
    while (this.frames < this.#limit) {
      const step = this.#queue.shift() ?? this.#draw();
      this.steps.push(step);
      if (step.op === "frame") {
        this.#before.set(this.rig.nodes[step.node]!.counters);
        this.frames++;
      }
      this.rig.step(step);
      if (step.op === "frame") this.#learn(step);
      this.#answer();
    }
    this.rig.finish();
  }

  #draw(): Step {
    const random = this.#random;
    const kind = random(400);
    if (kind < 8) {
      const isForged = this.#isForging && random(2) === 0;
      return isForged ? { op: "forge", seed: random(2 ** 31) } : { op: "replicate" };
    }
    if (kind < 20)
      return { op: "tick", ms: [1, 1, 5, 20, 100, 700, 3_000, 40_000][random(random(4) === 0 ? 8 : 4)]! };
    if (kind === 20 && random(8) === 0) return { op: "policy", index: random(2) };
    if (kind === 21 && random(3) === 0) return { op: "own", pattern: random(PATTERN_COUNT) };
    if (kind === 22 && random(3) === 0) return { op: "lease", node: random(2), isValid: random(4) > 0 };
    if (kind === 24 && random(3) === 0) return { op: "takeover", pattern: random(PATTERN_COUNT) };
    // The slot of a row that is in use, as a rule.
    if (kind < 29 && kind > 24)
      return { op: "export", slot: this.rig.nodes[random(2)]!.table.slotOf(random(16)) };
    if (kind === 23) {
      this.#queue.push({ op: "lease", node: 0, isValid: true }, { op: "lease", node: 1, isValid: true });
    }
    return this.#frameStep();
  }

  #frameStep(): Step {
    const random = this.#random;
    const { seeds, kept } = this.#corpus;
    const recent = this.#recent;
    let node = random(4) === 0 ? 1 : 0;
    let from: Template;
    const way = random(10);
    if (way < 4 && recent.length > 0) {
      const chosen = recent[random(recent.length)]!;
      node = random(10) === 0 ? random(2) : chosen.node;
      from = chosen;
    } else if (way < 6 && kept.length > 0) from = kept[random(kept.length)]!;
    else from = seeds[random(seeds.length)]!;
    const b = this.#scratch;
    let length = Math.min(from.bytes.length, 1600);
    b.set(from.bytes.subarray(0, length));
    if (random(4) > 0) length = mutate(b, length, random, seeds[random(seeds.length)]!.bytes);
    const port = random(30) === 0 ? random(3) : from.port;
    if (from.port === 2 && length > 5 && random(4) > 0) node = b[4] === 1 ? 0 : 1;
    return { op: "frame", node, port, bytes: b.slice(0, length) };
  }

  /** Keeps a frame whose behaviour is new. */
  #learn(step: Step & { op: "frame" }): void {
    const { rig } = this;
    const { counters } = rig.nodes[step.node]!;
    if (rig.verdict >= 0) this.verdicts[rig.verdict]!++;
    let signature = Math.imul(rig.verdict + 3, 0x01000193) ^ rig.family;
    for (let i = COUNTED_FROM; i < COUNTER_CELLS; i++) {
      const moved = counters[i]! - this.#before[i]!;
      if (moved !== 0) signature = Math.imul(signature ^ (i * 4 + (moved > 0 ? 1 : 2)), 0x01000193);
    }
    for (const { port, bytes } of rig.left.slice(0, 3)) {
      signature = Math.imul(signature ^ (u16(bytes, 12) * 8 + port), 0x01000193) ^ bytes[23]!;
    }
    if (step.bytes.length > 14)
      signature = Math.imul(signature ^ u16(step.bytes, 12) ^ ((step.bytes[14]! & 0xf0) << 16), 0x85ebca6b);
    if (this.#corpus.signatures.has(signature)) return;
    this.#corpus.signatures.add(signature);
    const { kept } = this.#corpus;
    if (kept.length < 4000) kept.push({ port: step.port, bytes: step.bytes });
    else kept[this.#random(kept.length)] = { port: step.port, bytes: step.bytes };
  }

  /** The world's answers to what left. */
  #answer(): void {
    const random = this.#random;
    for (const { node, port, bytes } of this.rig.left) {
      if (port === 2) {
        if (random(8) > 0) this.#queue.push({ op: "frame", node: 1 - node, port: 2, bytes });
        this.#remember(2, 1 - node, bytes);
        continue;
      }
      const neighbour = neighbourAnswer(bytes);
      if (neighbour !== undefined) {
        if (random(6) > 0) this.#queue.push({ op: "frame", node, port, bytes: neighbour });
        continue;
      }
      const answer = random(8) === 0 ? routerError(port, bytes, random(3)) : reply(port, bytes);
      if (answer === undefined) continue;
      this.#remember(port, node, answer);
      if (random(2) === 0) this.#queue.push({ op: "frame", node, port, bytes: answer });
    }
    if (this.#queue.length > 64) this.#queue.length = 64;
  }

  #remember(port: number, node: number, bytes: Uint8Array): void {
    const entry = { port, node, bytes };
    if (this.#recent.length < RECENT_MAX) this.#recent.push(entry);
    else this.#recent[this.#random(RECENT_MAX)] = entry;
  }
}

/** Takes the steps anew; the message of what went wrong, or "". */
export function replay(family: number, steps: readonly Step[], plant?: Plant): string {
  try {
    const rig = new Rig(family, plant);
    for (const step of steps) rig.step(step);
    rig.finish();
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The shortest sequence found that still goes wrong in the same way: halves, quarters, ... single steps are left out. */
export function minimise(
  family: number,
  steps: readonly Step[],
  message: string,
  plant?: Plant,
  replaysMax = 1000,
): Step[] {
  let now = [...steps];
  const kind = message.replace(/\d+/g, "#");
  const isSame = (list: readonly Step[]): boolean =>
    replay(family, list, plant).replace(/\d+/g, "#") === kind;
  if (!isSame(now)) return now;
  let replays = 0;
  for (let size = Math.ceil(now.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < now.length && replays < replaysMax; replays++) {
      const without = [...now.slice(0, at), ...now.slice(at + size)];
      if (isSame(without)) now = without;
      else at += size;
    }
  }
  return now;
}
