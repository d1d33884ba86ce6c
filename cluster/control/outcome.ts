/**
 * Outcome: what a command leaves behind, a state and an answer. Owns the few ways to make one, for the files that own the rules.
 */
import type { ClusterState, CommandResult, Member } from "./model.ts";

export interface Outcome {
  readonly cluster: ClusterState;
  readonly result: CommandResult;
}

/** `change` replaces what it names. */
export function changed(cluster: ClusterState, change: Partial<Omit<ClusterState, "revision">>): Outcome {
  return {
    cluster: { ...cluster, ...change, revision: cluster.revision + 1 },
    result: { ok: true, changed: true },
  };
}

export function unchanged(cluster: ClusterState): Outcome {
  return { cluster, result: { ok: true, changed: false } };
}

export function refused(cluster: ClusterState, reason: string): Outcome {
  return { cluster, result: { ok: false, reason } };
}

export function epochMoved(cluster: ClusterState, baseEpoch: number): Outcome {
  return refused(cluster, `epoch moved on from ${baseEpoch} to ${cluster.table.epoch}`);
}

export function find(cluster: ClusterState, id: number): Member | undefined {
  return cluster.members.find((member) => member.id === id);
}

/** The members with one of them replaced. */
export function withMember(cluster: ClusterState, was: Member, is: Member): readonly Member[] {
  return cluster.members.map((member) => (member === was ? is : member));
}
