/** Joint decisions need both halves (Raft section 6). */
import { expect, test } from "vitest";
import { committedIndex, voteResult, voterIds } from "../../../src/quorum/joint.ts";

const joint = (incoming: number[], outgoing: number[]) => ({
  incoming: new Set(incoming),
  outgoing: new Set(outgoing),
});

test.each([
  { incoming: [1, 2, 3], outgoing: [], acked: { 1: 3, 2: 2, 3: 1 }, index: 2 },
  { incoming: [1, 2, 3], outgoing: [1, 2, 3], acked: { 1: 3, 2: 2, 3: 1 }, index: 2 },
  { incoming: [1, 2, 3], outgoing: [4], acked: { 1: 9, 2: 9, 3: 9 }, index: 0 },
  { incoming: [1, 2, 3], outgoing: [4], acked: { 1: 9, 2: 9, 4: 5 }, index: 5 },
  { incoming: [1, 2], outgoing: [3, 4], acked: { 1: 8, 2: 7, 3: 6, 4: 5 }, index: 5 },
  { incoming: [1, 2, 3], outgoing: [3, 4, 5], acked: { 1: 100, 2: 101, 3: 99, 4: 103 }, index: 99 },
])("$incoming and $outgoing with $acked commit $index", ({ incoming, outgoing, acked, index }) => {
  const acks = new Map(Object.entries(acked).map(([id, i]) => [Number(id), i]));
  expect(committedIndex(joint(incoming, outgoing), (id) => acks.get(id))).toBe(index);
});

test.each([
  { incoming: [1, 2, 3], outgoing: [], yes: [1, 2], no: [], result: "won" },
  { incoming: [1, 2, 3], outgoing: [4], yes: [1, 2, 3], no: [], result: "pending" },
  { incoming: [1, 2, 3], outgoing: [4], yes: [1, 2, 3], no: [4], result: "lost" },
  { incoming: [1, 2, 3], outgoing: [4], yes: [4], no: [1, 2], result: "lost" },
  { incoming: [1, 2, 3], outgoing: [3, 4, 5], yes: [2, 3, 4], no: [], result: "won" },
  { incoming: [1, 2, 3], outgoing: [3, 4, 5], yes: [1, 2], no: [4, 5], result: "lost" },
])("$incoming and $outgoing with yes $yes, no $no: $result", ({ incoming, outgoing, yes, no, result }) => {
  const votes = new Map([...yes.map((id) => [id, true] as const), ...no.map((id) => [id, false] as const)]);
  expect(voteResult(joint(incoming, outgoing), votes)).toBe(result);
});

test("two equal halves decide as one", () => {
  for (let code = 0; code < 3 ** 3; code++) {
    const votes = new Map<number, boolean>();
    for (const id of [1, 2, 3]) {
      const vote = Math.floor(code / 3 ** (id - 1)) % 3;
      if (vote > 0) votes.set(id, vote === 1);
    }
    expect(voteResult(joint([1, 2, 3], [1, 2, 3]), votes)).toBe(voteResult(joint([1, 2, 3], []), votes));
  }
});

test("voterIds() is the ascending union", () => {
  expect(voterIds(joint([5, 1, 3], [4, 3]))).toEqual([1, 3, 4, 5]);
});
