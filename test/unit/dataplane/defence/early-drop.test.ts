import { describe, expect, test } from "vitest";
import { seededRandom } from "../../../../src/base/env.ts";
import { EarlyDrop } from "../../../../src/dataplane/defence/early-drop.ts";
import {
  D_PUBLISHED_AT,
  F_COMMIT,
  F_META,
  FLAG_REPLIED,
  NONE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "../../../../src/dataplane/flow-layout.ts";
import { FlowTable } from "../../../../src/dataplane/flow-table.ts";
import {
  TCP_CLOSE_WAIT,
  TCP_CLOSED,
  TCP_ESTABLISHED,
  TCP_FIN_WAIT,
  TCP_LAST_ACK,
  TCP_SYN_RECEIVED,
  TCP_SYN_SENT,
  TCP_TIME_WAIT,
} from "../../../../src/dataplane/tcp-state.ts";
import { TEST_KEY } from "../world.ts";
import { putFlow, type TestFlow } from "./flows.ts";

function rig(capacity: number, isOurs = (_slot: number) => true) {
  const table = new FlowTable(capacity, TEST_KEY);
  return { table, drop: new EarlyDrop(table, isOurs, seededRandom(1)) };
}

describe("a flow that may go", () => {
  test.each<[string, TestFlow]>([
    ["TCP without an answer", { state: TCP_SYN_SENT }],
    ["TCP in its handshake", { state: TCP_SYN_RECEIVED }],
    ["TCP in TIME-WAIT", { state: TCP_TIME_WAIT }],
    ["TCP that was reset", { state: TCP_CLOSED }],
    ["UDP without a reply", { protocol: 17 }],
    ["ICMP", { protocol: 1, flags: FLAG_REPLIED }],
    ["GRE without a reply", { protocol: 47 }],
  ])("%s", (_, flow) => {
    const { table, drop } = rig(4);
    const row = putFlow(table, flow);
    expect(drop.choose()).toBe(row);
  });
});

describe("a flow that never goes", () => {
  test.each<[string, TestFlow]>([
    ["TCP that is established", { state: TCP_ESTABLISHED }],
    ["TCP that one side closed", { state: TCP_FIN_WAIT }],
    ["TCP that may still carry data one way", { state: TCP_CLOSE_WAIT }],
    ["TCP whose last FIN is not acknowledged", { state: TCP_LAST_ACK }],
    ["UDP with a reply", { protocol: 17, flags: FLAG_REPLIED }],
    ["GRE with a reply", { protocol: 47, flags: FLAG_REPLIED }],
    ["a binding of endpoint-independent NAT", { protocol: 200 }],
    ["an expectation", { protocol: 203 }],
    ["a sequence adjustment", { protocol: 205 }],
    ["a flow of another node's slot", { state: TCP_SYN_SENT, slot: 1 }],
  ])("%s", (_, flow) => {
    const { table, drop } = rig(4, (slot) => slot === 0);
    putFlow(table, flow);
    expect(drop.choose()).toBe(NONE);
  });

  test("one whose first packets wait for the backup", () => {
    const { table, drop } = rig(4);
    const row = putFlow(table, { state: TCP_SYN_SENT });
    table.words[row * ROW_WORDS + F_COMMIT] = 2;
    expect(drop.choose()).toBe(NONE);
  });

  test("a row that is free", () => {
    const { table, drop } = rig(4);
    table.remove(putFlow(table, { state: TCP_SYN_SENT }));
    expect(drop.choose()).toBe(NONE);
  });
});

test("those that were quiet for longest go first, whatever their deadlines, and the younger half is spared", () => {
  const { table, drop } = rig(4);
  const old = putFlow(table, { protocol: 17, createdAtMs: 0 });
  const older = putFlow(table, { protocol: 17, createdAtMs: 10 });
  const newer = putFlow(table, { protocol: 17, createdAtMs: 20 });
  // An unreplied stream that goes on: it was published again just now.
  table.doubles[old * ROW_DOUBLES + D_PUBLISHED_AT] = 900;
  expect(drop.choose()).toBe(older);
  table.remove(older);
  expect(drop.choose()).toBe(newer);
});

test("what is over goes before what may still become something", () => {
  const { table, drop } = rig(2);
  putFlow(table, { state: TCP_SYN_SENT, createdAtMs: 0 });
  const over = putFlow(table, { state: TCP_TIME_WAIT, createdAtMs: 100 });
  expect(drop.choose()).toBe(over);
});

test("a victim that was found earlier and has changed since is spared", () => {
  const { table, drop } = rig(2);
  const first = putFlow(table, { protocol: 17, createdAtMs: 0 });
  const second = putFlow(table, { protocol: 17, createdAtMs: 1 });
  expect(drop.choose()).toBe(first);
  table.words[first * ROW_WORDS + F_META] = table.words[first * ROW_WORDS + F_META]! | FLAG_REPLIED;
  expect(drop.choose()).toBe(second);
  table.doubles[second * ROW_DOUBLES + D_PUBLISHED_AT] = 50;
  table.words[first * ROW_WORDS + F_META] = table.words[first * ROW_WORDS + F_META]! & ~FLAG_REPLIED;
  expect(drop.choose()).toBe(first);
});
