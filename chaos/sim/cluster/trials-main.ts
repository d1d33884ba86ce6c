/**
 * Process of trials: runs the seeds that it is told, one batch after the other, and answers each batch with its sums. Owns one thread's
 * worth of trials; many.ts starts it as one module and deals the seeds out.
 */
import type { Bug } from "./bugs.ts";
import { runTrial } from "./trial.ts";
import type { Scene } from "./trial-plan.ts";
import { addSums, noSums, sumsOf, type TrialSums } from "./trial-sums.ts";

export interface Batch {
  readonly fromSeed: number;
  readonly toSeed: number;
  readonly isBrief: boolean;
  readonly bug: Bug | undefined;
  readonly isMixed: boolean;
  readonly scene: Scene | undefined;
  /** Ends the batch with the first seed that breaks a rule. */
  readonly isOver: "at its end" | "at a violation";
}

process.on("message", async (batch: Batch) => {
  const { fromSeed, toSeed, isBrief, bug, isMixed, scene, isOver } = batch;
  const sums: TrialSums = noSums();
  for (let seed = fromSeed; seed <= toSeed; seed++) {
    addSums(sums, sumsOf(await runTrial({ seed, isBrief, bug, isMixed, scene })));
    if (isOver === "at a violation" && sums.violations.length > 0) break;
  }
  process.send!(sums);
});
process.on("disconnect", () => process.exit());
