/**
 * Engine context: what all parts of one engine share. Owns nothing; made once by Engine.
 */
import type { HashKey } from "../base/hash.ts";
import type { ClusterView } from "./cluster-view.ts";
import type { CompiledPolicy } from "./compiled-policy.ts";
import { counterIndex, EXTRA_COUNTERS, type ExtraCounter } from "./counters.ts";
import type { FlowTable } from "./flow-table.ts";
import type { EnginePort, FrameMemory, FrameOutput } from "./frame-memory.ts";
import type { NatUsage } from "./nat-usage.ts";

export interface EngineContext {
  /** Replaced as a whole when the policy changes: parts read it from here, and keep nothing of it. */
  policy: CompiledPolicy;
  readonly view: ClusterView;
  readonly frames: FrameMemory;
  readonly output: FrameOutput;
  readonly ports: readonly EnginePort[];
  readonly table: FlowTable;
  readonly counters: Float64Array;
  readonly natUsage: NatUsage;
  readonly key: HashKey;
  /** Cell 0: the time of the call being served, in ms. In an array, because a number with a fraction is boxed when passed. */
  readonly clock: Float64Array;
  /** The time right now: a thread that stood still within a call must not decide by the time at which it began. */
  readonly nowMs: () => number;
  readonly random: (bound: number) => number;
}

/** Index of a counter, found once at set-up. */
export const COUNT: Readonly<Record<ExtraCounter, number>> = Object.freeze(
  Object.fromEntries(EXTRA_COUNTERS.map((name) => [name, counterIndex(name)])),
) as Readonly<Record<ExtraCounter, number>>;

export function count(counters: Float64Array, cell: number): void {
  counters[cell] = counters[cell]! + 1;
}
