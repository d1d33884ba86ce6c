/**
 * Snapshots (Raft section 7): what a leader sends where its log is compacted, and how a follower takes it.
 * The bytes travel as the driver likes; the core only decides when and from which index.
 */
import { toConfState, restore as toMembership } from "./confchange/restore.ts";
import { InvariantError } from "./errors.ts";
import { switchTo } from "./membership.ts";
import type { Raft } from "./raft.ts";
import type { Progress } from "./tracker/progress.ts";
import { copySnapshot, type MsgSnap, type NodeId, type Snapshot } from "./types.ts";

/** Answers whether a snapshot was queued. */
export function sendSnapshot(r: Raft, to: NodeId, progress: Progress): boolean {
  // A silent follower would only waste the transfer.
  if (!progress.recentActive) return false;
  const snapshot = r.log.snapshot();
  if (snapshot === undefined) return false;
  if (snapshot.index === 0) {
    throw new InvariantError(`${to} needs entry ${progress.next}, which is gone, and there is no snapshot`);
  }
  r.logger?.info(`${r.id} sends ${to} the snapshot at ${snapshot.index}, as entry ${progress.next} is gone`);
  progress.becomeSnapshot(snapshot.index);
  r.send({ type: "MsgSnap", from: r.id, to, term: r.term, snapshot: frozen(snapshot) });
  return true;
}

/** The driver tells how the sending went. */
export function handleSnapshotReport(r: Raft, id: NodeId, isOk: boolean): void {
  const progress = r.tracker.progressOf(id);
  if (progress?.state !== "snapshot") return;
  if (!isOk) progress.pendingSnapshot = 0;
  progress.becomeProbe();
  // After success the follower's ack comes first; after a failure one heartbeat interval passes.
  progress.pause();
}

export function handleSnapshot(r: Raft, m: MsgSnap): void {
  const isRestored = restore(r, m.snapshot);
  r.logger?.info(`${r.id} ${isRestored ? "restored" : "ignored"} the snapshot at ${m.snapshot.index}`);
  r.sendAppendResponse(m.from, { index: isRestored ? r.log.lastIndex() : r.log.committed });
}

/** Replaces log and membership. Answers false when the snapshot is of no use here. */
function restore(r: Raft, snapshot: Snapshot): boolean {
  if (snapshot.index <= r.log.committed) return false;
  if (!isMember(snapshot, r.id) && r.tracker.progressOf(r.id) !== undefined) {
    // A member does not give its membership up for a state that does not know of it. Who joins has none to lose:
    // a snapshot from before its addition is followed by the entries that add it.
    r.logger?.warn(`${r.id} is no member in the snapshot at ${snapshot.index}`);
    return false;
  }
  if (r.log.matchesTerm(snapshot.index, snapshot.term)) {
    // The log holds it all already, and only did not know that it is committed.
    r.log.commitTo(snapshot.index);
    return false;
  }
  const membership = toMembership(snapshot.confState);
  r.log.restore({ ...snapshot, confState: toConfState(membership) });
  // Conf changes that a Ready has handed out belong to the membership of before: the snapshot's waits for them.
  if (r.log.isApplying) r.restoredMembership = membership;
  else switchTo(r, membership);
  return true;
}

/** What was handed out is applied: the membership of a snapshot that came meanwhile takes effect. */
export function adoptRestoredMembership(r: Raft): void {
  const membership = r.restoredMembership;
  if (membership === undefined) return;
  r.restoredMembership = undefined;
  switchTo(r, membership);
}

/** A copy that fits into a message: nothing of it can be altered but the bytes. */
function frozen(snapshot: Snapshot): Snapshot {
  const copy = copySnapshot(snapshot);
  for (const part of Object.values(copy.confState)) Object.freeze(part);
  Object.freeze(copy.confState);
  return Object.freeze(copy);
}

/** learnersNext need no look: they are outgoing voters. */
function isMember(snapshot: Snapshot, id: NodeId): boolean {
  const { voters, votersOutgoing, learners } = snapshot.confState;
  return voters.includes(id) || votersOutgoing.includes(id) || learners.includes(id);
}
