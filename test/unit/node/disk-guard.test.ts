import { describe, expect, test } from "vitest";
import type { Member, MemberState } from "../../../cluster/control/model.ts";
import { DiskGuard } from "../../../src/node/disk-guard.ts";

const SELF = 1;
const MIN = 64;

function members(own: MemberState, ...peers: readonly MemberState[]): Member[] {
  const states = [own, ...peers].map((state, i) => ({ id: i + 1, role: "node" as const, state }));
  return [...states, { id: 9, role: "witness" as const, state: "active" as const }].map((member) => ({
    ...member,
    name: `m${member.id}`,
    address: `192.0.2.${member.id}`,
    weight: 1,
    incarnation: 1,
  }));
}

/** A guard that asked for a drain, for want of room. */
function givenUp(): DiskGuard {
  const guard = new DiskGuard();
  guard.measure(MIN - 1, MIN);
  expect(guard.next(SELF, members("active", "active"))?.state).toBe("draining");
  return guard;
}

describe("measure()", () => {
  test("less than the limit is short, the limit is not", () => {
    const guard = new DiskGuard();
    expect([guard.measure(MIN, MIN), guard.isShort]).toEqual([false, false]);
    expect([guard.measure(MIN - 1, MIN), guard.isShort]).toEqual([true, true]);
    expect([guard.measure(0, MIN), guard.isShort]).toEqual([false, true]);
  });

  test("what was short is well again with the limit and a half, not before", () => {
    const guard = new DiskGuard();
    guard.measure(0, MIN);
    expect([guard.measure(1.5 * MIN - 1, MIN), guard.isShort]).toEqual([false, true]);
    expect([guard.measure(1.5 * MIN, MIN), guard.isShort]).toEqual([true, false]);
  });

  test("a limit of 0 is never reached", () => {
    const guard = new DiskGuard();
    expect([guard.measure(0, 0), guard.isShort]).toEqual([false, false]);
  });
});

describe("a node whose disk is nearly full", () => {
  test("gives up its slots to another active node, also while it joins", () => {
    for (const own of ["active", "joining"] as const) {
      const guard = new DiskGuard();
      guard.measure(0, MIN);
      expect(guard.next(SELF, members(own, "down", "active"))).toEqual({
        type: "setState",
        node: SELF,
        state: "draining",
      });
    }
  });

  test.each<[string, readonly Member[]]>([
    ["it is the last active node", members("active", "down", "drained")],
    ["it is the only node, with a witness", members("active")],
    ["it is down", members("down", "active")],
    ["it is no member", []],
  ])("stays where it is when %s", (_why, all) => {
    const guard = new DiskGuard();
    guard.measure(0, MIN);
    expect(guard.next(SELF, all)).toBe(undefined);
  });

  test("stays away while there is no room", () => {
    const guard = givenUp();
    guard.measure(MIN, MIN);
    expect(guard.next(SELF, members("drained", "active"))).toBe(undefined);
  });

  test("takes part again when there is room, or when nobody else is active", () => {
    const roomy = givenUp();
    roomy.measure(2 * MIN, MIN);
    expect(roomy.next(SELF, members("draining", "active"))?.state).toBe("active");
    expect(roomy.next(SELF, members("drained", "active"))?.state).toBe("joining");
    expect(givenUp().next(SELF, members("drained", "down"))?.state).toBe("joining");
  });

  test("never ends a drain that somebody else asked for", () => {
    const guard = new DiskGuard();
    guard.measure(0, MIN);
    expect(guard.next(SELF, members("drained", "active"))).toBe(undefined);
    guard.measure(2 * MIN, MIN);
    expect(guard.next(SELF, members("drained", "active"))).toBe(undefined);
  });

  test("a node that is disabled while it is away stays away, until it is enabled", () => {
    for (const own of ["draining", "drained"] as const) {
      const guard = givenUp();
      guard.measure(2 * MIN, MIN);
      const [self, ...others] = members(own, "active");
      expect(guard.next(SELF, [{ ...self!, isDisabled: true }, ...others])).toBe(undefined);
      // Enabling it lets it come back: what is drained after that is somebody else's.
      expect(guard.next(SELF, members("joining", "active"))).toBe(undefined);
      expect(guard.next(SELF, members("drained", "active"))).toBe(undefined);
    }
  });

  test("a drain that the cluster refused is not one of its own", () => {
    const guard = givenUp();
    guard.refused();
    guard.measure(2 * MIN, MIN);
    expect(guard.next(SELF, members("drained", "active"))).toBe(undefined);
  });
});
