/** Majority decisions of one set of voters (Raft section 5.2 and 5.3). */
import { expect, test } from "vitest";
import { committedIndex, majorityOf, voteResult } from "../../../src/quorum/majority.ts";

test.each([
  [1, 1],
  [2, 2],
  [3, 2],
  [4, 3],
  [5, 3],
  [8, 5],
])("a majority of %i is %i", (size, majority) => {
  expect(majorityOf(size)).toBe(majority);
});

const COMMITTED: { voters: number[]; acked: Record<number, number>; index: number }[] = [
  { voters: [], acked: {}, index: Number.POSITIVE_INFINITY },
  { voters: [1], acked: {}, index: 0 },
  { voters: [1], acked: { 1: 12 }, index: 12 },
  { voters: [1, 2], acked: { 1: 100, 2: 101 }, index: 100 },
  { voters: [1, 2], acked: { 1: 100 }, index: 0 },
  { voters: [1, 2, 3], acked: { 1: 10, 2: 12, 3: 11 }, index: 11 },
  { voters: [1, 2, 3], acked: { 1: 10, 2: 12 }, index: 10 },
  { voters: [1, 2, 3], acked: { 2: 12 }, index: 0 },
  { voters: [1, 2, 3, 4], acked: { 1: 4, 2: 3, 3: 2, 4: 1 }, index: 2 },
  { voters: [1, 2, 3, 4, 5], acked: { 1: 5, 2: 4, 3: 3, 4: 2, 5: 1 }, index: 3 },
  { voters: [1, 2, 3, 4, 5], acked: { 1: 101, 2: 104, 3: 103, 4: 103 }, index: 103 },
  { voters: [1, 2, 3], acked: { 1: 1, 9: 100, 8: 100 }, index: 0 },
];

test.each(COMMITTED)("voters $voters with acks $acked have committed $index", ({ voters, acked, index }) => {
  expect(committedIndex(voters, (id) => acked[id])).toBe(index);
});

const VOTES: { voters: number[]; yes: number[]; no: number[]; result: string }[] = [
  { voters: [], yes: [], no: [], result: "won" },
  { voters: [1], yes: [], no: [], result: "pending" },
  { voters: [1], yes: [1], no: [], result: "won" },
  { voters: [1], yes: [], no: [1], result: "lost" },
  { voters: [1, 2], yes: [1], no: [], result: "pending" },
  { voters: [1, 2], yes: [1], no: [2], result: "lost" },
  { voters: [1, 2, 3], yes: [1, 2], no: [], result: "won" },
  { voters: [1, 2, 3], yes: [1], no: [2], result: "pending" },
  { voters: [1, 2, 3], yes: [1], no: [2, 3], result: "lost" },
  { voters: [1, 2, 3], yes: [7, 8, 9], no: [], result: "pending" },
  { voters: [1, 2, 3, 4], yes: [1, 2], no: [3, 4], result: "lost" },
  { voters: [1, 2, 3, 4, 5], yes: [1, 2], no: [3, 4], result: "pending" },
];

test.each(VOTES)("voters $voters with yes $yes and no $no: $result", ({ voters, yes, no, result }) => {
  const votes = new Map([...yes.map((id) => [id, true] as const), ...no.map((id) => [id, false] as const)]);
  expect(voteResult(voters, votes)).toBe(result);
});

test("committedIndex() agrees with counting for all small cases", () => {
  for (let size = 1; size <= 5; size++) {
    const voters = Array.from({ length: size }, (_, i) => i + 1);
    for (let code = 0; code < 3 ** size; code++) {
      const acked = (id: number) => Math.floor(code / 3 ** (id - 1)) % 3;
      const counted = [2, 1, 0].find((i) => voters.filter((id) => acked(id) >= i).length * 2 > size);
      expect(committedIndex(voters, acked)).toBe(counted);
    }
  }
});
