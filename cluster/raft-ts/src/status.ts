/**
 * A picture of a node for operators and drivers; a copy that is safe to keep.
 */
import type { Raft } from "./raft.ts";
import type { ProgressState } from "./tracker/progress.ts";
import type { ConfState, Index, NodeId, StateType, Term } from "./types.ts";

export interface ProgressStatus {
  readonly match: Index;
  readonly next: Index;
  readonly state: ProgressState;
}

/** What flow control knows of a member beyond its progress. */
export interface FlowStatus {
  /** Heard from since the last quorum check. */
  readonly recentActive: boolean;
  /** Appends that were sent and not acknowledged. */
  readonly inflight: number;
  /** The index of the snapshot under way; 0 when none. */
  readonly pendingSnapshot: Index;
}

/** What changes with every message; cheap to ask for. */
export interface BasicStatus {
  readonly id: NodeId;
  readonly state: StateType;
  readonly term: Term;
  readonly vote: NodeId;
  readonly lead: NodeId;
  readonly commit: Index;
  readonly applied: Index;
  readonly lastIndex: Index;
  /** To whom leadership is being handed; 0 when to nobody. */
  readonly transferee: NodeId;
}

export interface Status extends BasicStatus {
  readonly confState: ConfState;
  /** By member, on a leader only. */
  readonly progress: ReadonlyMap<NodeId, ProgressStatus>;
  /** By member, on a leader only. */
  readonly flow: ReadonlyMap<NodeId, FlowStatus>;
}

export function basicStatusOf(r: Raft): BasicStatus {
  return {
    id: r.id,
    state: r.state,
    term: r.term,
    vote: r.vote,
    lead: r.lead,
    commit: r.log.committed,
    applied: r.log.applied,
    lastIndex: r.log.lastIndex(),
    transferee: r.transferee,
  };
}

export function statusOf(r: Raft): Status {
  const progress = new Map<NodeId, ProgressStatus>();
  const flow = new Map<NodeId, FlowStatus>();
  if (r.state === "leader") {
    for (const [id, pr] of r.tracker.members) {
      progress.set(id, { match: pr.match, next: pr.next, state: pr.state });
      flow.set(id, {
        recentActive: pr.recentActive,
        inflight: pr.inflightCount,
        pendingSnapshot: pr.pendingSnapshot,
      });
    }
  }
  return { ...basicStatusOf(r), confState: r.tracker.confState(), progress, flow };
}
