/** Types of what travels in heartbeats: each file owns its own, and two must never have the same number. */
import { expect, test } from "vitest";
import { MESSAGE_BFD } from "../../../../cluster/liveness/heartbeats.ts";
import { MESSAGE_PACE } from "../../../../cluster/liveness/pace.ts";
import * as takeover from "../../../../cluster/takeover/messages.ts";

test("every type of message in a heartbeat has a number of its own", () => {
  const others = Object.entries(takeover).filter(([name]) => name.startsWith("MESSAGE_"));
  const numbers = [MESSAGE_BFD, MESSAGE_PACE, ...others.map(([, number]) => number)];
  expect(others.length).toBeGreaterThanOrEqual(5);
  expect(new Set(numbers).size).toBe(numbers.length);
});
