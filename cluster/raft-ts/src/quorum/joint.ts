/**
 * Decisions of a joint configuration: both halves must agree (Raft section 6).
 * With an empty outgoing half this is the plain majority.
 */
import type { Index, NodeId } from "../types.ts";
import * as majority from "./majority.ts";

/** The two halves of a configuration. */
export interface JointVoters {
  readonly incoming: ReadonlySet<NodeId>;
  readonly outgoing: ReadonlySet<NodeId>;
}

export function committedIndex(voters: JointVoters, acked: (id: NodeId) => Index | undefined): Index {
  return Math.min(
    majority.committedIndex(voters.incoming, acked),
    majority.committedIndex(voters.outgoing, acked),
  );
}

export function voteResult(voters: JointVoters, votes: ReadonlyMap<NodeId, boolean>): majority.VoteResult {
  const incoming = majority.voteResult(voters.incoming, votes);
  const outgoing = majority.voteResult(voters.outgoing, votes);
  if (incoming === "lost" || outgoing === "lost") return "lost";
  if (incoming === "won" && outgoing === "won") return "won";
  return "pending";
}

/** All voters of either half, in ascending order. */
export function voterIds(voters: JointVoters): NodeId[] {
  return [...new Set([...voters.incoming, ...voters.outgoing])].sort((a, b) => a - b);
}
