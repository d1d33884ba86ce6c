/**
 * Replays one seed of the ownership simulator with a trace: `npx tsx chaos/sim/ownership-replay.ts SEED [BUG] [--voters] [--sleep]`.
 */
import { DEFAULT_SIM, SLEEP_SIM, simulateOwnership } from "./ownership.ts";
import { BUGS, type Bug, QUORUM_BUGS, SLEEP_BUGS } from "./ownership-bugs.ts";

const [seedText = "1", bugText] = process.argv.slice(2);
const bug = ([...BUGS, ...QUORUM_BUGS, ...SLEEP_BUGS] as const).find((b): b is Bug => b === bugText);
const result = simulateOwnership({
  ...DEFAULT_SIM,
  seed: Number(seedText),
  areVotersChanging: process.argv.includes("--voters"),
  ...(process.argv.includes("--sleep") ? SLEEP_SIM : {}),
  ...(bug === undefined ? {} : { bug }),
  trace: (line) => process.stdout.write(`${line}\n`),
});
process.stdout.write(`${JSON.stringify(result)}\n`);
process.exitCode = result.violation === undefined ? 0 : 1;
