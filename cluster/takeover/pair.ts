/**
 * Pair: when one of two nodes may go on without the other, though no majority says so. Pure: facts in, a verdict out; asked again and
 * again. Owns the rule; what going on means is control/forced.ts, and what happens when both did is control/generation.ts.
 *
 *   pair         two nodes make up the cluster, and nobody else votes
 *   silent       no heartbeat on any link and nothing of its control plane, for as long as a promise runs: what this node, or the
 *                peer as the only voter, had granted is out
 *   speechless   it is not heard at the pace that it keeps itself either: who does not hear this node sends more seldom than a promise
 *                runs, and may have gone on alone
 *   unanswered   ARP probes for its address, on every link, have had no answer since: its machine is gone, or all links to it are
 *   not deaf     after each of these probes frames of others arrived in a zone: else it is this node that is cut off, and nobody
 *                whom it could serve. When links come back, hosts may be heard before the peer
 *   not new      who just started may only not have met the peer yet: it is given more time
 *
 * A peer that said good-bye, or whose process is provably gone, has no lease: nothing is waited for then, and its machine may answer.
 *
 * One thing no rule can tell: a dead peer from one to which every link is cut. Then both go on.
 */
import { wouldLoseFlows } from "../control/commands.ts";
import type { ClusterState } from "../control/model.ts";
import { quorumOf } from "../control/quorum.ts";
import { DEFAULT_MARGIN_MS, DRIFT } from "./timing.ts";

/** How many leases a silent peer has to come back while some flow of it has no proven copy: to take it over would break that flow. */
export const UNPROVEN_LEASES = 10;
/** Unanswered probes that it takes: each is one frame a link, and a frame may be lost. */
export const PROBES_NEEDED = 3;

export interface PairFacts {
  readonly nowMs: number;
  readonly self: number;
  readonly founders: readonly number[];
  readonly state: ClusterState;
  readonly leaseMs: number;
  /** How long who just started waits for the peer. */
  readonly startPatienceMs: number;
  readonly startedMs: number;
  /** This life of this node was let in by the cluster. */
  readonly isAdmitted: boolean;
  readonly peer: PeerFacts;
}

/** What is known of the peer since it fell silent. */
export interface PeerFacts {
  readonly isHeard: boolean;
  /** Anything of it, in this life of this node; -Infinity: never. */
  readonly lastHeardMs: number;
  /** It said that it stops, or its process is provably gone. */
  readonly isReleased: boolean;
  /** Probes to which an answer could have come by now. */
  readonly probes: number;
  /** Of them, those after which frames of others arrived in a zone: this node would have heard an answer. */
  readonly probesHeard: number;
  readonly isAnswering: boolean;
  /** It was heard within the detection time that it announced itself. */
  readonly isSpeaking: boolean;
}

export type PairWait =
  | "alone"
  | "no-pair"
  | "unknown"
  | "heard"
  | "new"
  | "speaks"
  | "promise"
  | "unproven"
  | "probing"
  | "answers"
  | "deaf";

export type PairVerdict =
  | { readonly type: "force"; readonly peer: number }
  | { readonly type: "wait"; readonly why: PairWait; readonly peer: number };

export function judgePair(facts: PairFacts): PairVerdict {
  const peer = peerOf(facts);
  const { nowMs, leaseMs, startPatienceMs, startedMs, isAdmitted } = facts;
  const wait = (why: PairWait): PairVerdict => ({ type: "wait", why, peer });
  if (peer === 0) return wait("no-pair");
  const { voters, outgoing } = quorumOf(facts.state, facts.founders);
  if ([...voters, ...outgoing].every((id) => id === facts.self)) return wait("alone");
  if (!isKnown(facts)) return wait("unknown");
  const { isHeard, isReleased, lastHeardMs, probes, probesHeard, isAnswering, isSpeaking } = facts.peer;
  if (isHeard) return wait("heard");
  const wasMet = isAdmitted && lastHeardMs > Number.NEGATIVE_INFINITY;
  if (!wasMet && nowMs - Math.max(startedMs, lastHeardMs) < startPatienceMs) return wait("new");
  if (isReleased) return { type: "force", peer };
  if (isSpeaking) return wait("speaks");
  const silentMs = nowMs - lastHeardMs;
  if (silentMs < leaseMs * DRIFT + DEFAULT_MARGIN_MS) return wait("promise");
  if (silentMs < UNPROVEN_LEASES * leaseMs && wouldLoseFlows(facts.state, peer)) return wait("unproven");
  if (probes < PROBES_NEEDED) return wait("probing");
  if (isAnswering) return wait("answers");
  if (probesHeard === 0) return wait("deaf");
  if (probesHeard < PROBES_NEEDED) return wait("probing");
  return { type: "force", peer };
}

/** The other one of a cluster of two nodes in which nobody else votes; 0: it is no such cluster. */
export function peerOf({ self, state, founders }: Pick<PairFacts, "self" | "state" | "founders">): number {
  const nodes = state.members.filter(({ role, state: is }) => role === "node" && is !== "removed");
  const peer = nodes.find(({ id }) => id !== self);
  if (nodes.length !== 2 || peer === undefined || !nodes.some(({ id }) => id === self)) return 0;
  const { voters, outgoing } = quorumOf(state, founders);
  const isOther = (id: number): boolean => id !== self && id !== peer.id;
  return voters.some(isOther) || outgoing.some(isOther) ? 0 : peer.id;
}

/** A cluster begins with both: who was never let in has no state to go on with. */
function isKnown({ self, state }: PairFacts): boolean {
  return state.members.some(({ id, incarnation }) => id === self && incarnation > 0);
}
