/**
 * Quorum: who votes, and how one set of voters follows another without a moment in which two disjoint majorities count.
 * Pure. Owns the commands that change the set and what the leader proposes; Raft's own change is conf-plan.ts.
 *
 *   C(V) --voters--> J(V, W) --votersDone--> C(W)         C: majority of one set, J: majorities of both
 *     <----voters-----'                                   back: W can not be asked, V can
 *
 * For leases and fences (cluster/takeover) each step is an epoch of the table, and these rules make it safe:
 *   1. a voter refuses lease requests of an epoch before its own step (promise.ts); what it promised before runs out;
 *   2. a holder and an asker count by the step that they know, in J by both sets;
 *   3. a step is proposed only when majorities of all sets of the present one said that they know it, and a promise's time
 *      after that.
 * Holder and asker at the same step, or at neighbours, share a set, in which two majorities meet. Further apart, by 3 a
 * majority of a set of the holder's next step has known that step for a promise's time, so by 1 and 2 the holder's lease is
 * out. The step back waits for nobody: the steps before it, at it and after it, up to the next votersDone, all count V, and that
 * one is proposed by 3 when a majority of V knows a step after it. A holder that is ahead of the asker knows all that the asker knows: if the slot is its own again it awaits the asker.
 *
 * Dynamic quorum: a voter that is away for long does not vote until it is back. When one of two is left, or two are, while
 * others are away, a single voter stands the loss of all others; two would stand none. So it is when two are all that there
 * are, and only one of them can serve: the other one may then go, and be removed. Where a store keeps the log, it votes when
 * the members that vote are even in number (kv-vote.ts): two stand the loss of one then.
 */
import { isLeaving } from "./commands.ts";
import { type ClusterState, type Command, type Member, type Quorum, STORE_VOTER } from "./model.ts";
import { changed, epochMoved, find, type Outcome, refused, unchanged } from "./outcome.ts";

export interface QuorumFacts {
  /** The leader, who asks. */
  readonly self: number;
  /** Voters that the log was begun with. */
  readonly founders: readonly number[];
  /** Not heard for so long that the cluster does not wait for their vote. */
  readonly away: ReadonlySet<number>;
  /** Whom the leader hears, and itself. */
  readonly heard: ReadonlySet<number>;
  /** Heard, and hold (nearly) the whole log; the leader included. */
  readonly present: ReadonlySet<number>;
  /** Of those present, who acknowledges leases by now: nobody else gets a vote, since it may be needed at once; default: all of them. */
  readonly promising?: ReadonlySet<number>;
  /** The quorum as it stands, with all that is known of it, has stood for a promise's time. */
  readonly isCalm: boolean;
  /** The log is in a store, which votes too (STORE_VOTER); default: it is the members'. */
  readonly hasStore?: boolean;
  /** The last two nodes need no single voter: one of them can go on alone (takeover/pair.ts), and nothing committed is lost. */
  readonly isPair?: boolean;
}

/** Voters that a cluster with a store begins with: with it they are never even in number. */
export function votersWithStore(members: readonly number[]): readonly number[] {
  return members.length % 2 === 0 ? [...members, STORE_VOTER] : members;
}

/** The step that counts in `state`. */
export function quorumOf(state: Pick<ClusterState, "quorum">, founders: readonly number[]): Quorum {
  return state.quorum ?? { epoch: 0, voters: founders, outgoing: [], known: founders };
}

export function beginVoters(
  cluster: ClusterState,
  { baseEpoch, from, to }: Extract<Command, { type: "voters" }>,
): Outcome {
  const { table } = cluster;
  const present = quorumOf(cluster, from);
  if (baseEpoch !== table.epoch) return epochMoved(cluster, baseEpoch);
  if (!isSame(present.voters, from)) return refused(cluster, `voters are ${present.voters}, not ${from}`);
  if (present.outgoing.length > 0) {
    if (!isSame(present.outgoing, to)) return refused(cluster, "another change of voters is under way");
    return changed(cluster, step(cluster, { voters: present.outgoing, outgoing: [] }));
  }
  if (to.length === 0 || new Set(to).size < to.length) return refused(cluster, `[${to}] is no set of voters`);
  if (isSame(from, to)) return unchanged(cluster);
  if (!isKnown(present)) return refused(cluster, "the change before is not known to a majority yet");
  const stranger = to.find((id) => !from.includes(id) && id !== STORE_VOTER && isGone(find(cluster, id)));
  if (stranger !== undefined) return refused(cluster, `member ${stranger} is not known`);
  const quorum = { voters: sorted(to), outgoing: present.voters };
  return changed(cluster, step(cluster, quorum));
}

export function finishVoters(cluster: ClusterState, baseEpoch: number): Outcome {
  const { table, quorum } = cluster;
  if (baseEpoch !== table.epoch) return epochMoved(cluster, baseEpoch);
  if (quorum === undefined || quorum.outgoing.length === 0) return unchanged(cluster);
  if (!isKnown(quorum)) return refused(cluster, "the change is not known to a majority yet");
  return changed(cluster, step(cluster, { voters: quorum.voters, outgoing: [] }));
}

export function noteVotersKnown(
  cluster: ClusterState,
  { node, epoch }: Extract<Command, { type: "votersKnown" }>,
): Outcome {
  const { quorum } = cluster;
  if (quorum?.epoch !== epoch || quorum.known.includes(node)) return unchanged(cluster);
  return changed(cluster, { quorum: { ...quorum, known: sorted([...quorum.known, node]) } });
}

