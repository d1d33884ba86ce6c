/**
 * Conf plan: how Raft's own configuration follows the cluster's state. Pure: what is, what should be, and at most one change.
 * Voters are those of the quorum once its change is over; every other member is a learner, so that it holds the log when it
 * is to vote; who was removed is nothing.
 */
import type { ConfChange, ConfState } from "raft-ts";
import type { ClusterState } from "./model.ts";
import { membersOf } from "./quorum.ts";

/** Undefined: nothing to change, or not now. `founders`: the voters that the log was begun with. */
export function planConfChange(
  { members, quorum }: Pick<ClusterState, "members" | "quorum">,
  founders: readonly number[],
  { voters, votersOutgoing, learners }: ConfState,
): ConfChange | undefined {
  if (votersOutgoing.length > 0 || (quorum !== undefined && quorum.outgoing.length > 0)) return undefined;
  const wanted = quorum?.voters ?? voters;
  const others = membersOf({ members }, founders).filter((id) => !wanted.includes(id));
  const changes: ConfChange["changes"][number][] = [];
  for (const id of wanted) if (!voters.includes(id)) changes.push({ type: "addVoter", id });
  for (const id of others) if (!learners.includes(id)) changes.push({ type: "addLearner", id });
  for (const id of [...voters, ...learners]) {
    if (!wanted.includes(id) && !others.includes(id)) changes.push({ type: "remove", id });
  }
  return changes.length === 0 ? undefined : { changes, transition: "auto" };
}
