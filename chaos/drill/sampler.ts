/**
 * Sampler: who owns how many slots, over time, and how many flows went on without waiting for their
 * backup, asked from the members while a drill runs.
 */
import type { StatusReport } from "../../src/node/admin-model.ts";
import { type Stage, statusOn } from "./stage.ts";

const INTERVAL_MS = 200;

export class SlotSampler {
  readonly #stage: Stage;
  readonly #samples: { readonly atMs: number; readonly slots: Readonly<Record<string, number>> }[] = [];
  readonly #stop: () => void;
  /** By member: as it said last. */
  readonly #unprotected = new Map<string, number>();
  #unprotectedFlows = 0;
  #isAsking = false;

  constructor(stage: Stage) {
    this.#stage = stage;
    this.#stop = stage.every(INTERVAL_MS, () => void this.#ask());
  }

  stop(): void {
    this.#stop();
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

  /** As far as members could still tell before they died. */
  get unprotectedFlows(): number {
    return this.#unprotectedFlows;
  }

  /** The member with the highest epoch tells: others may be cut off. */
  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    const stage = this.#stage;
    const answers = await Promise.all(stage.members.map(({ name }) => statusOn(stage, name)));
    this.#isAsking = false;
    const reports = answers.flatMap((report) => report ?? []);
    for (const report of reports) this.#countUnprotected(report);
    const latest = reports.toSorted((a, b) => b.epoch - a.epoch)[0];
    if (latest === undefined) return;
    const nodes = latest.members.filter(({ role }) => role === "node");
    this.#samples.push({
      atMs: stage.nowMs(),
      slots: Object.fromEntries(nodes.map(({ name, slotsOwned }) => [name, slotsOwned])),
    });
  }

  #countUnprotected({ node, dataplane }: StatusReport): void {
    const { deadline = 0, holdFull = 0 } = dataplane?.unprotected ?? {};
    const now = deadline + holdFull;
    const before = this.#unprotected.get(node) ?? now;
    this.#unprotected.set(node, now);
    // Less than before: it counts anew since it was started again.
    this.#unprotectedFlows += now < before ? now : now - before;
  }
}
