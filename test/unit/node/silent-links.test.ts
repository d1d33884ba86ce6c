import { expect, test } from "vitest";
import type { LinkHearing } from "../../../cluster/liveness/model.ts";
import { isOurFault } from "../../../src/node/silent-links.ts";

const SELF = 1;

const hears = (nodes: readonly number[], hasOthers: boolean): LinkHearing => ({ link: 1, nodes, hasOthers });
const verdict = (ours: LinkHearing, peers: Readonly<Record<number, LinkHearing>>): boolean =>
  isOurFault(SELF, ours, true, new Map(Object.entries(peers).map(([id, each]) => [Number(id), each])));

test.each([
  ["our wire is dead, hosts speak to the other one", hears([], false), { 2: hears([], true) }],
  [
    "our wire is dead, two others hear each other",
    hears([], false),
    { 2: hears([3], false), 3: hears([2], false) },
  ],
  ["we hear nothing, though we are heard", hears([], false), { 2: hears([1], true) }],
  ["nothing of ours arrives, hosts speak to the other one", hears([2], true), { 2: hears([], true) }],
  [
    "nothing of ours arrives at two who hear each other",
    hears([2, 3], false),
    { 2: hears([3], false), 3: hears([2], false) },
  ],
])("our fault: %s", (_, ours, peers) => {
  expect(verdict(ours, peers)).toBe(true);
});

test.each([
  ["nobody answers", hears([], false), {}],
  ["nobody hears anybody", hears([], false), { 2: hears([], false) }],
  ["we are the only one whom the other hears", hears([], false), { 2: hears([1], false) }],
  ["the other one is deaf", hears([], true), { 2: hears([], false) }],
  ["nothing of the other one arrives", hears([], true), { 2: hears([1], true) }],
  ["the other one is deaf and heard", hears([2], true), { 2: hears([], false) }],
  ["each hears hosts of its own: the switch is in two", hears([], true), { 2: hears([], true) }],
  ["one of two does not hear us", hears([2, 3], true), { 2: hears([3], true), 3: hears([1, 2], true) }],
])("not our fault, or nobody can tell: %s", (_, ours, peers) => {
  expect(verdict(ours, peers)).toBe(false);
});

test("of two nodes never both are to blame", () => {
  const all = [[], [0]].flatMap((nodes) => [false, true].map((hasOthers) => ({ nodes, hasOthers })));
  for (const a of all) {
    for (const b of all) {
      const one = hears(a.nodes.length > 0 ? [2] : [], a.hasOthers);
      const two = hears(b.nodes.length > 0 ? [1] : [], b.hasOthers);
      const isOne = isOurFault(1, one, true, new Map([[2, two]]));
      const isTwo = isOurFault(2, two, true, new Map([[1, one]]));
      expect({ one, two, both: isOne && isTwo }).toEqual({ one, two, both: false });
    }
  }
});

test("who hears nothing and has asked nobody may have nobody to hear", () => {
  expect(isOurFault(SELF, hears([], false), false, new Map([[2, hears([], true)]]))).toBe(false);
});
