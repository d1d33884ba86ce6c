/**
 * Majority decisions over one set of voters. Pure functions; joint.ts combines two of them.
 */
import type { Index, NodeId } from "../types.ts";

export type VoteResult = "pending" | "lost" | "won";

/** How many of `size` voters are a majority. */
export function majorityOf(size: number): number {
  return Math.floor(size / 2) + 1;
}

/**
 * The highest index that a majority has acknowledged (Raft section 5.3).
 * An empty set restricts nothing, so that it is neutral as a half of a joint configuration: Infinity.
 */
export function committedIndex(voters: Iterable<NodeId>, acked: (id: NodeId) => Index | undefined): Index {
  const indices: Index[] = [];
  for (const id of voters) indices.push(acked(id) ?? 0);
  if (indices.length === 0) return Number.POSITIVE_INFINITY;
  indices.sort((a, b) => b - a);
  return indices[majorityOf(indices.length) - 1]!;
}

/** Whether the votes so far decide the election; an empty set is won by convention. */
export function voteResult(voters: Iterable<NodeId>, votes: ReadonlyMap<NodeId, boolean>): VoteResult {
  let size = 0;
  let granted = 0;
  let missing = 0;
  for (const id of voters) {
    size++;
    const vote = votes.get(id);
    if (vote === undefined) missing++;
    else if (vote) granted++;
  }
  if (size === 0) return "won";
  const needed = majorityOf(size);
  if (granted >= needed) return "won";
  return granted + missing >= needed ? "pending" : "lost";
}
