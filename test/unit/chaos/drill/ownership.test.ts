import fc from "fast-check";
import { expect, test } from "vitest";
import type { MemberEvent } from "../../../../chaos/drill/model.ts";
import { overlapsOf, type Reign, reigns } from "../../../../chaos/drill/ownership.ts";

let written = 0;

/** Written in the order of the calls. */
function event(atMs: number, member: string, kind: MemberEvent["kind"], slots: number[] = []): MemberEvent {
  return { atMs, wallMs: 0, kind, epoch: 1, node: 0, slots, text: "", member, order: written++ };
}

const window = { startMs: 0, endMs: 100, deaths: [] };

test("a hand-over ends one reign and begins the next", () => {
  const found = reigns({
    ...window,
    ownersAtStart: ["fw1"],
    events: [event(40, "fw2", "slots-gained", [0]), event(30, "fw1", "slots-lost", [0])],
  });
  expect(found).toEqual([
    { slot: 0, member: "fw1", fromMs: 0, toMs: 30 },
    { slot: 0, member: "fw2", fromMs: 40, toMs: 100 },
  ]);
  expect(overlapsOf(found, 0)).toEqual([]);
});

test("a killed member decides nothing any more", () => {
  const found = reigns({
    ...window,
    ownersAtStart: ["fw1", "fw2"],
    events: [event(60, "fw2", "slots-gained", [0])],
    deaths: [{ member: "fw1", atMs: 50 }],
  });
  expect(overlapsOf(found, 0)).toEqual([]);
  expect(found).toContainEqual({ slot: 0, member: "fw1", fromMs: 0, toMs: 50 });
});

test("a member that died, came back and died again ruled until its first death, and what it wrote is of its last life", () => {
  const input = {
    ...window,
    ownersAtStart: ["fw1"],
    events: [
      event(12, "fw2", "slots-gained", [0]),
      event(62, "fw1", "fenced"),
      event(65, "fw1", "unfenced"),
      event(70, "fw2", "slots-lost", [0]),
      event(71, "fw1", "slots-gained", [0]),
    ],
    deaths: [
      { member: "fw1", atMs: 10 },
      { member: "fw1", atMs: 50 },
    ],
  };
  const found = reigns(input);
  expect(found.toSorted((a, b) => a.fromMs - b.fromMs)).toEqual([
    { slot: 0, member: "fw1", fromMs: 0, toMs: 10 },
    { slot: 0, member: "fw2", fromMs: 12, toMs: 70 },
    { slot: 0, member: "fw1", fromMs: 71, toMs: 100 },
  ]);
});

test("of a slot that another gained before a death, the dead member, whose journal is gone, had let go", () => {
  const gained = event(40, "fw2", "slots-gained", [0]);
  const killed = { ...window, ownersAtStart: ["fw1", "fw1"], deaths: [{ member: "fw1", atMs: 50 }] };
  const found = reigns({ ...killed, events: [gained] });
  expect(found).toContainEqual({ slot: 0, member: "fw1", fromMs: 0, toMs: 40 });
  expect(found).toContainEqual({ slot: 1, member: "fw1", fromMs: 0, toMs: 50 });
  expect(overlapsOf(found, 0)).toEqual([]);

  const told = reigns({ ...killed, events: [gained, event(10, "fw1", "ready")] });
  expect(overlapsOf(told, 0), "a journal that is there is believed").toHaveLength(1);
});

test("who notes first that its fence ends was fenced before, in that life", () => {
  const events = [
    event(10, "fw2", "slots-gained", [0]),
    event(20, "fw1", "slots-lost", [0]),
    event(30, "fw1", "unfenced"),
  ];
  const input = { ...window, ownersAtStart: ["fw1", "fw1"] };
  const found = reigns({ ...input, events });
  expect(overlapsOf(found, 0)).toEqual([]);
  expect(found).toContainEqual({ slot: 1, member: "fw1", fromMs: 30, toMs: 100 });
  // Otherwise it ruled from the start.
  const started = [...events.slice(0, 2), event(25, "fw1", "started"), event(30, "fw1", "unfenced")];
  expect(overlapsOf(reigns({ ...input, events: started }), 0)).toHaveLength(1);
  const died = { ...input, deaths: [{ member: "fw1", atMs: 25 }] };
  expect(overlapsOf(reigns({ ...died, events }), 0)).toHaveLength(1);
  const twice = [event(5, "fw1", "unfenced"), event(6, "fw1", "fenced")];
  expect(reigns({ ...input, events: twice })).toContainEqual({ slot: 0, member: "fw1", fromMs: 5, toMs: 6 });
});

