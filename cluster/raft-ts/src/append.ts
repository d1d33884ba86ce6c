/**
 * Replication (Raft section 5.3): what a leader sends to each follower, what a follower does with it, and how the
 * leader learns from the answers. Flow control is in tracker/progress.ts.
 */
import { handOver, sendTimeoutNow } from "./election.ts";
import { invariant } from "./errors.ts";
import type { Raft } from "./raft.ts";
import { confirmReads, releasePendingReads } from "./reads.ts";
import { sendSnapshot } from "./snapshot.ts";
import type { Progress } from "./tracker/progress.ts";
import type { MsgApp, MsgAppResp, MsgHeartbeat, MsgHeartbeatResp, NodeId } from "./types.ts";

// ---------------------------------------------------------------- leader: sending

/**
 * Sends the follower its next entries, or a snapshot where they are gone, unless flow control forbids it.
 * Answers whether a message was queued. An empty append tells a newer commit index.
 */
export function sendAppend(
  r: Raft,
  to: NodeId,
  progress: Progress,
  options: { mayBeEmpty: boolean },
): boolean {
  if (progress.isPaused) return false;
  const prevIndex = progress.next - 1;
  const prevTerm = r.log.term(prevIndex);
  if (prevTerm === undefined) return sendSnapshot(r, to, progress);
  const entries = progress.canSendEntries ? r.log.entriesFrom(progress.next, r.config.maxSizePerMessage) : [];
  if (entries === undefined) return sendSnapshot(r, to, progress);
  if (entries.length === 0 && !options.mayBeEmpty) return false;
  r.send({
    type: "MsgApp",
    from: r.id,
    to,
    term: r.term,
    index: prevIndex,
    logTerm: prevTerm,
    commit: r.log.committed,
    entries: Object.freeze(entries),
  });
  progress.sentEntries(entries.length);
  progress.sentCommit(r.log.committed);
  return true;
}

/** Sends to every member but the leader itself. */
export function broadcastAppend(r: Raft, options: { mayBeEmpty: boolean }): void {
  for (const [id, progress] of r.tracker.members) if (id !== r.id) sendAppend(r, id, progress, options);
}

/** A heartbeat must not let a follower commit what it may not hold: its commit is bounded by `match`. */
export function sendHeartbeat(
  r: Raft,
  to: NodeId,
  progress: Progress,
  context: Uint8Array | undefined,
): void {
  const commit = Math.min(progress.match, r.log.committed);
  const heartbeat = { type: "MsgHeartbeat", from: r.id, to, term: r.term, commit } as const;
  r.send(context === undefined ? heartbeat : { ...heartbeat, context });
  progress.sentCommit(commit);
}

/** Commits what a quorum holds. Answers whether the commit index moved. */
export function maybeCommit(r: Raft): boolean {
  return r.log.maybeCommit(r.tracker.committed(), r.term);
}

// ---------------------------------------------------------------- follower

export function handleAppend(r: Raft, m: MsgApp): void {
  if (m.index < r.log.committed) {
    // An old or duplicated append: what is committed agrees with the leader anyway.
    r.sendAppendResponse(m.from, { index: r.log.committed });
    return;
  }
  const { index: prevIndex, logTerm: prevTerm, entries, commit } = m;
  const lastNew = r.log.maybeAppend({ prevIndex, prevTerm, entries, commit });
  if (lastNew !== undefined) {
    r.sendAppendResponse(m.from, { index: lastNew });
    return;
  }
  // The hint skips all of this log's tail whose terms the leader cannot have at or before `index`.
  const hint = r.log.findConflictByTerm(Math.min(m.index, r.log.lastIndex()), m.logTerm);
  r.logger?.debug(`${r.id} rejected the append after ${m.index} (term ${m.logTerm}) of ${m.from}`);
  r.sendAppendResponse(m.from, { index: m.index, reject: true, rejectHint: hint.index, logTerm: hint.term });
}

