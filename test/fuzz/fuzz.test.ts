import { expect, test } from "vitest";
import { dropVerdict } from "../../src/dataplane/verdict.ts";
import { Corpus, Episode, minimise, replay } from "./generate.ts";
import type { Plant } from "./node.ts";
import { Rig } from "./rig.ts";
import { parseSequence, parseStep, type Step, sequenceText } from "./steps.ts";

const EPISODES = 3;
const FRAMES = 1200;

/** What went wrong in an episode with a planted defect. */
function found(plant: Plant, seed: number): { message: string; episode: Episode } {
  const episode = new Episode({ seed, frames: 1500, corpus: new Corpus(), plant });
  try {
    episode.run();
  } catch (error) {
    return { message: error instanceof Error ? error.message : String(error), episode };
  }
  return { message: "", episode };
}

test("no sequence of mutated frames makes an oracle speak", () => {
  const corpus = new Corpus().load();
  for (let seed = 1; seed <= EPISODES; seed++) new Episode({ seed, frames: FRAMES, corpus }).run();
  expect(corpus.signatures.size).toBeGreaterThan(300);
});

test("no damaged, repeated or lost record makes an oracle speak", () => {
  const corpus = new Corpus().load();
  for (const seed of [14, 20]) new Episode({ seed, frames: FRAMES, corpus, isForging: true }).run();
});

test("no frame of the corpus makes an oracle speak", () => {
  const { kept } = new Corpus().load();
  for (const family of [0, 1]) {
    const steps = kept.flatMap(({ port, bytes }, i): Step[] => [
      { op: "frame", node: i & 1, port, bytes },
      ...(i % 10 === 9 ? [{ op: "tick", ms: 3 } as const, { op: "replicate" } as const] : []),
    ]);
    expect(replay(family, steps)).toBe("");
  }
});

test.each<[Plant, RegExp]>([
  ["throw", /planted/],
  ["checksum", /wrong/],
  ["leak", /bytes from outside/],
  ["read", /verdict follows bytes outside/],
  ["lost", /neither free nor waiting/],
  ["double", /freed twice/],
  ["stray-write", /wrote into a free frame/],
  ["gauge", /flowsTcpNow/],
  ["immortal", /outlive their time/],
  ["record", /records hold bytes/],
  ["unsound", /must refuse/],
  ["digest", /has another digest/],
])("a planted defect is found: %s", (plant, message) => {
  expect(found(plant, 3).message).toMatch(message);
});

test("a packet that the policy forbids is found when it enters", () => {
  const messages = [1, 2, 3, 4, 5, 6].map((seed) => found("forbidden", seed).message);
  expect(messages.some((message) => /entered although|forbidden port/.test(message))).toBe(true);
});

test("the sequence of a defect is made short, and goes wrong again as text", () => {
  const { episode, message } = found("checksum", 3);
  const { family } = episode.rig;
  const least = minimise(family, episode.steps, message, "checksum", 40);
  expect(least.length).toBeLessThan(episode.steps.length);
  const again = parseSequence(sequenceText(family, least));
  expect(replay(again.family, again.steps, "checksum")).toBe(message);
});

