/**
 * Sampler: who owns how many slots, over time, asked from the members while a drill runs.
 */
import { nowMs } from "../../src/node/clock.ts";
import { statusOf } from "../lab/ask.ts";
import type { Lab } from "../lab/lab.ts";

const INTERVAL_MS = 200;

export class SlotSampler {
  readonly #lab: Lab;
  readonly #samples: { readonly atMs: number; readonly slots: Readonly<Record<string, number>> }[] = [];
  readonly #timer: NodeJS.Timeout;
  #isAsking = false;

  constructor(lab: Lab) {
    this.#lab = lab;
    this.#timer = setInterval(() => void this.#ask(), INTERVAL_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** By member: [milliseconds after `zeroMs`, slots]. */
  series(zeroMs: number): Record<string, [number, number][]> {
    const series: Record<string, [number, number][]> = {};
    for (const { atMs, slots } of this.#samples) {
      for (const [member, count] of Object.entries(slots)) {
        series[member] = [...(series[member] ?? []), [atMs - zeroMs, count]];
      }
    }
    return series;
  }

  /** The member with the highest epoch tells: others may be cut off. */
  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    const { ask } = this.#lab.context;
    const reports = await Promise.all(
      this.#lab.state.topology.members.map(({ name }) => statusOf(ask, this.#lab.paths.socket(name))),
    );
    this.#isAsking = false;
    const latest = reports.flatMap((report) => report ?? []).toSorted((a, b) => b.epoch - a.epoch)[0];
    if (latest === undefined) return;
    const nodes = latest.members.filter(({ role }) => role === "node");
    this.#samples.push({
      atMs: nowMs(),
      slots: Object.fromEntries(nodes.map(({ name, slotsOwned }) => [name, slotsOwned])),
    });
  }
}
