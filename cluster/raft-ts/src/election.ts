/**
 * Elections (Raft section 5.2 and 5.4.1, pre-vote after thesis section 9.6) and the transfer of leadership
 * (thesis section 3.10).
 */
import { broadcastAppend, sendAppend } from "./append.ts";
import type { Raft } from "./raft.ts";
import {
  type MsgPreVote,
  type MsgPreVoteResp,
  type MsgVote,
  type MsgVoteResp,
  NONE,
  type NodeId,
} from "./types.ts";

export type CampaignType = "preElection" | "election" | "transfer";

/** "transfer" in ASCII: a vote request that the leader itself has asked for. */
const TRANSFER_CONTEXT = Uint8Array.from("transfer", (c) => c.charCodeAt(0));

/** Whether the vote request bypasses the lease, as the leader wants to be replaced. */
export function isForcedVote(m: MsgVote | MsgPreVote): boolean {
  const { context } = m;
  return (
    context !== undefined &&
    context.length === TRANSFER_CONTEXT.length &&
    TRANSFER_CONTEXT.every((byte, i) => context[i] === byte)
  );
}

// ---------------------------------------------------------------- candidate

/** Starts an election, unless this server must not lead. */
export function campaign(r: Raft, type: CampaignType): void {
  if (r.state === "leader") return;
  if (!r.isPromotable()) {
    r.logger?.info(`${r.id} cannot campaign: it is no voter, or a snapshot waits to be installed`);
    return;
  }
  if (r.log.hasUnappliedConfChange(r.config.maxSizePerMessage)) {
    // It would count votes by an outdated membership.
    r.logger?.info(`${r.id} cannot campaign at term ${r.term}: a membership change waits to be applied`);
    return;
  }
  requestVotes(r, type);
}

function requestVotes(r: Raft, type: CampaignType): void {
  if (type === "preElection") r.becomePreCandidate();
  else r.becomeCandidate();
  const isPre = type === "preElection";
  const term = isPre ? r.term + 1 : r.term;
  const index = r.log.lastIndex();
  const logTerm = r.log.lastTerm();
  for (const to of r.tracker.voterIds()) {
    if (to === r.id) {
      // The vote for itself counts like any other: once it is durable.
      r.send({ type: isPre ? "MsgPreVoteResp" : "MsgVoteResp", from: r.id, to, term, reject: false });
      continue;
    }
    const request = { type: isPre ? "MsgPreVote" : "MsgVote", from: r.id, to, term, index, logTerm } as const;
    r.send(type === "transfer" ? { ...request, context: TRANSFER_CONTEXT } : request);
  }
}

export function handleVoteResponse(r: Raft, m: MsgVoteResp | MsgPreVoteResp): void {
  // A late answer to the pre-vote must not count in the election, nor the other way round.
  if ((m.type === "MsgPreVoteResp") !== (r.state === "precandidate")) return;
  r.tracker.recordVote(m.from, !m.reject);
  switch (r.tracker.tallyVotes()) {
    case "won":
      if (r.state === "precandidate") {
        requestVotes(r, "election");
      } else {
        r.becomeLeader();
        broadcastAppend(r, { mayBeEmpty: true });
      }
      return;
    case "lost":
      r.becomeFollower(r.term, NONE);
      return;
    case "pending":
      return;
  }
}

// ---------------------------------------------------------------- voter

/**
 * Gives or refuses a vote. Learners vote too: they may have been promoted without knowing it yet, and then the
 * candidate needs them.
 */
export function handleVoteRequest(r: Raft, m: MsgVote | MsgPreVote): void {
  const isFree = r.vote === NONE && r.lead === NONE;
  const mayVote = r.vote === m.from || isFree || (m.type === "MsgPreVote" && m.term > r.term);
  // Who names no term asks for a vote in none.
  const isGranted = m.term > 0 && mayVote && r.log.isUpToDate(m.index, m.logTerm);
  r.logger?.debug(`${r.id} ${isGranted ? "granted" : "rejected"} ${m.type} of ${m.from} for term ${m.term}`);
  const type = m.type === "MsgVote" ? "MsgVoteResp" : "MsgPreVoteResp";
  // A granted pre-vote answers with the term that was asked for: the own one may be outdated and be ignored.
  const term = isGranted ? m.term : r.term;
  r.send({ type, from: r.id, to: m.from, term, reject: !isGranted });
  if (isGranted && m.type === "MsgVote") {
    r.electionElapsed = 0;
    r.vote = m.from;
  }
}

// ---------------------------------------------------------------- transfer

/** On a leader: bring `to` up to date, then tell it to campaign; proposals are refused meanwhile. */
export function handleTransfer(r: Raft, to: NodeId): void {
  const progress = r.tracker.progressOf(to);
  if (progress === undefined || progress.isLearner || r.transferee === to) return;
  // A new wish replaces the one under way, even if it is to stay.
  r.transferee = NONE;
  if (to === r.id) return;
  r.logger?.info(`${r.id} hands leadership of term ${r.term} to ${to}`);
  // The transfer has one election timeout from now.
  r.electionElapsed = 0;
  r.transferee = to;
  if (progress.match === r.log.lastIndex()) sendTimeoutNow(r, to);
  else sendAppend(r, to, progress, { mayBeEmpty: true });
}

export function sendTimeoutNow(r: Raft, to: NodeId): void {
  r.send({ type: "MsgTimeoutNow", from: r.id, to, term: r.term });
}

/** The leader chose this server: no pre-vote, and the lease does not hold the others back. */
export function handleTimeoutNow(r: Raft): void {
  campaign(r, "transfer");
}

/**
 * A witness that leads hands leadership at once to the voter that holds most of the log, as soon as one answers. A
 * core cannot know which others are witnesses, so a cluster has one at most. When the chosen one does not take over,
 * the witness leads on for one election timeout and then prefers another.
 */
export function handOver(r: Raft): void {
  if (!r.isWitness || r.state !== "leader" || r.transferee !== NONE || r.handOverPause > 0) return;
  let successor = NONE;
  let match = 0;
  for (const [id, progress] of r.tracker.members) {
    if (id === r.id || !r.tracker.membership.incoming.has(id)) continue;
    if (!progress.recentActive || progress.state !== "replicate") continue;
    const isBetter = progress.match > match && id !== r.declinedBy;
    if (successor === NONE || successor === r.declinedBy || isBetter) {
      successor = id;
      match = progress.match;
    }
  }
  if (successor !== NONE) handleTransfer(r, successor);
}
