/**
 * Backups: who keeps the second copy of each slot. Each owner's slots are spread over all its peers by weight, so that the
 * load of a node that dies is spread as well.
 * Owns the choice of backups; the rest of a table is assign.ts.
 */
import type { Draft } from "./draft.ts";
import { isPresent, type RingNode, receivers } from "./quota.ts";

/**
 * Gives a backup to every owned slot that lacks one. A backup on a leaving node is replaced when somebody else can do it;
 * else it stays: a copy that will be gone soon is better than none.
 */
export function fillBackups(draft: Draft, nodes: readonly RingNode[]): void {
  const able = receivers(nodes);
  const isThere = (id: number): boolean => isPresent(nodes, id);
  const pairs = new Pairs();
  const lacking: number[] = [];
  for (let s = 0; s < draft.slots; s++) {
    const owner = draft.owner[s] as number;
    const backup = draft.backup[s] as number;
    const isGood = able.some((n) => n.id === backup) && backup !== owner;
    if (isGood) pairs.add(owner, backup, 1);
    else if (owner !== 0) lacking.push(s);
  }
  for (const s of lacking) {
    const owner = draft.owner[s] as number;
    const backup = draft.backup[s] as number;
    const to = pairs.leastUsed(owner, able);
    const isKept = to === 0 && backup !== owner && isThere(backup);
    if (isKept || to === backup) continue;
    // In the middle of a move the old owner's copy is the only other one: let the move end first.
    if (to !== 0 && (draft.awaiting[s] as readonly number[]).includes(backup) && isThere(backup)) {
      continue;
    }
    draft.changeBackup(s, to, isThere);
    if (to !== 0) pairs.add(owner, to, 1);
  }
}

/** Evens out pairs of owner and backup that differ by more than one slot, at most `maxSlots` of them: each costs a resync. */
export function spreadBackups(draft: Draft, nodes: readonly RingNode[], maxSlots: number): void {
  const able = receivers(nodes);
  const pairs = new Pairs();
  for (let s = 0; s < draft.slots; s++) pairs.add(draft.owner[s] as number, draft.backup[s] as number, 1);
  let budget = maxSlots;
  for (let s = 0; s < draft.slots && budget > 0; s++) {
    const owner = draft.owner[s] as number;
    const from = able.find((n) => n.id === draft.backup[s]);
    const to = able.find((n) => n.id === pairs.leastUsed(owner, able));
    if (from === undefined || to === undefined || from === to) continue;
    // Worth it only when the pair that gives stays at least as full, for its weight, as the one that gets.
    const after = (pairs.of(owner, to.id) + 1) * from.weight;
    if ((pairs.of(owner, from.id) - 1) * to.weight < after) continue;
    pairs.add(owner, from.id, -1);
    pairs.add(owner, to.id, 1);
    draft.changeBackup(s, to.id, (id) => isPresent(nodes, id));
    budget--;
  }
}

/** How many slots of an owner each peer backs up. */
class Pairs {
  readonly #pair = new Map<number, number>();
  readonly #total = new Map<number, number>();

  add(owner: number, backup: number, n: number): void {
    if (owner === 0 || backup === 0) return;
    this.#pair.set(key(owner, backup), this.of(owner, backup) + n);
    this.#total.set(backup, (this.#total.get(backup) ?? 0) + n);
  }

  of(owner: number, backup: number): number {
    return this.#pair.get(key(owner, backup)) ?? 0;
  }

  /** The peer that backs up the fewest of `owner`'s slots for its weight, then the fewest at all, then the lowest id. */
  leastUsed(owner: number, nodes: readonly RingNode[]): number {
    let best: RingNode | undefined;
    for (const n of nodes) {
      if (n.id === owner) continue;
      if (best === undefined || this.#isLessUsed(owner, n, best)) best = n;
    }
    return best?.id ?? 0;
  }

  #isLessUsed(owner: number, a: RingNode, b: RingNode): boolean {
    const pair = (this.of(owner, a.id) + 1) * b.weight - (this.of(owner, b.id) + 1) * a.weight;
    if (pair !== 0) return pair < 0;
    return ((this.#total.get(a.id) ?? 0) + 1) * b.weight < ((this.#total.get(b.id) ?? 0) + 1) * a.weight;
  }
}

function key(owner: number, backup: number): number {
  return owner * 256 + backup;
}
