/**
 * How entries get into a leader's log: proposals, their limits, and the rules on membership changes.
 */
import { broadcastAppend } from "./append.ts";
import { applyChange, wantsToLeave } from "./confchange/changer.ts";
import { decodeConfChange } from "./confchange/codec.ts";
import { ConfChangeError, ProposalDroppedError } from "./errors.ts";
import type { Raft } from "./raft.ts";
import { EMPTY_BYTES, type Entry, type MsgProp, NONE, payloadBytes } from "./types.ts";

type Proposed = Pick<Entry, "type" | "data">;

/** Appends on a leader, passes on at a follower. Throws ProposalDroppedError when neither is possible. */
export function handleProposal(r: Raft, m: MsgProp): void {
  if (r.state !== "leader") {
    forward(r, m);
    return;
  }
  if (r.tracker.progressOf(r.id) === undefined) {
    throw new ProposalDroppedError("notMember", `leader ${r.id} was removed from the configuration`);
  }
  if (r.transferee !== NONE) {
    throw new ProposalDroppedError("transferring", `leadership is being handed to ${r.transferee}`);
  }
  const pendingConfIndex = r.pendingConfIndex;
  const first = r.log.lastIndex() + 1;
  const entries = m.entries.map((entry, i): Proposed => {
    if (entry.type !== "confChange") return entry;
    const refusal = refusalOf(r, entry);
    if (refusal === undefined) {
      r.pendingConfIndex = first + i;
      return entry;
    }
    r.logger?.info(`${r.id} refused a conf change: ${refusal}`);
    return { type: "normal", data: EMPTY_BYTES };
  });
  if (!appendOwn(r, entries)) {
    r.pendingConfIndex = pendingConfIndex;
    throw new ProposalDroppedError(
      "uncommittedLimit",
      `${r.uncommittedBytes} bytes are not committed yet, the limit is ${r.config.maxUncommittedBytes}`,
    );
  }
  broadcastAppend(r, { mayBeEmpty: true });
}

function forward(r: Raft, m: MsgProp): void {
  if (r.state !== "follower" || r.lead === NONE) {
    throw new ProposalDroppedError("noLeader", `no leader is known at term ${r.term}`);
  }
  if (r.config.disableProposalForwarding) {
    throw new ProposalDroppedError("forwardingDisabled", `only leader ${r.lead} may propose`);
  }
  r.send({ ...m, to: r.lead, term: 0 });
}

/** Why a conf change must not enter the log now. As at most one is unapplied, the membership is the final one. */
function refusalOf(r: Raft, entry: Entry): string | undefined {
  const cc = decodeConfChange(entry.data);
  const { membership } = r.tracker;
  if (r.pendingConfIndex > r.log.applied) {
    return `the one at ${r.pendingConfIndex} may be unapplied (applied to ${r.log.applied})`;
  }
  try {
    applyChange(membership, cc);
    return undefined;
  } catch (error) {
    // It would be refused when applied, on every server: better it never enters the log.
    if (error instanceof ConfChangeError) return error.message;
    throw error;
  }
}

/**
 * Appends entries of the leader's own term; they go out with the next broadcast. Answers false when the uncommitted
 * tail is too long already; an empty tail takes any size, and empty entries and the leaving of a joint configuration
 * always fit.
 */
export function appendOwn(r: Raft, proposed: readonly Proposed[]): boolean {
  const first = r.log.lastIndex() + 1;
  const entries = proposed.map(
    ({ type, data }, i): Entry => Object.freeze({ term: r.term, index: first + i, type, data }),
  );
  const bytes = payloadBytes(entries.filter((entry) => !isLeave(entry)));
  const limit = r.config.maxUncommittedBytes;
  if (limit > 0 && bytes > 0 && r.uncommittedBytes > 0 && r.uncommittedBytes + bytes > limit) return false;
  r.uncommittedBytes += bytes;
  r.log.append(entries);
  // The leader counts its own copy as everybody else's: once it is durable, at advance().
  r.sendAppendResponse(r.id, { index: r.log.lastIndex() });
  return true;
}

/** To leave a joint configuration is never refused for its size: nothing else could be changed before. */
function isLeave(entry: Entry): boolean {
  return entry.type === "confChange" && wantsToLeave(decodeConfChange(entry.data));
}

/** Entries were applied: their bytes do not count against the limit any more. */
export function releaseUncommitted(r: Raft, applied: readonly Entry[]): void {
  // Entries of earlier leaders and the leaving of joint configurations were never counted, so this may undershoot.
  r.uncommittedBytes = Math.max(0, r.uncommittedBytes - payloadBytes(applied));
}