// Sequences that went wrong once, as short as they could be made.
const FOUND: readonly [string, string][] = [
  [
    "a host of a static IPv6 prefix leaves NAT64 with an address of NAT64's pool",
    `family 1
frame 1 0 02535700000002a60500000086dd6000000000180640fd0000100000000000000000000000050064ff9b0000000000000000cb0071090fa2001500000064000001f56002ffff50a5000001030307
tick 20
frame 1 1 02000000020102aac63364fd0806000108000604000202aac63364fdc63364fd02000000020100000000000000000000000000000000000000000000`,
  ],
  [
    "an adjustment whose flow is over as well does not keep the others from expiring",
    `family 1
frame 1 2 02000000020202000000010208004500007d000040004011e24cac100001ac100002cff417c1006900000340655800000000ff538102000000390000000302535700000002a60500000086dd6000000000170640fd00001000000000000000000000000520010db80077000000000000000000010fa1005000000007000000005002ffffc5c80000b2d7fc
frame 1 1 02535701000002a6fe00000086dd600000000017064020010db800770000000000000000000120010db8000e0000cf4900000000000500500fa1000001f40000000b5012ffffc3c00000b2d7fc
frame 1 2 02000000020202000000010208004500007d000040004011e24cac100001ac100002cff417c1006900000340655800000000ff538102000000390000000302535700000002a69900000086dd6000000000170640fd00001000000000000000000000000520010db80077000000000000000000010fa100500000000b000001f85010ffffc3be0000b2d7fc`,
  ],
  [
    "an expectation through NAT64 is found by the packet that it expects",
    `family 1
frame 1 2 02000000020202000000010208004500007b000040004011e24eac100001ac100002c00417c1006700000340655800000000ff538102000000390000000102535700000002a60500000086dd6000000400151140fd0000100000000000000000000000050064ff9b0000000000000000cb0071090fa30fa200150b38000166696c65006f6374657400`,
  ],
  [
    "an idle flow that goes from node to node does not live longer for it",
    `family 0
takeover 3
frame 0 0 02535700000002a60200000086dd600000000018064020010db800100000000000000000000220010db800770000000000000000f60113c413c400000064000001f56002ffff1ff7000001030307
frame 0 1 02535701000002a6fe00000086dd600000000018064020010db800770000000000000000f60120010db800100000000000000000000213c413c4000001f4000000656012ffff1fe7000001030307
frame 0 0 02535700000002a60200000086dd600000000018064020010db800100000000000000000000220010db800770000000000000000f60113c413c400000065000001f56010ffff1fe8000001030307
replicate
takeover 2
frame 1 2 02000000020202000000010208004500007e000040004011e24bac100001ac100002f60117c1006a00000340655800000000ff5381020101000b0000000a02535701000002a6fe00000086dd600000000018064020010db800770000000000000000f60120010db800100000000000000000000213c413c4000001f5000000656010ffff1fe8000001030307
replicate
own 3
export 11
tick 20
replicate
takeover 5
export 11
tick 1
replicate`,
  ],
  [
    "the answer to an echo of zeros has a checksum",
    `family 1
own 2
frame 1 2 020000000202020000000102080045000060000040004011e269ac100001ac100002c00217c1004ca8160340655800000000ff538102000000060000930a02535700000002aa0a0a0002080045000022123440004032e2600a0a0002cb0071090000010200000001736563726574
tick 100
frame 1 1 02535701000002aac63364fe080045000022123440004032c22ecb007109c633640a0000010200000001736563726574000000000000000000000000
frame 1 0 02000000020002aa0a0a00020806000108000604000202aa0a0a00020a0a000202000000020000000000000000000000000000000000000000000000
frame 1 2 02000000020202000000010208004500005e000040004011e26bac100001ac100002c00217c1004a00000340655800000000ff538102000000120000000a02535700000002aa0a0a000208004500002012344000400114930a0a00020a0a00010800f7ff0000000000000000`,
  ],
];

test.each(FOUND)("%s", (_, sequence) => {
  const { family, steps } = parseSequence(sequence);
  expect(replay(family, steps)).toBe("");
});

test("a redirected frame that was cut is refused", () => {
  const rig = new Rig(1);
  rig.step(
    parseStep(
      "frame 0 2 02000000010202000000020208004500005f0000000d4011225eac100002ac100001cf1717c1004b00000340655800000000ff538102000000160000000402535700000002aa0a0a008208004500002112344000401143030a0a0082cb0010090fa00035000dc51012375c81a6",
    ),
  );
  expect(rig.verdict).toBe(dropVerdict("fragment"));
});

test("a rig starts with nothing to complain of", () => {
  for (const family of [0, 1]) new Rig(family).finish();
});