test("a fenced member decides nothing until it is unfenced, then what it still has", () => {
  const found = reigns({
    ...window,
    ownersAtStart: ["fw1", "fw1"],
    events: [
      event(10, "fw1", "fenced"),
      event(20, "fw2", "slots-gained", [0]),
      event(30, "fw1", "slots-lost", [0]),
      event(40, "fw1", "unfenced"),
    ],
  });
  expect(overlapsOf(found, 0)).toEqual([]);
  expect(found).toContainEqual({ slot: 1, member: "fw1", fromMs: 40, toMs: 100 });
});

test("a slot that is gained before the other let go is an overlap, and says for how long", () => {
  const found = reigns({
    ...window,
    ownersAtStart: ["fw1"],
    events: [event(40, "fw2", "slots-gained", [0]), event(55, "fw1", "fenced")],
  });
  expect(overlapsOf(found, 2)).toEqual([{ slot: 0, members: ["fw1", "fw2"], fromMs: 40, forMs: 15 }]);
});

test("a member that stalls past its lease decides nothing while it stalls", () => {
  const events = [
    event(60, "fw2", "slots-gained", [0]),
    { ...event(90, "fw1", "stall"), text: "the packet worker was late by 45.0 ms" },
    event(90.5, "fw1", "fenced"),
  ];
  const found = reigns({ ...window, ownersAtStart: ["fw1"], events });
  expect(found).toContainEqual({ slot: 0, member: "fw1", fromMs: 0, toMs: 45 });
  expect(overlapsOf(found, 0)).toEqual([]);
  const shorter = events.map((each) => ({ ...each, text: each.text.replace("45.0", "20.0") }));
  expect(overlapsOf(reigns({ ...window, ownersAtStart: ["fw1"], events: shorter }), 0)).toHaveLength(1);
});

test("what a member wrote last holds, whatever the stamps say", () => {
  const events = [
    event(20, "fw2", "slots-lost", [0]),
    event(10, "fw1", "slots-gained", [0]),
    event(60, "fw1", "slots-gained", [1]),
    event(55, "fw1", "slots-lost", [1]),
  ];
  const found = reigns({ ...window, ownersAtStart: ["fw2", "fw2"], events });
  expect(found.filter(({ slot, member }) => slot === 1 && member === "fw1")).toEqual([]);
  expect(overlapsOf(found, 0)).toEqual([{ slot: 0, members: ["fw2", "fw1"], fromMs: 10, forMs: 10 }]);
});

test("an overlap within the stamps' tolerance is none", () => {
  const found = reigns({
    ...window,
    ownersAtStart: ["fw1"],
    events: [event(40, "fw2", "slots-gained", [0]), event(41, "fw1", "slots-lost", [0])],
  });
  expect(overlapsOf(found, 2)).toEqual([]);
});

test("overlapsOf() finds exactly the pairs that share a moment", () => {
  const reign = fc.record({
    slot: fc.nat(1),
    member: fc.constantFrom("fw1", "fw2", "fw3"),
    fromMs: fc.nat(9),
    lengthMs: fc.integer({ min: 1, max: 5 }),
  });
  fc.assert(
    fc.property(fc.array(reign, { maxLength: 8, size: "max" }), (drawn) => {
      const all: Reign[] = drawn.map(({ lengthMs, ...rest }) => ({ ...rest, toMs: rest.fromMs + lengthMs }));
      let shared = 0;
      all.forEach((a, i) => {
        for (const b of all.slice(i + 1)) {
          if (a.slot !== b.slot || a.member === b.member) continue;
          if (Math.min(a.toMs, b.toMs) > Math.max(a.fromMs, b.fromMs)) shared++;
        }
      });
      expect(overlapsOf(all, 0)).toHaveLength(shared);
    }),
  );
});
