/**
 * Between a stored ConfState and the Membership that the core works with, both ways.
 */
import { ConfChangeError, InvariantError } from "../errors.ts";
import type { ConfChangeSingle, ConfState, NodeId } from "../types.ts";
import { EMPTY_MEMBERSHIP, enterJoint, isJoint, type Membership, simple } from "./changer.ts";

/**
 * Rebuilds the membership by the same operations that once led to it, so that a ConfState that no sequence of
 * changes can reach is refused: first the outgoing voters one by one, then one joint step to the rest.
 */
export function restore(cs: ConfState): Membership {
  for (const id of [...cs.voters, ...cs.votersOutgoing, ...cs.learners, ...cs.learnersNext]) {
    if (!Number.isSafeInteger(id) || id < 1) throw new ConfChangeError(`Cannot restore member id ${id}`);
  }
  const toVoter = (id: NodeId): ConfChangeSingle => ({ type: "addVoter", id });
  const toLearner = (id: NodeId): ConfChangeSingle => ({ type: "addLearner", id });
  let membership = EMPTY_MEMBERSHIP;
  if (cs.votersOutgoing.length === 0) {
    for (const id of cs.voters) membership = simple(membership, [toVoter(id)]);
    for (const id of cs.learners) membership = simple(membership, [toLearner(id)]);
  } else {
    for (const id of cs.votersOutgoing) membership = simple(membership, [toVoter(id)]);
    membership = enterJoint(
      membership,
      [
        ...cs.votersOutgoing.map((id): ConfChangeSingle => ({ type: "remove", id })),
        ...cs.voters.map(toVoter),
        ...cs.learners.map(toLearner),
        ...cs.learnersNext.map(toLearner),
      ],
      cs.autoLeave,
    );
  }
  if (!isEquivalent(cs, toConfState(membership))) {
    throw new ConfChangeError(`Cannot restore the membership ${JSON.stringify(cs)}: it contradicts itself`);
  }
  return membership;
}

/** As restore(), for what this node stored itself: a contradiction there ends the process. */
export function restoreStored(cs: ConfState): Membership {
  try {
    return restore(cs);
  } catch (error) {
    if (error instanceof ConfChangeError) throw new InvariantError(error.message);
    throw error;
  }
}

/** The stored form, all lists in ascending order. */
export function toConfState(c: Membership): ConfState {
  return {
    voters: sorted(c.incoming),
    votersOutgoing: isJoint(c) ? sorted(c.outgoing) : [],
    learners: sorted(c.learners),
    learnersNext: sorted(c.learnersNext),
    autoLeave: c.autoLeave,
  };
}

function isEquivalent(a: ConfState, b: ConfState): boolean {
  const key = (c: ConfState) =>
    JSON.stringify([
      sorted(c.voters),
      sorted(c.votersOutgoing),
      sorted(c.learners),
      sorted(c.learnersNext),
      c.autoLeave,
    ]);
  return key(a) === key(b);
}

function sorted(ids: Iterable<NodeId>): NodeId[] {
  return [...new Set(ids)].sort((a, b) => a - b);
}
