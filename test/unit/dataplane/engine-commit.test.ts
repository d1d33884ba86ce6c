/**
 * Which first packets wait for the backup, by the `commit` of their rule and by what they are (docs/policy.md).
 */
import { expect, test } from "vitest";
import { COMMIT_ASYNC, COMMIT_DEFAULT, COMMIT_SYNC } from "../../../src/dataplane/policy-model.ts";
import { slotOfAddress } from "../../../src/dataplane/slot.ts";
import { echo, tcp, udp, words } from "./frames.ts";
import { Pair, SLOTS } from "./pair.ts";
import { LAB_POLICY, PORT_INSIDE, PORT_OUTSIDE, TEST_KEY } from "./world.ts";

const SERVER = "198.51.100.100";
/** A client whose slot is node 1's, also when its packets come as they are. */
const CLIENT = Array.from({ length: 200 }, (_, i) => `10.10.0.${i + 2}`).find(
  (address) => slotOfAddress(TEST_KEY, SLOTS, words(address), 0) % 2 === 0,
)!;

const FIRST = {
  tcp: tcp({ from: CLIENT, to: SERVER, sport: 4000, dport: 80, flags: "S" }),
  udp: udp({ from: CLIENT, to: SERVER, sport: 4000, dport: 53 }),
  echo: echo({ from: CLIENT, to: SERVER, id: 7 }),
} as const;

function pairOf(commit: number, isTranslated: boolean): Pair {
  const { rules, snat } = LAB_POLICY;
  return new Pair({
    ...LAB_POLICY,
    rules: rules.map((each) => ({ ...each, commit })),
    snat: isTranslated ? snat : [],
  });
}

test.each([
  [COMMIT_DEFAULT, "tcp", true],
  [COMMIT_DEFAULT, "tcp", false],
  [COMMIT_DEFAULT, "udp", true],
  [COMMIT_DEFAULT, "echo", true],
  [COMMIT_SYNC, "tcp", false],
  [COMMIT_SYNC, "udp", false],
  [COMMIT_SYNC, "echo", false],
] as const)(
  "commit %i: a first %s packet (translated: %s) waits until the backup has the flow",
  (commit, kind, isTranslated) => {
    const pair = pairOf(commit, isTranslated);
    pair.one.packet(PORT_INSIDE, FIRST[kind]);
    expect([pair.one.take().length, pair.one.count("heldNow")]).toEqual([0, 1]);
    pair.replicate(pair.one);
    pair.acknowledge(pair.one);
    expect(pair.one.takeOne().port).toBe(PORT_OUTSIDE);
    expect([pair.one.count("heldCommitted"), pair.two.table.used]).toEqual([1, 1]);
  },
);

test.each([
  [COMMIT_DEFAULT, "udp", false],
  [COMMIT_DEFAULT, "echo", false],
  [COMMIT_ASYNC, "tcp", true],
  [COMMIT_ASYNC, "tcp", false],
  [COMMIT_ASYNC, "udp", true],
  [COMMIT_ASYNC, "echo", true],
] as const)(
  "commit %i: a first %s packet (translated: %s) leaves at once, and its flow is replicated all the same",
  (commit, kind, isTranslated) => {
    const pair = pairOf(commit, isTranslated);
    pair.one.packet(PORT_INSIDE, FIRST[kind]);
    expect([pair.one.takeOne().port, pair.one.count("heldNow")]).toEqual([PORT_OUTSIDE, 0]);
    pair.replicate(pair.one);
    expect(pair.two.table.used).toBe(1);
  },
);