/** What the leader proposes next about voters; undefined when all is as it should be or has to wait. */
export function planQuorum(state: ClusterState, facts: QuorumFacts): Command | undefined {
  const quorum = quorumOf(state, facts.founders);
  const { voters, outgoing, known } = quorum;
  // It goes by a step as soon as that is committed: it promises nothing to whoever has not applied it.
  if ([...voters, ...outgoing].includes(STORE_VOTER) && !known.includes(STORE_VOTER)) {
    return { type: "votersKnown", node: STORE_VOTER, epoch: quorum.epoch };
  }
  const baseEpoch = state.table.epoch;
  if (outgoing.length > 0 && !hearsMajority(voters, facts.heard)) {
    if (!hearsMajority(outgoing, facts.heard)) return undefined;
    return { type: "voters", baseEpoch, from: voters, to: outgoing };
  }
  if (!isKnown(quorum) || (quorum.epoch > 0 && !facts.isCalm)) return undefined;
  if (quorum.outgoing.length > 0) return { type: "votersDone", baseEpoch };
  // A store takes the word of anybody who reaches it, also of one that is cut off from the others.
  if (facts.hasStore === true && !hearsMajority(quorum.voters, facts.present)) return undefined;
  const to = wanted(state, quorum.voters, facts);
  if (isSame(to, quorum.voters)) return undefined;
  return { type: "voters", baseEpoch, from: quorum.voters, to };
}

/** Who should vote. */
function wanted(state: ClusterState, voters: readonly number[], facts: QuorumFacts): readonly number[] {
  const { founders, away, present, promising = present, hasStore } = facts;
  const belonging = membersOf(state, founders);
  const wasUp = new Set(state.members.filter(({ incarnation }) => incarnation > 0).map(({ id }) => id));
  const all = belonging.filter((id) =>
    voters.includes(id) ? !away.has(id) : wasUp.has(id) && promising.has(id),
  );
  if (all.length === 0) return voters;
  if (hasStore === true) return votersWithStore(all);
  if (all.length !== 2) return all;
  const alone = votesAlone(state, all, all.length < belonging.length, facts);
  return alone === undefined ? all : [alone];
}

/** A majority of two is both of them: one alone stands the loss of the other. Undefined: both have to vote. */
function votesAlone(
  state: ClusterState,
  two: readonly number[],
  isSomebodyMissing: boolean,
  { self, present, isPair = false }: QuorumFacts,
): number | undefined {
  const members = two.map((id) => find(state, id));
  const areNodes = members.every((member) => member?.role === "node");
  // One of them may be nobody who could serve.
  const able = two.filter((_, i) => members[i]?.role !== "witness" && !isKeptOut(members[i]));
  if (able.length === 1 && present.has(able[0]!) && (areNodes || !isSomebodyMissing)) return able[0];
  if (!isSomebodyMissing || (isPair && areNodes)) return undefined;
  const leader = members[two.indexOf(self)];
  if (leader?.role !== "node") return undefined;
  // Who makes way is about to be stopped: nobody could decide then.
  const heir = members.find(
    (member) => member?.role === "node" && member.state === "active" && present.has(member.id),
  );
  return isLeaving(leader) && heir !== undefined ? heir.id : self;
}

/** Everybody who was not removed, by id; a founder that never came up belongs too, and its vote counts until it is away. */
export function membersOf({ members }: Pick<ClusterState, "members">, founders: readonly number[]): number[] {
  const unseen = founders.filter((id) => id !== STORE_VOTER && !members.some((member) => member.id === id));
  return sorted([...members.filter((member) => !isGone(member)).map(({ id }) => id), ...unseen]);
}

/** In each of `sets` that counts `node`, a majority is heard that is not its: the others decide when it is gone. */
export function isDispensable(
  node: number,
  sets: readonly (readonly number[])[],
  heard: ReadonlySet<number>,
): boolean {
  const others = new Set(heard);
  others.delete(node);
  return sets.every((set) => !set.includes(node) || hearsMajority(set, others));
}

function step(
  { table }: ClusterState,
  sets: Pick<Quorum, "voters" | "outgoing">,
): Pick<ClusterState, "table" | "quorum"> {
  const epoch = table.epoch + 1;
  return { table: { ...table, epoch, cause: "voters" }, quorum: { ...sets, epoch, known: [] } };
}

function isKnown({ voters, outgoing, known }: Quorum): boolean {
  return [voters, outgoing].every(
    (set) => set.length === 0 || 2 * set.filter((id) => known.includes(id)).length > set.length,
  );
}

function hearsMajority(voters: readonly number[], present: ReadonlySet<number>): boolean {
  return 2 * voters.filter((id) => id === STORE_VOTER || present.has(id)).length > voters.length;
}

function isGone(member: Member | undefined): boolean {
  return member === undefined || member.state === "removed";
}

/** Its operator disabled it, and it was emptied. */
function isKeptOut(member: Member | undefined): boolean {
  return member?.isDisabled === true && member.state === "drained";
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id) => b.includes(id));
}

function sorted(ids: readonly number[]): number[] {
  return [...ids].sort((a, b) => a - b);
}
