import { describe, expect, test } from "vitest";
import type { Member, MemberState } from "../../../cluster/control/model.ts";
import { type LinkFacts, LinkTracker } from "../../../src/node/link-tracker.ts";

const SELF = 1;
const INSIDE = 1;
const OUTSIDE = 2;

function member(id: number, state: MemberState, role: Member["role"] = "node"): Member {
  return { id, name: `fw${id}`, role, address: `192.0.2.${id}`, weight: 1, state, incarnation: 1 };
}

interface Scene {
  readonly own?: MemberState;
  readonly peers?: readonly MemberState[];
  readonly lost?: readonly number[];
  /** Lost links of member 2, 3, …; undefined: no answer. */
  readonly lostByPeer?: readonly (readonly number[] | undefined)[];
}

function facts({ own = "active", peers = ["active"], lost = [], lostByPeer = [[]] }: Scene): LinkFacts {
  const answers = lostByPeer.flatMap((links, i) =>
    links === undefined ? [] : [[i + 2, new Set(links)] as const],
  );
  return {
    selfId: SELF,
    members: [
      member(SELF, own),
      ...peers.map((state, i) => member(i + 2, state)),
      member(9, "active", "witness"),
    ],
    lost: new Set(lost),
    lostByPeer: new Map(answers),
  };
}

/** What the tracker of a node that takes part wants in this scene. */
function wish(scene: Scene): string | undefined {
  return new LinkTracker().next(facts(scene))?.state;
}

/** A tracker that has given up for a lost inside link. */
function givenUp(): LinkTracker {
  const tracker = new LinkTracker();
  expect(tracker.next(facts({ lost: [INSIDE] }))?.state).toBe("draining");
  return tracker;
}

describe("a node that lost a carrier", () => {
  test("gives up when another active node has all its links and that one", () => {
    expect(wish({ lost: [INSIDE] })).toBe("draining");
    expect(wish({ lost: [INSIDE], own: "joining" })).toBe("draining");
    expect(wish({ lost: [INSIDE, OUTSIDE], lostByPeer: [[OUTSIDE]] })).toBe("draining");
    expect(
      wish({ lost: [INSIDE], peers: ["active", "active"], lostByPeer: [[INSIDE], []] }),
      "one of three",
    ).toBe("draining");
  });

  test.each<[string, Scene]>([
    ["all nodes lost the same link", { lost: [INSIDE], lostByPeer: [[INSIDE]] }],
    ["the other one lost another link", { lost: [INSIDE], lostByPeer: [[OUTSIDE]] }],
    ["the other one lost more", { lost: [INSIDE], lostByPeer: [[INSIDE, OUTSIDE]] }],
    ["the other one does not answer", { lost: [INSIDE], lostByPeer: [undefined] }],
    ["the other one is joining", { lost: [INSIDE], peers: ["joining"] }],
    ["the other one is drained", { lost: [INSIDE], peers: ["drained"] }],
    ["the other one is down", { lost: [INSIDE], peers: ["down"] }],
    ["there is only a witness", { lost: [INSIDE], peers: [], lostByPeer: [] }],
    ["it is down itself", { lost: [INSIDE], own: "down" }],
    ["nothing is lost after all", {}],
  ])("keeps its slots when %s", (_why, scene) => {
    expect(wish(scene)).toBeUndefined();
  });
});

describe("a node that gave up", () => {
  test("takes part again when its carriers are back, drained or not yet", () => {
    expect(givenUp().next(facts({ own: "drained" }))?.state).toBe("joining");
    expect(givenUp().next(facts({ own: "draining" }))?.state).toBe("active");
  });

  test("stays away while another has more, or does not answer", () => {
    const tracker = givenUp();
    expect(tracker.next(facts({ own: "draining", lost: [INSIDE] }))).toBeUndefined();
    expect(tracker.next(facts({ own: "drained", lost: [INSIDE], lostByPeer: [undefined] }))).toBeUndefined();
    expect(tracker.hasGivenUp).toBe(true);
  });

  test.each<[string, Scene]>([
    ["lost the same link later", { lostByPeer: [[INSIDE]] }],
    ["died", { peers: ["down"] }],
    ["is drained by its operator", { peers: ["draining"] }],
  ])("takes part again when the one that has its slots %s", (_why, scene) => {
    expect(givenUp().next(facts({ own: "drained", lost: [INSIDE], ...scene }))?.state).toBe("joining");
  });

  test("does so for its own drain alone, not for one that an operator asks for later", () => {
    const tracker = givenUp();
    expect(tracker.next(facts({ own: "drained" }))?.state).toBe("joining");
    expect(tracker.next(facts({ own: "joining" }))).toBeUndefined();
    expect(tracker.next(facts({ own: "active" }))).toBeUndefined();
    expect(tracker.next(facts({ own: "draining" }))).toBeUndefined();
    expect(tracker.next(facts({ own: "drained" }))).toBeUndefined();
  });

  test("asks again when nobody decided", () => {
    const tracker = givenUp();
    expect(tracker.next(facts({ lost: [INSIDE] }))?.state).toBe("draining");
    expect(tracker.next(facts({ own: "drained" }))?.state).toBe("joining");
    expect(tracker.next(facts({ own: "drained" }))?.state).toBe("joining");
  });
});

test("a node that is disabled while it is away stays away: the drain is its operator's then", () => {
  for (const own of ["draining", "drained"] as const) {
    const tracker = givenUp();
    const { members, ...scene } = facts({ own });
    const [self, ...others] = members;
    expect(tracker.next({ ...scene, members: [{ ...self!, isDisabled: true }, ...others] })).toBeUndefined();
    expect(tracker.hasGivenUp).toBe(false);
  }
});

test("a node whose operator drained it stays drained, whatever its carriers do", () => {
  const tracker = new LinkTracker();
  for (const lost of [[INSIDE], []]) {
    for (const own of ["draining", "drained"] as const) {
      expect(tracker.next(facts({ own, lost }))).toBeUndefined();
    }
  }
});

test("a node that was refused forgets that it asked", () => {
  const tracker = givenUp();
  tracker.refused();
  expect(tracker.next(facts({ own: "drained" }))).toBeUndefined();
});
