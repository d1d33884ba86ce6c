/**
 * Fitness: whether this member may take part at all, judged by what the log and the other members tell it. Owns the reasons for
 * which a member ends itself for good; what is refused in a single command is machine.ts's.
 *
 * A voter whose disk was emptied has forgotten its votes and what it confirmed: if it went on under its id, two leaders could be
 * elected in one term, and committed entries could be lost. It cannot know that by itself, an empty log looks like a new one:
 *
 *   a leader that it had answered    tells a commit index beyond its log
 *   any leader                       sends it a state in which its id has another log
 *   no leader                        it gives no vote to a log that is longer than none
 */
import type { BasicStatus, Message } from "raft-ts";
import { SynwallError } from "../../src/base/errors.ts";
import type { ClusterState } from "./model.ts";

const WHAT_TO_DO =
  "its disk was emptied, and its votes are forgotten; leave this member stopped and do as docs/errors.md says";

export interface OwnFacts {
  readonly self: number;
  /** By the configuration. */
  readonly slots: number;
  /** Name of this member's log; empty: it has none. */
  readonly log: string;
}

/** Throws SW_CLUSTER_DIFFERS, SW_STORAGE_LOST, SW_MEMBER_REMOVED when the committed state is that of another cluster or another log. */
export function requireFit(state: ClusterState, own: OwnFacts): void {
  const slots = state.table.owner.length;
  if (state.revision > 0 && slots !== own.slots) {
    throw new SynwallError(
      "SW_CLUSTER_DIFFERS",
      `cluster.slots: the cluster has ${slots} slots, the configuration says ${own.slots}: set it to ${slots}; slots are fixed for the life of a cluster`,
    );
  }
  const member = state.members.find(({ id }) => id === own.self);
  if (member?.state === "removed") {
    throw new SynwallError(
      "SW_MEMBER_REMOVED",
      `${member.name} (member ${own.self}) was removed from the cluster: keep it stopped; to bring the machine back, empty control.dataDir and join with a new token`,
    );
  }
  const known = member?.log;
  if (known === undefined || own.log === "" || known === own.log) return;
  throw new SynwallError(
    "SW_STORAGE_LOST",
    `control.dataDir: the cluster knows member ${own.self} with another log than the one here: ${WHAT_TO_DO}`,
  );
}

type Position = Pick<BasicStatus, "term" | "lastIndex">;

/** A leader's heartbeat commits no more than what the member confirmed in this term. Throws SW_STORAGE_LOST. */
export function requireWholeLog(message: Message, { term, lastIndex }: Position): void {
  if (message.type !== "MsgHeartbeat" || message.term < term || message.commit <= lastIndex) return;
  throw new SynwallError(
    "SW_STORAGE_LOST",
    `control.dataDir: this member had confirmed entry ${message.commit}, its log ends at ${lastIndex}: ${WHAT_TO_DO}`,
  );
}

/** A request for a vote that a log without any entry must not give. */
export function isBeyondEmptyLog(message: Message, { lastIndex }: Position): boolean {
  return (
    (message.type === "MsgVote" || message.type === "MsgPreVote") && lastIndex === 0 && message.index > 0
  );
}
