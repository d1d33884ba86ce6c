/**
 * Linearizable reads without the log (Raft section 8, thesis section 6.4): a read may be served at the commit index
 * of its arrival, once the leader has committed in its own term and is known to lead still.
 */
import type { Raft } from "./raft.ts";
import { type PendingRead, READS_MAX } from "./read-only.ts";
import { type MsgReadIndex, NONE } from "./types.ts";

/** On a leader: answer, or begin a round of heartbeats, or wait for the first commit of the term. */
export function handleReadIndex(r: Raft, m: MsgReadIndex): void {
  if (r.pendingReads.length + r.readOnly.size >= READS_MAX) {
    r.logger?.debug(`${r.id} dropped a read of ${m.from}: ${READS_MAX} wait already`);
    return;
  }
  if (!hasCommittedInTerm(r)) {
    // Until then the leader may not know of all that is committed.
    r.pendingReads.push(m);
    return;
  }
  begin(r, m);
}

/** The commit index moved: reads that waited for this term's first commit go on. */
export function releasePendingReads(r: Raft): void {
  if (r.pendingReads.length === 0 || !hasCommittedInTerm(r)) return;
  const pending = r.pendingReads;
  r.pendingReads = [];
  for (const m of pending) begin(r, m);
}

/** Answers the reads whose round a quorum has confirmed. */
export function confirmReads(r: Raft): void {
  if (r.readOnly.size === 0) return;
  const round = r.tracker.reachedByQuorum((id) => r.readOnly.ackedBy(id));
  for (const read of r.readOnly.takeConfirmed(round)) answer(r, read);
}

function begin(r: Raft, m: MsgReadIndex): void {
  const read = { from: m.from, context: m.context, index: r.log.committed };
  if (r.config.readOnly === "lease") {
    answer(r, read);
    return;
  }
  const round = r.readOnly.add(read, r.id);
  confirmReads(r);
  // A single voter is its own quorum and has nobody to ask.
  if (r.readOnly.size > 0) r.broadcastHeartbeat(round);
}

function answer(r: Raft, { from, context, index }: PendingRead): void {
  if (from === NONE || from === r.id) r.readStates.push({ index, context });
  else r.send({ type: "MsgReadIndexResp", from: r.id, to: from, term: r.term, index, context });
}

function hasCommittedInTerm(r: Raft): boolean {
  return r.log.matchesTerm(r.log.committed, r.term);
}
