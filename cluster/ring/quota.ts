/**
 * Quotas and homes: how many slots each node should own by weight, and which ones it would own in an untouched cluster.
 * Owns the arithmetic; assign.ts turns it into slot tables.
 */
import { assert } from "../../src/base/assert.ts";

/** A node that may be given slots, or that has a home to come back to. */
export interface RingNode {
  readonly id: number;
  /** Share of slots relative to others, 1..100. */
  readonly weight: number;
  /** Draining or leaving: it is to own nothing, and backs up only what nobody else can. */
  readonly isLeaving?: boolean;
  /** A member that is down: it gets nothing, but keeps its homes, so that others do not rearrange what stays with them. */
  readonly isAway?: boolean;
}

export function byId(nodes: readonly RingNode[]): RingNode[] {
  return [...nodes].sort((a, b) => a.id - b.id);
}

/** The node is there, leaving or not. */
export function isPresent(nodes: readonly RingNode[], id: number): boolean {
  return nodes.some((n) => n.id === id && n.isAway !== true);
}

/** Nodes that may be given slots, by id, so that every caller computes the same table. */
export function receivers(nodes: readonly RingNode[]): RingNode[] {
  const able = byId(nodes).filter((n) => n.isLeaving !== true && n.isAway !== true);
  for (const n of able) {
    assert(
      n.id > 0 && n.weight > 0,
      `ring node ${n.id} has weight ${n.weight}: expected an id and a weight above 0`,
    );
  }
  return able;
}

/**
 * Slots per node: the exact share rounded down or up, so that the sum is `slots`. Who is rounded up: first those that hold
 * more than the rounded-down share already (fewest moves), then the largest remainder, then the lowest id.
 */
export function quotas(
  nodes: readonly RingNode[],
  slots: number,
  held: ReadonlyMap<number, number>,
): Map<number, number> {
  const result = new Map<number, number>();
  let total = 0;
  for (const n of nodes) total += n.weight;
  let left = slots;
  const fractional: { id: number; remainder: number; isFuller: boolean }[] = [];
  for (const n of nodes) {
    // Integer arithmetic: a share of exactly 16 must not become 15.999.
    const floor = Math.floor((slots * n.weight) / total);
    const remainder = (slots * n.weight) % total;
    result.set(n.id, floor);
    left -= floor;
    if (remainder > 0) fractional.push({ id: n.id, remainder, isFuller: (held.get(n.id) ?? 0) > floor });
  }
  fractional.sort(
    (a, b) => Number(b.isFuller) - Number(a.isFuller) || b.remainder - a.remainder || a.id - b.id,
  );
  for (let i = 0; i < left; i++) {
    const id = (fractional[i] as { id: number }).id;
    result.set(id, (result.get(id) as number) + 1);
  }
  return result;
}

/**
 * The home of every slot. With equal weights it is `nodes[s % n]`; otherwise a smooth weighted round robin, capped by the
 * quotas. After a failure and a return the same homes fill the deficit, so the layout from before comes back.
 */
export function homes(nodes: readonly RingNode[], slots: number): number[] {
  if (nodes.length === 0) return new Array<number>(slots).fill(0);
  const quota = quotas(nodes, slots, new Map());
  const credit = nodes.map(() => 0);
  const left = nodes.map((n) => quota.get(n.id) as number);
  let total = 0;
  for (const n of nodes) total += n.weight;
  const result: number[] = [];
  for (let s = 0; s < slots; s++) {
    let best = -1;
    for (let i = 0; i < nodes.length; i++) {
      credit[i] = (credit[i] as number) + (nodes[i] as RingNode).weight;
      if ((left[i] as number) > 0 && (best < 0 || (credit[i] as number) > (credit[best] as number))) best = i;
    }
    credit[best] = (credit[best] as number) - total;
    left[best] = (left[best] as number) - 1;
    result.push((nodes[best] as RingNode).id);
  }
  return result;
}

/** How often each id occurs. */
export function countById(ids: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}
