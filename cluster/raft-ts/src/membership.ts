/**
 * Membership changes as they take effect: when their entry is applied, not when it is appended.
 */
import { broadcastAppend, maybeCommit, sendAppend } from "./append.ts";
import { applyChange, type Membership } from "./confchange/changer.ts";
import { encodeConfChange } from "./confchange/codec.ts";
import { ConfChangeError, InvariantError, ProposalDroppedError } from "./errors.ts";
import { handleProposal } from "./proposal.ts";
import type { Raft } from "./raft.ts";
import { confirmReads, releasePendingReads } from "./reads.ts";
import { type ConfChange, type ConfState, NONE } from "./types.ts";

/** Takes a committed conf change into effect and answers the membership from here on. */
export function applyConfChange(r: Raft, cc: ConfChange): ConfState {
  let next: Membership;
  try {
    next = applyChange(r.tracker.membership, cc);
  } catch (error) {
    // It is committed, so every server sees it, and none can go on past it.
    if (error instanceof ConfChangeError) throw new InvariantError(`Committed conf change: ${error.message}`);
    throw error;
  }
  return switchTo(r, next);
}

/** Makes a membership the active one, with all that follows for a leader. */
export function switchTo(r: Raft, membership: Membership): ConfState {
  r.tracker.switchTo(membership, r.log.lastIndex());
  const confState = r.tracker.confState();
  r.logger?.info(`${r.id} switched to configuration ${JSON.stringify(confState)}`);
  if (r.state !== "leader") return confState;
  const own = r.tracker.progressOf(r.id);
  if (own === undefined || own.isLearner) {
    // Removed or demoted, yet it may have to lead until its successor holds the entry that says so.
    if (r.config.stepDownOnRemoval) r.becomeFollower(r.term, NONE);
    return confState;
  }
  if (maybeCommit(r)) {
    releasePendingReads(r);
    broadcastAppend(r, { mayBeEmpty: true });
  } else {
    for (const [id, progress] of r.tracker.members) {
      // New members need not wait for the next proposal or heartbeat.
      if (id !== r.id) sendAppend(r, id, progress, { mayBeEmpty: false });
    }
  }
  // A smaller quorum may be complete already.
  confirmReads(r);
  if (r.transferee !== NONE && !r.tracker.isVoter(r.transferee)) r.transferee = NONE;
  return confState;
}

/** On a leader in a joint configuration that is to be left by itself: proposes to leave, once it may. */
export function requireNewMembership(r: Raft): void {
  if (r.state !== "leader" || !r.tracker.membership.autoLeave) return;
  if (r.log.applied < r.pendingConfIndex) return;
  const data = encodeConfChange({ changes: [], transition: "auto" });
  try {
    handleProposal(r, {
      type: "MsgProp",
      from: r.id,
      to: r.id,
      term: 0,
      entries: [{ term: 0, index: 0, type: "confChange", data }],
    });
  } catch (error) {
    // A transfer is under way: the new leader does it, or this one when the transfer is given up.
    if (!(error instanceof ProposalDroppedError)) throw error;
  }
}
