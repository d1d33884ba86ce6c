/**
 * Generation: which log of the cluster a Raft message, an entry or a claim belongs to. When one node of a pair goes on alone
 * (forced.ts) it begins another log, and nothing of one may ever count in the other. Owns the numbering and who gives way; pure.
 *
 * The generation is the high part of every Raft term, so that messages, votes, entries and files carry it without saying so:
 *
 *   term = | forced epoch, 25 bits | 255 - node, 8 bits | terms of this generation, 20 bits |      53 bits: a safe integer
 *
 * The log that a cluster begins with is generation 0: its terms are plain ones. A node forces an epoch beyond all that it knows, so
 * a log never comes out of one with a higher number.
 */
export interface Generation {
  /** The epoch in which one node went on alone; 0: never. */
  readonly epoch: number;
  /** That node; 0: none. */
  readonly by: number;
}

/** What a member says about itself. */
export interface Claim {
  readonly generation: Generation;
  /** It was let in, in this life, by the log of its generation. */
  readonly isServing: boolean;
  /** It stops for good in this life, and has given up its lease. */
  readonly isStopped?: true;
}

export const FIRST_GENERATION: Generation = { epoch: 0, by: 0 };
/** Table epochs beyond this can not be forced: they would leave the safe integers. */
export const FORCED_EPOCH_MAX = 2 ** 25 - 1;

const TERMS = 2 ** 20;
const IDS = 256;
const ID_MAX = IDS - 1;

export function generationOf(term: number): Generation {
  const rank = Math.floor(term / TERMS);
  const epoch = Math.floor(rank / IDS);
  return epoch === 0 ? FIRST_GENERATION : { epoch, by: ID_MAX - (rank % IDS) };
}

/** Below all terms that leaders of this generation have: what a message without a term is marked with. */
export function floorTerm({ epoch, by }: Generation): number {
  return epoch === 0 ? 0 : (epoch * IDS + (ID_MAX - by)) * TERMS;
}

/** The part of a term that people count. */
export function termInside(term: number): number {
  return term % TERMS;
}

export function isSameGeneration(a: Generation, b: Generation): boolean {
  return a.epoch === b.epoch && a.by === b.by;
}

/**
 * Whether `mine` gives way to `theirs` when they meet. Who serves stays before who does not: a node that has just started must
 * not take flows away. Else the higher epoch wins, and of two alike the lower id.
 */
export function givesWay(mine: Claim, theirs: Claim): boolean {
  if (isSameGeneration(mine.generation, theirs.generation)) return false;
  if (mine.isServing !== theirs.isServing) return theirs.isServing;
  return floorTerm(theirs.generation) > floorTerm(mine.generation);
}
