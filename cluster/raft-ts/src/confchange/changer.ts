/**
 * Membership arithmetic (Raft section 6, thesis chapter 4): from one configuration and the wanted changes to
 * the next one. Pure: nothing is mutated, and the tracker derives its progress from the result.
 *
 *    simple:   C ------------------------------> C'            voters differ by one at most
 *    joint:    C --enter--> (C', outgoing C) --leave--> C'     decisions need both majorities in between
 */
import { ConfChangeError, InvariantError } from "../errors.ts";
import type { JointVoters } from "../quorum/joint.ts";
import type { ConfChange, ConfChangeSingle, NodeId } from "../types.ts";

/** Who counts, who listens, and what happens to whom when the joint configuration is left. */
export interface Membership extends JointVoters {
  readonly learners: ReadonlySet<NodeId>;
  readonly learnersNext: ReadonlySet<NodeId>;
  readonly autoLeave: boolean;
}

export const EMPTY_MEMBERSHIP: Membership = Object.freeze({
  incoming: new Set<NodeId>(),
  outgoing: new Set<NodeId>(),
  learners: new Set<NodeId>(),
  learnersNext: new Set<NodeId>(),
  autoLeave: false,
});

export function isJoint(c: Membership): boolean {
  return c.outgoing.size > 0;
}

/** Whether the change asks to leave the joint configuration. */
export function wantsToLeave(cc: ConfChange): boolean {
  return cc.changes.length === 0;
}

/** Applies one conf change, by the protocol that it asks for. Throws ConfChangeError when it does not fit. */
export function applyChange(current: Membership, cc: ConfChange): Membership {
  if (wantsToLeave(cc)) return leaveJoint(current);
  if (cc.transition === "auto" && cc.changes.length === 1) return simple(current, cc.changes);
  return enterJoint(current, cc.changes, cc.transition !== "explicit");
}

/** One voter at most may come or go, so that old and new majorities always overlap. */
export function simple(current: Membership, changes: readonly ConfChangeSingle[]): Membership {
  if (isJoint(current)) throw new ConfChangeError("Cannot apply a simple change in a joint configuration");
  const next = draftOf(current);
  for (const change of changes) applySingle(next, change);
  requireVoter(next);
  if (symmetricDifference(current.incoming, next.incoming) > 1) {
    throw new ConfChangeError("Cannot change more than one voter without a joint configuration");
  }
  return checked(next);
}

/** From here on both the old and the new voters must agree on everything. */
export function enterJoint(
  current: Membership,
  changes: readonly ConfChangeSingle[],
  autoLeave: boolean,
): Membership {
  if (isJoint(current)) throw new ConfChangeError("Cannot enter a joint configuration: already in one");
  if (current.incoming.size === 0) {
    throw new ConfChangeError("Cannot enter a joint configuration without any voter");
  }
  const next = draftOf(current);
  next.outgoing = new Set(current.incoming);
  next.autoLeave = autoLeave;
  for (const change of changes) applySingle(next, change);
  requireVoter(next);
  return checked(next);
}

/** Drops the outgoing half; voters that were demoted become learners now. */
export function leaveJoint(current: Membership): Membership {
  if (!isJoint(current)) throw new ConfChangeError("Cannot leave a joint configuration: not in one");
  const next = draftOf(current);
  for (const id of next.learnersNext) next.learners.add(id);
  next.learnersNext = new Set();
  next.outgoing = new Set();
  next.autoLeave = false;
  return checked(next);
}

interface Draft {
  incoming: Set<NodeId>;
  outgoing: Set<NodeId>;
  learners: Set<NodeId>;
  learnersNext: Set<NodeId>;
  autoLeave: boolean;
}

function draftOf(c: Membership): Draft {
  return {
    incoming: new Set(c.incoming),
    outgoing: new Set(c.outgoing),
    learners: new Set(c.learners),
    learnersNext: new Set(c.learnersNext),
    autoLeave: c.autoLeave,
  };
}

function applySingle(next: Draft, { type, id }: ConfChangeSingle): void {
  switch (type) {
    case "addVoter":
      next.learners.delete(id);
      next.learnersNext.delete(id);
      next.incoming.add(id);
      return;
    case "addLearner":
      next.incoming.delete(id);
      // Still a voter of the outgoing half: the sets of voters and learners must not meet, so it waits.
      if (next.outgoing.has(id)) next.learnersNext.add(id);
      else next.learners.add(id);
      return;
    case "remove":
      next.incoming.delete(id);
      next.learners.delete(id);
      next.learnersNext.delete(id);
      return;
    default:
      throw new ConfChangeError(`Cannot apply a conf change of type ${String(type satisfies never)}`);
  }
}

function requireVoter(next: Draft): void {
  if (next.incoming.size === 0) throw new ConfChangeError("Cannot remove the last voter");
}

function symmetricDifference(a: ReadonlySet<NodeId>, b: ReadonlySet<NodeId>): number {
  let count = 0;
  for (const id of a) if (!b.has(id)) count++;
  for (const id of b) if (!a.has(id)) count++;
  return count;
}

function checked(c: Membership): Membership {
  for (const id of c.learnersNext) {
    if (!c.outgoing.has(id)) throw new InvariantError(`${id} is in learnersNext but no outgoing voter`);
    if (c.incoming.has(id)) throw new InvariantError(`${id} is in learnersNext and an incoming voter`);
  }
  for (const id of c.learners) {
    if (c.incoming.has(id)) throw new InvariantError(`${id} is a learner and an incoming voter`);
    if (c.outgoing.has(id)) throw new InvariantError(`${id} is a learner and an outgoing voter`);
  }
  if (!isJoint(c) && (c.learnersNext.size > 0 || c.autoLeave)) {
    throw new InvariantError("A configuration that is not joint has learnersNext or autoLeave");
  }
  return c;
}
