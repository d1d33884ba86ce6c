/**
 * Replays one seed of a simulated cluster with all journals: `npx tsx chaos/sim/cluster/cluster-replay.ts SEED [NODES]
 * [SCENARIO,...] [BUG]`.
 */
import { CORE_SCENARIOS, SCENARIOS } from "../../drill/model.ts";
import { BUGS } from "./bugs.ts";
import { runSimulation, SMALL_RUN } from "./run.ts";

const [seedText = "1", nodesText = "2", scenariosText = CORE_SCENARIOS.join(), bugText] =
  process.argv.slice(2);
const bug = BUGS.find((each) => each === bugText);
const { findings, digest } = await runSimulation({
  ...SMALL_RUN,
  seed: Number(seedText),
  nodes: Number(nodesText),
  scenarios: SCENARIOS.filter((each) => scenariosText.split(",").includes(each)),
  ...(bug === undefined ? {} : { bug }),
  onEvent: (member, { atMs, kind, epoch, text }) =>
    void process.stdout.write(
      `${atMs.toFixed(3).padStart(13)} ${member.padEnd(8)}${kind.padEnd(18)}epoch ${epoch}  ${text}\n`,
    ),
});
process.stdout.write(`${JSON.stringify({ digest, findings }, undefined, 1)}\n`);
process.exitCode = findings.length === 0 ? 0 : 1;
