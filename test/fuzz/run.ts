/**
 * Run: the long mode of the fuzzer.
 *
 *   npx tsx test/fuzz/run.ts --frames 10000000 --seed 1 [--minutes 30] [--forge] [--save-corpus]
 *   npx tsx test/fuzz/run.ts --replay FILE
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { verdictName } from "../../src/dataplane/verdict.ts";
import { CORPUS_FILE, Corpus, Episode, minimise, replay } from "./generate.ts";
import { parseSequence, sequenceText } from "./steps.ts";

const FRAMES_PER_EPISODE = 16_000;
const CORPUS_MAX = 800;

const { values } = parseArgs({
  options: {
    frames: { type: "string", default: "10000000" },
    seed: { type: "string", default: "1" },
    minutes: { type: "string", default: "600" },
    replay: { type: "string" },
    forge: { type: "boolean", default: false },
    "save-corpus": { type: "boolean", default: false },
  },
});

function fuzz(frames: number, seed: number, minutes: number): number {
  const corpus = new Corpus().load();
  const verdicts = new Float64Array(128);
  const began = performance.now();
  let done = 0;
  for (let i = 0; done < frames && performance.now() - began < minutes * 60_000; i++) {
    const episode = new Episode({
      seed: seed * 1_000_003 + i,
      frames: FRAMES_PER_EPISODE,
      corpus,
      isForging: values.forge,
    });
    try {
      episode.run();
    } catch (error) {
      report(episode, error, seed, i);
      return 1;
    }
    done += episode.frames;
    for (let v = 0; v < verdicts.length; v++) verdicts[v]! += episode.verdicts[v]!;
    if (i % 12 === 11) console.error(`${done} frames, ${corpus.signatures.size} signatures`);
  }
  const seconds = (performance.now() - began) / 1000;
  console.log(
    `seed ${seed}: ${done} frames, ${Math.round(done / seconds)} frames/s, ${corpus.signatures.size} signatures`,
  );
  verdicts.forEach((count, verdict) => {
    if (count > 0) console.log(`${String(count).padStart(10)}  ${verdictName(verdict)}`);
  });
  if (values["save-corpus"]) writeFileSync(CORPUS_FILE, corpus.text(CORPUS_MAX));
  return 0;
}

function report(episode: Episode, error: unknown, seed: number, index: number): void {
  const message = error instanceof Error ? error.message : String(error);
  console.log(`DEFECT (seed ${seed}, episode ${index}, step ${episode.steps.length}): ${message}`);
  if (error instanceof Error) console.log(error.stack);
  const least = minimise(episode.rig.family, episode.steps, message);
  const file = `fuzz-${seed}-${index}.txt`;
  writeFileSync(file, sequenceText(episode.rig.family, least));
  console.log(`${least.length} steps are enough; again with: npx tsx test/fuzz/run.ts --replay ${file}`);
}

function again(file: string): number {
  const { family, steps } = parseSequence(readFileSync(file, "utf8"));
  const wrong = replay(family, steps);
  console.log(wrong === "" ? "nothing wrong" : wrong);
  return wrong === "" ? 0 : 1;
}

process.exitCode =
  values.replay === undefined
    ? fuzz(Number(values.frames), Number(values.seed), Number(values.minutes))
    : again(values.replay);
