/**
 * Many trials: bundles the trials into one module with folded constants, as the build does for the dataplane worker (ADR 41), and runs it
 * in processes of its own, which get batches of seeds until none is left. Owns the processes, and what a log says is done already.
 */
import { type ChildProcess, fork } from "node:child_process";
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT_DIRECTORY } from "../../../config/version.ts";
import { bundle } from "../../../scripts/bundle.ts";
import type { Bug } from "./bugs.ts";
import type { Scene } from "./trial-plan.ts";
import { addSums, noSums, type TrialSums } from "./trial-sums.ts";
import type { Batch } from "./trials-main.ts";

const ENTRY = "chaos/sim/cluster/trials-main.ts";
/** The process id keeps apart what several make at a time. */
const MODULE = `node_modules/.cache/synwall/trials/trials-${process.pid}.mjs`;
/** A trial leaves much behind that is garbage soon. */
const FLAGS = ["--max-semi-space-size=32"];
const BATCH_SEEDS = 25;

export interface ManyOptions {
  readonly fromSeed: number;
  readonly toSeed: number;
  readonly processes: number;
  readonly isBrief: boolean;
  readonly bug?: Bug | undefined;
  readonly isMixed?: boolean;
  readonly scene?: Scene | undefined;
  /** Default: all seeds are run, whatever is found. */
  readonly isOver?: Batch["isOver"];
  /** A file with a line for each batch: batches that it names are not run again, but count. */
  readonly logPath?: string | undefined;
  /** What was run, for the log: a commit. */
  readonly version?: string;
  readonly onBatch?: (sums: TrialSums) => void;
}

interface Line {
  readonly fromSeed: number;
  readonly toSeed: number;
  readonly version: string;
  readonly sums: TrialSums;
}

export async function runMany(options: ManyOptions): Promise<TrialSums> {
  const {
    fromSeed,
    toSeed,
    processes,
    isBrief,
    bug,
    isMixed = false,
    scene,
    logPath,
    version = "",
  } = options;
  const { isOver = "at its end" } = options;
  const sums = noSums();
  const done = logPath === undefined ? [] : linesOf(logPath);
  for (const line of done) addSums(sums, line.sums);
  const batches: Batch[] = [];
  for (let from = fromSeed; from <= toSeed; from += BATCH_SEEDS) {
    const to = Math.min(toSeed, from + BATCH_SEEDS - 1);
    const batch: Batch = { fromSeed: from, toSeed: to, isBrief, bug, isMixed, scene, isOver };
    if (!done.some((line) => line.fromSeed === from && line.toSeed === batch.toSeed)) batches.push(batch);
  }
  if (batches.length === 0) return sums;
  const deal = async (): Promise<void> => {
    const child = fork(join(ROOT_DIRECTORY, MODULE), {
      execArgv: FLAGS,
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    try {
      for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) {
        const more = await run(child, batch);
        addSums(sums, more);
        options.onBatch?.(more);
        if (logPath !== undefined) note(logPath, { ...batch, version, sums: more });
        if (isOver === "at a violation" && sums.violations.length > 0) return;
      }
    } catch (error) {
      batches.length = 0;
      throw error;
    } finally {
      if (child.connected) child.disconnect();
    }
  };
  await bundle(ENTRY, MODULE);
  try {
    await Promise.all(Array.from({ length: Math.min(processes, batches.length) }, deal));
  } finally {
    rmSync(join(ROOT_DIRECTORY, MODULE), { force: true });
  }
  return sums;
}

function run(child: ChildProcess, batch: Batch): Promise<TrialSums> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null, signal: string | null): void =>
      reject(new Error(`trials ${batch.fromSeed}..${batch.toSeed} ended with ${code ?? signal}`));
    child.once("exit", onExit);
    child.once("message", (sums) => {
      child.off("exit", onExit);
      resolve(sums as TrialSums);
    });
    child.send(batch);
  });
}

function linesOf(logPath: string): Line[] {
  if (!existsSync(logPath)) return [];
  const text = readFileSync(logPath, "utf8");
  // A last line without its end was being written when the machine stopped.
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  if (whole.length < text.length) writeFileSync(logPath, whole);
  const lines = whole.split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Line);
}

function note(logPath: string, { fromSeed, toSeed, version, sums }: Line): void {
  appendFileSync(logPath, `${JSON.stringify({ fromSeed, toSeed, version, sums })}\n`);
}
