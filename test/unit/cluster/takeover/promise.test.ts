import { expect, test } from "vitest";
import type { Member, MemberState } from "../../../../cluster/control/model.ts";
import { PromiseVoter } from "../../../../cluster/takeover/promise.ts";

const LEASE_MS = 100;
/** 1 % drift and 2 ms margin. */
const PROMISE_MS = 103;
/** Long after the start: nothing is assumed and nothing forgotten any more. */
const T = 10_000;
/** The incarnation that node 1 asks as. */
const LIFE = 3;

function voter(): PromiseVoter {
  const v = new PromiseVoter({ leaseMs: LEASE_MS }, 0);
  v.setCaughtUp();
  return v;
}

function member(state: MemberState, incarnation: number): Pick<Member, "id" | "state" | "incarnation"> {
  return { id: 1, state, incarnation };
}

test("an acknowledgement is a promise from its receipt for the lease plus drift and margin", () => {
  const v = voter();
  expect(v.request(1, 5, LIFE, T)).toBe(true);
  expect(v.fence(1, 5, T + 10).remainingMs).toBe(PROMISE_MS - 10);
  expect(v.fence(1, 5, T + 500).remainingMs).toBe(0);
});

test("a fenced node is refused as long as it knows no more than the fenced epoch", () => {
  const v = voter();
  v.fence(1, 5, T);
  expect(v.request(1, 4, LIFE, T + 1)).toBe(false);
  expect(v.request(1, 5, LIFE, T + 1)).toBe(false);
  expect(v.request(1, 6, LIFE, T + 1)).toBe(true);
  expect(v.request(2, 5, LIFE, T + 1)).toBe(true);
});

test("promises under later epochs do not hold a fence up", () => {
  const v = voter();
  v.request(1, 5, LIFE, T);
  v.request(1, 6, LIFE, T + 50);
  expect(v.fence(1, 5, T + 60).remainingMs).toBe(PROMISE_MS - 60);
  expect(v.fence(1, 6, T + 60).remainingMs).toBe(PROMISE_MS - 10);
});

test("a fence lapses after ten leases unless it is refreshed", () => {
  const v = voter();
  v.fence(1, 5, T);
  v.fence(1, 5, T + 900);
  expect(v.request(1, 5, LIFE, T + 1100)).toBe(false);
  expect(v.request(1, 5, LIFE, T + 1900)).toBe(true);
});

test("two askers' fences add up to the higher epoch", () => {
  const v = voter();
  v.fence(1, 7, T);
  expect(v.fence(1, 5, T + 1).epoch).toBe(7);
  expect(v.request(1, 7, LIFE, T + 2)).toBe(false);
});

test("after its start a voter assumes a full lease to everybody", () => {
  const v = new PromiseVoter({ leaseMs: LEASE_MS }, 1000);
  expect(v.fence(1, 9, 1003).remainingMs).toBe(PROMISE_MS - 3);
});

test("after its start a voter acknowledges nobody while a forgotten fence may still be trusted", () => {
  const v = new PromiseVoter({ leaseMs: LEASE_MS }, 1000);
  v.setCaughtUp();
  expect(v.request(1, 9, LIFE, 1000 + 3 * LEASE_MS)).toBe(false);
  expect(v.request(1, 9, LIFE, 1000 + 3.1 * LEASE_MS)).toBe(true);
});

test("a voter acknowledges nobody before it has caught up with the cluster", () => {
  const v = new PromiseVoter({ leaseMs: LEASE_MS }, 0);
  expect(v.request(1, 9, LIFE, T)).toBe(false);
  v.setCaughtUp();
  expect(v.request(1, 9, LIFE, T)).toBe(true);
});

test("a node that is down in the applied state is refused for good, and the reply says so", () => {
  const v = voter();
  v.observe(8, [member("down", LIFE)]);
  expect(v.request(1, 8, LIFE, T)).toBe(false);
  expect(v.fence(1, 7, T).knownEpoch).toBe(8);
  v.observe(9, [member("joining", LIFE)]);
  expect(v.request(1, 9, LIFE, T)).toBe(true);
  expect(v.fence(1, 7, T).knownEpoch).toBe(0);
});

test("a life that ended is refused for good, though the node is up again and its fence has lapsed", () => {
  const v = voter();
  v.observe(7, [member("active", LIFE)]);
  v.fence(1, 7, T);
  v.observe(8, [member("down", LIFE)]);
  v.observe(8, [member("joining", LIFE + 1)]);
  const late = T + 11 * LEASE_MS;
  expect(v.isFenced(1, late)).toBe(false);
  expect(v.request(1, 7, LIFE, late)).toBe(false);
  expect(v.request(1, 8, LIFE + 1, late)).toBe(true);
});

test("a voter that has not applied the newest life yet acknowledges it", () => {
  const v = voter();
  v.observe(7, [member("active", LIFE)]);
  expect(v.request(1, 7, LIFE + 1, T)).toBe(true);
});

test("the reply tells the highest epoch that the node has shown, refused or not", () => {
  const v = voter();
  v.fence(1, 9, T);
  v.request(1, 6, LIFE, T);
  v.request(1, 4, LIFE, T);
  expect(v.fence(1, 9, T).seenEpoch).toBe(6);
});

test("promises under many epochs are merged to the safe side", () => {
  const v = voter();
  for (let epoch = 1; epoch <= 30; epoch++) v.request(1, epoch, LIFE, T + epoch);
  // Epoch 1 was merged with later ones: it may look longer, never shorter.
  expect(v.fence(1, 1, T + 31).remainingMs).toBeGreaterThanOrEqual(PROMISE_MS - 30);
  expect(v.fence(1, 30, T + 31).remainingMs).toBe(PROMISE_MS - 1);
});