export function handleHeartbeat(r: Raft, m: MsgHeartbeat): void {
  r.log.commitTo(m.commit);
  const response = { type: "MsgHeartbeatResp", from: r.id, to: m.from, term: r.term } as const;
  r.send(m.context === undefined ? response : { ...response, context: m.context });
}

// ---------------------------------------------------------------- leader: answers

/** Also the way on which the leader acknowledges its own entries, once they are durable. */
export function handleAppendResponse(r: Raft, m: MsgAppResp): void {
  const progress = r.tracker.progressOf(m.from);
  if (progress === undefined) return;
  progress.recentActive = true;
  if (m.reject) {
    handleRejection(r, m, progress);
    return;
  }
  invariant(
    m.index <= r.log.lastIndex(),
    () =>
      `${m.from} acknowledged entry ${m.index}, but the log of leader ${r.id} ends at ${r.log.lastIndex()}`,
  );
  const isNews = progress.maybeUpdate(m.index);
  // An ack of what was known still shows that a probed follower answers.
  if (!isNews && !(progress.match === m.index && progress.state === "probe")) return;
  if (progress.state === "probe") {
    // Where the log cannot go on from `match`, a snapshot was of no use there: not again before the next heartbeat.
    if (!isNews && progress.match + 1 < r.log.firstIndex()) return;
    progress.becomeReplicate();
  } else if (progress.state === "snapshot") {
    // Whichever snapshot was applied: what counts is that the log can go on from it.
    if (progress.match + 1 >= r.log.firstIndex()) {
      progress.becomeProbe();
      progress.becomeReplicate();
    }
  } else {
    progress.freeInflightsTo(m.index);
  }
  if (maybeCommit(r)) {
    releasePendingReads(r);
    broadcastAppend(r, { mayBeEmpty: true });
  } else if (m.from !== r.id && progress.canBumpCommit(r.log.committed)) {
    sendAppend(r, m.from, progress, { mayBeEmpty: true });
  }
  if (m.from === r.id) return;
  // The ack may have opened the window for several messages.
  while (sendAppend(r, m.from, progress, { mayBeEmpty: false }));
  if (m.from === r.transferee && progress.match === r.log.lastIndex()) sendTimeoutNow(r, m.from);
  handOver(r);
}

/**
 * A refusal comes with the follower's guess, `rejectHint` with term `logTerm`: terms only grow along a log, so the
 * leader can skip all of its own tail above that term, and probes at most once per term.
 *
 *    index      1 2 3 4 5 6 7 8 9
 *    leader     1 3 3 3 5 5 5 5 5      refused after 9, hint (6, term 2):
 *    follower   1 1 1 1 2 2            the next probe is after 1, not after 6
 */
function handleRejection(r: Raft, m: MsgAppResp, progress: Progress): void {
  const hint = m.logTerm > 0 ? r.log.findConflictByTerm(m.rejectHint, m.logTerm).index : m.rejectHint;
  if (!progress.maybeDecrement(m.index, hint)) return;
  if (progress.state === "replicate") progress.becomeProbe();
  sendAppend(r, m.from, progress, { mayBeEmpty: true });
}

export function handleHeartbeatResponse(r: Raft, m: MsgHeartbeatResp): void {
  const progress = r.tracker.progressOf(m.from);
  if (progress === undefined) return;
  progress.recentActive = true;
  progress.resume();
  // With a full window this is an empty append, whose answer tells whether the window was lost. A probe goes out
  // even if nothing is missing, so that the follower can get back to replicate.
  if (progress.match < r.log.lastIndex() || progress.state === "probe") {
    sendAppend(r, m.from, progress, { mayBeEmpty: true });
  }
  if (r.config.readOnly === "safe" && m.context !== undefined) {
    r.readOnly.ack(m.from, m.context);
    confirmReads(r);
  }
  handOver(r);
}

/** Optimistic appends are likely lost: go back to probing. */
export function handleUnreachable(r: Raft, id: NodeId): void {
  const progress = r.tracker.progressOf(id);
  if (progress?.state === "replicate") progress.becomeProbe();
}
