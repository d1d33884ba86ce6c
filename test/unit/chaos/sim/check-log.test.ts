/** The log check of simulated clusters: what it must notice in messages. */
import type { Message } from "raft-ts";
import { expect, test } from "vitest";
import { LogCheck } from "../../../../chaos/sim/cluster/check-log.ts";
import { SimCluster } from "../../../../chaos/sim/cluster/cluster.ts";
import { SMALL_SIZES } from "../../../../chaos/sim/cluster/sizes.ts";

const OPTIONS = { seed: 1, nodes: 3, hasWitness: false, profile: "lan", flowsMax: 64 } as const;

function checked() {
  const cluster = new SimCluster({ ...OPTIONS, sizes: SMALL_SIZES });
  const check = new LogCheck(cluster);
  const say = (from: number, message: object): void =>
    cluster.onRaft(cluster.members[from - 1]!, { from, ...message } as Message);
  return { check, say };
}

test("a second vote in the same term is found, the same vote again is not (section 5.2)", () => {
  const { check, say } = checked();
  say(1, { type: "MsgVoteResp", term: 4, to: 2, reject: false });
  say(1, { type: "MsgVoteResp", term: 4, to: 2, reject: false });
  say(1, { type: "MsgVoteResp", term: 4, to: 3, reject: true });
  say(1, { type: "MsgVoteResp", term: 5, to: 3, reject: false });
  expect(check.findings).toEqual([]);
  say(1, { type: "MsgVoteResp", term: 5, to: 2, reject: false });
  expect(check.findings).toEqual(["fw1 voted for 3 and for 2 in term 5"]);
});

test("two leaders of one term are found, a leader of the next term is not (Election Safety)", () => {
  const { check, say } = checked();
  say(1, { type: "MsgHeartbeat", term: 4, to: 2 });
  say(2, { type: "MsgApp", term: 5, to: 1 });
  expect(check.findings).toEqual([]);
  say(3, { type: "MsgHeartbeat", term: 5, to: 1 });
  expect(check.findings).toEqual(["fw2 and fw3 both lead term 5"]);
});
