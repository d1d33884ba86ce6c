import { expect, test } from "vitest";
import type { MemberEvent } from "../../../../chaos/drill/model.ts";
import { timingOf } from "../../../../chaos/drill/timing.ts";

function event(atMs: number, member: string, kind: MemberEvent["kind"], epoch = 0, node = 0): MemberEvent {
  return { atMs, wallMs: 0, kind, epoch, node, slots: [], text: "", member, order: 0 };
}

const facts = { victim: { id: 1, name: "fw1" }, faultAtMs: 100, epochBefore: 4 };

test("timingOf() takes the first judgement, the first commit and the last activation of that epoch", () => {
  const events = [
    event(112, "witness", "peer-down", 4, 1),
    event(110, "fw2", "peer-down", 4, 1),
    event(111, "fw2", "steered", 4),
    event(121, "witness", "epoch-committed", 5),
    event(120, "fw2", "epoch-committed", 5),
    event(125, "fw2", "slots-gained", 5),
    event(127, "fw2", "slots-gained", 5),
    event(190, "fw2", "slots-gained", 6),
  ];
  expect(timingOf({ ...facts, events })).toEqual({ detectMs: 10, steerMs: 11, decideMs: 20, activateMs: 27 });
});

test("timingOf() ignores what was before the fault, what the victim says, and other peers' deaths", () => {
  const events = [
    event(90, "fw2", "peer-down", 4, 1),
    event(105, "fw1", "epoch-committed", 5),
    event(106, "fw2", "peer-down", 4, 3),
    event(107, "fw2", "epoch-committed", 4),
  ];
  expect(timingOf({ ...facts, events })).toEqual({
    detectMs: null,
    steerMs: null,
    decideMs: null,
    activateMs: null,
  });
});
