/** Membership arithmetic (Raft section 6; thesis sections 4.1 to 4.3). */
import { type ConfChange, ConfChangeError, type ConfChangeSingle, type ConfState } from "raft-ts";
import { expect, test } from "vitest";
import { applyChange } from "../../../src/confchange/changer.ts";
import { restore, toConfState } from "../../../src/confchange/restore.ts";
import { Random } from "../../support/random.ts";

function conf(voters: number[], rest: Partial<ConfState> = {}): ConfState {
  return { voters, votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false, ...rest };
}

/** "+1" adds a voter, "~1" a learner, "-1" removes. */
function change(text: string, transition: ConfChange["transition"] = "auto"): ConfChange {
  const types = { "+": "addVoter", "~": "addLearner", "-": "remove" } as const;
  const changes = text
    .split(" ")
    .filter((s) => s !== "")
    .map((s): ConfChangeSingle => ({ type: types[s[0] as keyof typeof types], id: Number(s.slice(1)) }));
  return { changes, transition };
}

const apply = (from: ConfState, cc: ConfChange): ConfState => toConfState(applyChange(restore(from), cc));

const LEGAL: { from: ConfState; cc: ConfChange; to: ConfState }[] = [
  { from: conf([1]), cc: change("+2"), to: conf([1, 2]) },
  { from: conf([1, 2]), cc: change("-2"), to: conf([1]) },
  { from: conf([1]), cc: change("~2"), to: conf([1], { learners: [2] }) },
  { from: conf([1], { learners: [2] }), cc: change("+2"), to: conf([1, 2]) },
  { from: conf([1, 2]), cc: change("~2"), to: conf([1], { learners: [2] }) },
  { from: conf([1], { learners: [2] }), cc: change("-2"), to: conf([1]) },
  { from: conf([1]), cc: change("+1"), to: conf([1]) },
  { from: conf([1]), cc: change("-9"), to: conf([1]) },
  { from: conf([1], { learners: [2] }), cc: change("~2"), to: conf([1], { learners: [2] }) },
  // One change is joint only when asked for.
  {
    from: conf([1]),
    cc: change("+2", "implicit"),
    to: conf([1, 2], { votersOutgoing: [1], autoLeave: true }),
  },
  { from: conf([1]), cc: change("+2", "explicit"), to: conf([1, 2], { votersOutgoing: [1] }) },
  // More than one always.
  { from: conf([1]), cc: change("+2 +3"), to: conf([1, 2, 3], { votersOutgoing: [1], autoLeave: true }) },
  {
    from: conf([1, 2, 3]),
    cc: change("-1 +4"),
    to: conf([2, 3, 4], { votersOutgoing: [1, 2, 3], autoLeave: true }),
  },
  // A voter of the outgoing half cannot be a learner yet.
  {
    from: conf([1, 2, 3]),
    cc: change("~3 +4", "explicit"),
    to: conf([1, 2, 4], { votersOutgoing: [1, 2, 3], learnersNext: [3] }),
  },
  // A new learner can.
  {
    from: conf([1, 2]),
    cc: change("~5 -2", "explicit"),
    to: conf([1], { votersOutgoing: [1, 2], learners: [5] }),
  },
  // Added again after a demotion in the same change.
  { from: conf([1, 2]), cc: change("~2 +2", "explicit"), to: conf([1, 2], { votersOutgoing: [1, 2] }) },
  // Leaving.
  {
    from: conf([1, 2, 4], { votersOutgoing: [1, 2, 3], learnersNext: [3] }),
    cc: change("", "explicit"),
    to: conf([1, 2, 4], { learners: [3] }),
  },
  { from: conf([2], { votersOutgoing: [1], autoLeave: true }), cc: change(""), to: conf([2]) },
];

test.each(LEGAL)("$from.voters $cc.changes ($cc.transition) leads to $to.voters", ({ from, cc, to }) => {
  expect(apply(from, cc)).toEqual(to);
});

const ILLEGAL: { from: ConfState; cc: ConfChange; why: RegExp }[] = [
  { from: conf([1]), cc: change("-1"), why: /last voter/ },
  { from: conf([1]), cc: change("~1"), why: /last voter/ },
  { from: conf([1, 2]), cc: change("-1 -2"), why: /last voter/ },
  { from: conf([1]), cc: change(""), why: /not in one/ },
  { from: conf([1], { votersOutgoing: [2] }), cc: change("+3"), why: /joint/ },
  { from: conf([1], { votersOutgoing: [2] }), cc: change("+3 +4"), why: /already in one/ },
  { from: conf([]), cc: change("+3 +4"), why: /without any voter/ },
];

test.each(ILLEGAL)("$from.voters refuses $cc.changes", ({ from, cc, why }) => {
  expect(() => apply(from, cc)).toThrow(ConfChangeError);
  expect(() => apply(from, cc)).toThrow(why);
});

test("applying a change does not alter the configuration it starts from", () => {
  const before = restore(conf([1, 2, 3], { learners: [4] }));
  applyChange(before, change("+4 -1"));
  expect(toConfState(before)).toEqual(conf([1, 2, 3], { learners: [4] }));
});

test.each([
  conf([1], { learners: [1] }),
  conf([1], { learnersNext: [2] }),
  conf([1], { autoLeave: true }),
  conf([1], { votersOutgoing: [2], learners: [2] }),
  conf([], { learners: [2] }),
  conf([0]),
  conf([1.5]),
])("restore() refuses the contradictory %o", (cs) => {
  expect(() => restore(cs)).toThrow(ConfChangeError);
});

test("whatever a series of changes leads to can be restored, and consecutive majorities overlap", () => {
  const random = new Random(7);
  let current = conf([1, 2, 3]);
  for (let i = 0; i < 3_000; i++) {
    const ids = Array.from(
      { length: random.below(4) },
      () => `${random.pick(["+", "~", "-"])}${1 + random.below(5)}`,
    );
    const cc = change(ids.join(" "), random.pick(["auto", "implicit", "explicit"]));
    try {
      const next = apply(current, cc);
      expect(toConfState(restore(next))).toEqual(next);
      // Any majority of the old voters meets any decision of the new configuration.
      const isSimple = next.votersOutgoing.length === 0 && current.votersOutgoing.length === 0;
      if (isSimple) {
        const gone = current.voters.filter((id) => !next.voters.includes(id)).length;
        const come = next.voters.filter((id) => !current.voters.includes(id)).length;
        expect(gone + come).toBeLessThanOrEqual(1);
      } else if (next.votersOutgoing.length > 0) {
        expect(next.votersOutgoing).toEqual(current.voters);
      }
      current = next;
    } catch (error) {
      expect(error).toBeInstanceOf(ConfChangeError);
    }
  }
});
