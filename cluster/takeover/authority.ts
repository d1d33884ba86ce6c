/**
 * Authority: one member's whole share in who may decide, ready to be driven by a shell or a simulator: heartbeats, the
 * vote on leases and fences, and, on a node, its own lease and ownership. Owns how they are joined, no rule of its own.
 *
 * The shell: receive() for each datagram, then tick(), at dueMs() at the latest; after either, copy leaseUntilMs to the engine.
 * Effects and events come out synchronously, in the order in which they must be carried out.
 */
import type { Env } from "../../src/base/env.ts";
import { type Claim, FIRST_GENERATION, type Generation, isSameGeneration } from "../control/generation.ts";
import { type ClusterState, type Quorum, STORE_VOTER } from "../control/model.ts";
import type { Mac } from "../liveness/envelope.ts";
import { Heartbeats } from "../liveness/heartbeats.ts";
import type { LivenessEvent, LivenessProfile, PeerConfig } from "../liveness/model.ts";
import { FenceAsker } from "./fence.ts";
import { LeaseHolder } from "./lease.ts";
import {
  decodeClaim,
  decodeFenceAsk,
  decodeFenceReply,
  decodeLeaseAck,
  decodeLeaseRequest,
  encodeClaim,
  encodeFenceAsk,
  encodeFenceReply,
  encodeLeaseAck,
  encodeLeaseRequest,
  type FenceAsk,
  type FenceReply,
  LEASE_ACK_BYTES,
  LEASE_REQUEST_BYTES,
  MESSAGE_CLAIM,
  MESSAGE_FENCE_ASK,
  MESSAGE_FENCE_REPLY,
  MESSAGE_LEASE_ACK,
  MESSAGE_LEASE_REQUEST,
} from "./messages.ts";
import { Ownership, type OwnershipEffect } from "./ownership.ts";
import { PromiseVoter } from "./promise.ts";
import { Rivals } from "./rivals.ts";
import { majority } from "./timing.ts";

export interface AuthorityConfig {
  readonly selfId: number;
  readonly role: "node" | "witness";
  readonly cluster: string;
  readonly profile: LivenessProfile;
  readonly peers: readonly PeerConfig[];
  /** Ids of all voters that the log was begun with, this member too if it is one. */
  readonly voters: readonly number[];
  readonly slots: number;
  readonly mac: Mac;
  /** FLAG_* of liveness/envelope.ts, in all that is sent; default none. */
  readonly flags?: number;
  readonly lifelineReleases: boolean;
  /** `quorum: pair`: this member says from the start which log it has, and whether it serves. */
  readonly isPair?: boolean;
  readonly tickMs?: number;
  readonly marginMs?: number;
  readonly patienceMs?: number;
}

export interface AuthorityOutput {
  /** Sends a datagram; `bytes` is valid during the call only. */
  send(link: number, toNode: number, bytes: Uint8Array): void;
  event(event: LivenessEvent): void;
  effect(effect: AuthorityEffect): void;
}

/** A node's lease ended or came (back): it is fenced or not. Or this member goes by the voters of an epoch from now on. */
export type AuthorityEffect =
  | OwnershipEffect
  | { readonly type: "voters"; readonly epoch: number }
  /** To be asked of the store (control/kv-vote.ts), which votes too: storeAnswered() takes the answers. */
  | {
      readonly type: "storeLease";
      readonly seq: number;
      readonly epoch: number;
      readonly incarnation: number;
    }
  | { readonly type: "storeFence"; readonly ask: FenceAsk }
  /** A peer says that its log is another one than before, or that it serves or does so no more. */
  | { readonly type: "claim"; readonly node: number; readonly claim: Claim }
  /** A peer's lease requests show another epoch than before: it has applied that. */
  | { readonly type: "shown"; readonly node: number; readonly epoch: number }
  | { readonly type: "fenced" | "unfenced"; readonly atMs: number };

export class Authority {
  readonly heartbeats: Heartbeats;
  readonly lease: LeaseHolder;
  readonly rivals: Rivals;
  // Anew when this member gave way to another log.
  voter: PromiseVoter;
  fences: FenceAsker;
  ownership: Ownership;
  readonly #config: AuthorityConfig;
  readonly #output: AuthorityOutput;
  readonly #requestBody = new Uint8Array(LEASE_REQUEST_BYTES);
  /** All that are asked, and may answer. */
  #voters: readonly number[];
  /** Those, and everybody else whom this member knows. */
  #members: readonly number[] = [];
  #quorumEpoch = 0;
  #hasState = false;
  #peers: readonly PeerConfig[];
  /** The incarnation that this process was admitted as; 0: it is not. */
  #incarnation = 0;
  /** By node: the epoch of its latest lease request. */
  readonly #shown = new Map<number, number>();
  /** Peers that fell silent when this member heard no majority: not taken for dead until it hears one again. */
  readonly #unbelieved = new Set<number>();
  #believeAtMs = 0;
  #isStopping = false;
  #nextRequestMs = Number.NEGATIVE_INFINITY;
  #nextStoreMs = Number.NEGATIVE_INFINITY;
  #wasFenced = true;

  constructor(config: AuthorityConfig, env: Env, output: AuthorityOutput) {
    const { voters, profile } = config;
    const { leaseMs } = profile;
    this.#config = config;
    this.#output = output;
    this.#voters = voters;
    this.#peers = config.peers;
    this.#noteMembers();
    this.heartbeats = new Heartbeats(config, env, {
      send: (link, to, bytes) => output.send(link, to, bytes),
      event: (event) => this.#onEvent(event),
      message: (from, _link, type, view, at, length, nowMs) =>
        this.#onMessage(from, type, view, at, length, nowMs),
    });
    this.rivals = new Rivals(profile);
    this.lease = new LeaseHolder({ leaseMs, voters, nonce: this.heartbeats.nonce });
    this.voter = this.#makeVoter(env.nowMs());
    this.fences = this.#makeFences();
    this.ownership = this.#makeOwnership();
    if (config.isPair === true) this.heartbeats.setLasting(MESSAGE_CLAIM, encodeClaim(this.rivals.mine));
  }

  /** Exclusive actions are allowed while now < this. */
  get leaseUntilMs(): number {
    return this.#isStopping || this.rivals.isOutranked ? Number.NEGATIVE_INFINITY : this.lease.validUntilMs;
  }

  /** A datagram. Returns the member that provably sent it, or 0; see Heartbeats.receive(). */
  receive(link: number, bytes: Uint8Array, nowMs: number, sender = 0): number {
    return this.heartbeats.receive(link, bytes, nowMs, sender);
  }

  /** `askedMs`: see Heartbeats.tick(). */
  tick(nowMs: number, askedMs?: number): void {
    this.rivals.tick(nowMs);
    this.heartbeats.judge(nowMs, askedMs);
    // Fenced, and what peers send does not arrive: they shall take over, although they hear us.
    if (nowMs >= this.leaseUntilMs && this.heartbeats.hearsNobody) this.heartbeats.withdraw(nowMs);
    if (this.#unbelieved.size > 0) this.#believeLate(nowMs);
    // Before the lease is asked for again: a fence that lapsed while we stood still must count first.
    this.#run(this.ownership.tick(nowMs));
    this.#requestLease(nowMs);
    this.heartbeats.send(nowMs);
    this.#askDueFences(nowMs);
    this.#watchLease(nowMs);
  }

  /** When tick() is needed, unless something arrives before. Call it once in restMsOf() in any case. */
  dueMs(nowMs: number): number {
    const untilMs = this.leaseUntilMs;
    const isFenced = nowMs >= untilMs;
    const isBusy = this.ownership.isWaiting || this.fences.isWanting || this.#unbelieved.size > 0;
    if (isBusy || isFenced !== this.#wasFenced) return nowMs;
    const dueMs = this.heartbeats.dueMs();
    return isFenced ? dueMs : Math.min(dueMs, untilMs);
  }

  /**
   * The committed state, as of an applied entry; call it in order, it may skip. `ownIncarnation`: the incarnation that the
   * "up" of this very process was given when it was applied; 0 before that. As long as the state does not show that
   * incarnation alive, this process owns nothing, whatever the table says about its id.
   */
  applyState(
    state: Pick<ClusterState, "table" | "members" | "quorum" | "forced">,
    ownIncarnation: number,
    nowMs: number,
  ): void {
    const { table, members, forced = FIRST_GENERATION } = state;
    const isOther = !isSameGeneration(forced, this.rivals.mine.generation);
    if (isOther && this.#hasState && forced.by !== this.#config.selfId) this.#forget(nowMs);
    this.#hasState = true;
    this.#useQuorum(state.quorum);
    this.voter.observe(table.epoch, members);
    if (this.#config.role !== "node") {
      this.#claim(forced, false);
      return;
    }
    const me = members.find((m) => m.id === this.#config.selfId);
    const isAdmitted =
      ownIncarnation !== 0 &&
      me?.incarnation === ownIncarnation &&
      me.state !== "down" &&
      me.state !== "removed";
    this.#incarnation = isAdmitted ? ownIncarnation : 0;
    this.#claim(forced, isAdmitted);
    this.#run(this.ownership.applyTable(table, members, isAdmitted, nowMs));
    if (this.ownership.isWaiting) this.#requestLease(nowMs, true);
  }

  /** Other peers than before: with those that are not among them it speaks no more, and no event tells of them. */
  setPeers(peers: readonly PeerConfig[], nowMs: number): void {
    const before = this.#peers;
    this.#peers = peers;
    this.#noteMembers();
    for (const { nodeId } of before) {
      if (!peers.some((peer) => peer.nodeId === nodeId)) this.heartbeats.removePeer(nodeId);
    }
    for (const peer of peers) {
      if (!before.some(({ nodeId }) => nodeId === peer.nodeId)) this.heartbeats.addPeer(peer, nowMs);
    }
  }

  /** The store gave its vote to the request with this number, or answers about a fence. */
  storeAnswered(answer: number | FenceReply, nowMs: number): void {
    if (typeof answer === "number") {
      this.lease.ack(STORE_VOTER, this.heartbeats.nonce, answer);
      return;
    }
    this.fences.reply(STORE_VOTER, answer, nowMs);
    this.#run(this.ownership.tick(nowMs));
  }

  /** This member has applied all that was committed at some moment after its start: it may vote on leases now. */
  setCaughtUp(): void {
    this.voter.setCaughtUp();
  }

  barrierApplied(from: number, slot: number, epoch: number, nowMs: number): void {
    this.#run(this.ownership.barrierApplied(from, slot, epoch, nowMs));
  }

  /** The peer's kernel closed its lifeline; see Heartbeats.lifelineClosed() for what does not count as that. */
  lifelineClosed(node: number, nowMs: number): void {
    this.heartbeats.lifelineClosed(node, nowMs);
  }

  lifelineOpened(node: number): void {
    this.heartbeats.lifelineOpened(node);
  }

  /** Stops in order: gives up the lease for good and says good-bye on all links. */
  shutdown(nowMs: number): void {
    this.#isStopping = true;
    this.#watchLease(nowMs);
    if (this.#config.isPair === true) {
      const stopped: Claim = { ...this.rivals.mine, isServing: false, isStopped: true };
      this.heartbeats.setLasting(MESSAGE_CLAIM, encodeClaim(stopped));
    }
    this.heartbeats.shutdown(nowMs);
  }

  #makeVoter(nowMs: number): PromiseVoter {
    const { profile, marginMs } = this.#config;
    return new PromiseVoter(
      { leaseMs: profile.leaseMs, ...(marginMs === undefined ? {} : { marginMs }) },
      nowMs,
    );
  }

  #makeFences(): FenceAsker {
    const { profile, marginMs, voters } = this.#config;
    const { leaseMs, intervalMs } = profile;
    const margin = marginMs === undefined ? {} : { marginMs };
    return new FenceAsker({ leaseMs, voters, repeatMs: intervalMs / 2, ...margin });
  }

  #makeOwnership(): Ownership {
    const { selfId, slots, profile, lifelineReleases, patienceMs } = this.#config;
    const patience = patienceMs === undefined ? {} : { patienceMs };
    return new Ownership(
      { selfId, slots, leaseMs: profile.leaseMs, lifelineReleases, ...patience },
      this.fences,
    );
  }

  /**
   * This member gave way to another log: epochs and lives are numbered apart there. As after a restart it knows nothing, assumes a
   * promise to everybody, and votes again when it is let in.
   */
  #forget(nowMs: number): void {
    this.#incarnation = 0;
    this.#run(this.ownership.retire());
    this.lease.forget();
    this.voter = this.#makeVoter(nowMs);
    this.fences = this.#makeFences();
    this.ownership = this.#makeOwnership();
    this.#quorumEpoch = 0;
    this.#unbelieved.clear();
    for (const { nodeId } of this.#peers) {
      if (this.heartbeats.isAlive(nodeId)) this.#run(this.ownership.peerUp(nodeId, nowMs));
    }
  }

  #noteMembers(): void {
    const known = [this.#config.selfId, ...this.#peers.map(({ nodeId }) => nodeId)];
    this.#members = [...new Set([...this.#voters, ...known])];
  }

  #useQuorum(quorum: Quorum | undefined): void {
    if (quorum === undefined || quorum.epoch === this.#quorumEpoch) return;
    const { epoch, voters, outgoing } = quorum;
    this.#quorumEpoch = epoch;
    this.#voters = [...new Set([...voters, ...outgoing])];
    this.#noteMembers();
    const sets = outgoing.length === 0 ? [voters] : [voters, outgoing];
    this.voter.setQuorum(epoch);
    this.lease.setVoters(sets);
    this.fences.setVoters(sets);
    this.#output.effect({ type: "voters", epoch });
  }

  #claim(generation: Generation, isServing: boolean): void {
    const before = this.rivals.mine.generation;
    if (!this.rivals.setMine(generation, isServing) || this.#isStopping) return;
    const isTold = this.#config.isPair === true || generation.epoch > 0;
    this.heartbeats.setLasting(MESSAGE_CLAIM, isTold ? encodeClaim(this.rivals.mine) : undefined);
    if (isSameGeneration(before, generation)) return;
    for (const { nodeId } of this.#peers) {
      // What was asked and promised in another log is over.
      this.heartbeats.setStanding(nodeId, MESSAGE_LEASE_REQUEST, undefined);
      this.heartbeats.setStanding(nodeId, MESSAGE_LEASE_ACK, undefined);
    }
  }

  #onEvent(event: LivenessEvent): void {
    const isDeaf = event.type === "peerDown" && event.cause === "silent" && this.#isDeaf(event.atMs);
    if (event.type === "peerDown") this.rivals.gone(event.node);
    this.#output.event(isDeaf ? { ...event, isDeaf } : event);
    if (this.#config.role !== "node") return;
    if (event.type === "peerUp") this.#unbelieved.delete(event.node);
    // Whoever hears nobody may well be heard: announcing a peer's slots would draw its packets to where they are lost.
    if (isDeaf) this.#unbelieved.add(event.node);
    else this.#run(this.#consequences(event));
    if (event.type === "peerDown") this.#askDueFences(event.atMs);
  }

  /** Who hears a majority again, and a peer still not after a detection time, takes that peer for dead after all. */
  #believeLate(nowMs: number): void {
    const { intervalMs, multiplier } = this.#config.profile;
    if (this.#isDeaf(nowMs)) this.#believeAtMs = nowMs + intervalMs * multiplier;
    if (nowMs < this.#believeAtMs) return;
    for (const node of this.#unbelieved) this.#run(this.ownership.peerDown(node, nowMs));
    this.#unbelieved.clear();
  }

  /** Two voters need each other for everything: then there is no majority besides the silent one. */
  #isDeaf(nowMs: number): boolean {
    const voters = this.#voters;
    const isHeard = (id: number): boolean =>
      id === this.#config.selfId || id === STORE_VOTER || !this.heartbeats.isQuiet(id, nowMs);
    return voters.length > 2 && voters.filter(isHeard).length < majority(voters.length);
  }

  #consequences(event: LivenessEvent): readonly OwnershipEffect[] {
    switch (event.type) {
      case "peerUp":
        return this.ownership.peerUp(event.node, event.atMs);
      case "peerDown":
        return this.ownership.peerDown(event.node, event.atMs);
      case "peerGone":
        return this.ownership.peerGone(event.node, event.incarnation, event.atMs);
      case "linkUp":
        return this.ownership.linkUp(event.node, event.atMs);
      case "linkDown":
      case "linkPace":
        return [];
      case "stalled":
        return this.ownership.reannounce();
      default:
        return event satisfies never;
    }
  }

  #onMessage(from: number, type: number, view: DataView, at: number, length: number, nowMs: number): void {
    if (type !== MESSAGE_CLAIM && this.rivals.isForeign(from)) return;
    switch (type) {
      case MESSAGE_CLAIM: {
        const claim = decodeClaim(view, at, length);
        if (claim !== undefined && this.rivals.claimed(from, claim)) {
          this.#output.effect({ type: "claim", node: from, claim });
        }
        return;
      }
      case MESSAGE_LEASE_REQUEST: {
        const r = decodeLeaseRequest(view, at, length);
        if (r === undefined) return;
        this.heartbeats.setIncarnation(from, r.incarnation);
        this.#noteEpoch(from, r.epoch);
        const isGiven = this.voter.request(from, r.epoch, r.incarnation, nowMs);
        this.heartbeats.setStanding(from, MESSAGE_LEASE_ACK, isGiven ? ackBody(r.nonce, r.seq) : undefined);
        return;
      }
      case MESSAGE_LEASE_ACK: {
        const a = decodeLeaseAck(view, at, length);
        if (a !== undefined) this.lease.ack(from, a.nonce, a.seq);
        return;
      }
      case MESSAGE_FENCE_ASK: {
        const ask = decodeFenceAsk(view, at, length);
        if (ask === undefined || !this.#voters.includes(this.#config.selfId)) return;
        // Who asks is mistaken: this node serves. Its own vote is not to end that, least of all where nobody else votes.
        if (ask.node === this.#config.selfId && nowMs < this.leaseUntilMs) return;
        this.heartbeats.sendNow(from, MESSAGE_FENCE_REPLY, encodeFenceReply(this.#answer(ask, nowMs)));
        return;
      }
      case MESSAGE_FENCE_REPLY: {
        const reply = decodeFenceReply(view, at, length);
        if (reply === undefined) return;
        this.fences.reply(from, reply, nowMs);
        if (this.#config.role === "node") this.#run(this.ownership.tick(nowMs));
        return;
      }
      default:
        // A newer version's message: heartbeats go on working side by side.
        return;
    }
  }

  #noteEpoch(node: number, epoch: number): void {
    if (this.#config.role !== "node" || this.#shown.get(node) === epoch) return;
    this.#shown.set(node, epoch);
    this.#output.effect({ type: "shown", node, epoch });
  }

  #answer(ask: FenceAsk, nowMs: number): FenceReply {
    const f = this.voter.fence(ask.node, ask.epoch, nowMs);
    // What stands in line for the node must not leave any more. (Harmless if it did: the promise is counted.)
    this.heartbeats.setStanding(ask.node, MESSAGE_LEASE_ACK, undefined);
    return { ask: ask.ask, node: ask.node, ...f };
  }

  #askDueFences(nowMs: number): void {
    // No majority could answer, while those that hear us would fence whoever we miss.
    if (this.fences.wanted().length === 0 || this.#isDeaf(nowMs)) return;
    for (const ask of this.fences.due(nowMs)) this.#askFence(ask, nowMs);
  }

  #askFence(ask: FenceAsk, nowMs: number): void {
    const body = encodeFenceAsk(ask);
    for (const v of this.#voters) {
      if (v === STORE_VOTER) this.#output.effect({ type: "storeFence", ask });
      else if (v !== this.#config.selfId) this.heartbeats.sendNow(v, MESSAGE_FENCE_ASK, body);
      else this.fences.reply(v, this.#answer(ask, nowMs), nowMs);
    }
  }

  /**
   * Requests ride along with the heartbeats, which leave next: at most four fresh ones an interval, and one for each burst of them. All
   * members are asked and acknowledge, voters or not: where one alone voted and others vote again, some of them are needed at once, and
   * nobody is to wait for their first promise. A promise that does not count yet binds all the same. Whoever is to hand slots over to us
   * waits to see that we know of it (letting-go.ts): it is told at once, and whether it votes or not.
   */
  #requestLease(nowMs: number, isNewTable = false): void {
    const { role, selfId, profile } = this.#config;
    if (role !== "node" || this.#incarnation === 0 || this.#isStopping) return;
    if (nowMs < this.#nextRequestMs && !isNewTable) return;
    if (this.#voters.length === 1 && this.rivals.isListening(nowMs)) return;
    this.#nextRequestMs = nowMs + profile.intervalMs / 4;
    const { epoch } = this.ownership;
    const nonce = this.heartbeats.nonce;
    const seq = this.lease.request(nowMs);
    encodeLeaseRequest({ nonce, seq, epoch, incarnation: this.#incarnation }, this.#requestBody);
    for (const v of this.#members) {
      if (v === STORE_VOTER) this.#askStore(seq, epoch, nowMs);
      else if (v !== selfId) this.heartbeats.setStanding(v, MESSAGE_LEASE_REQUEST, this.#requestBody);
      else if (this.voter.request(selfId, epoch, this.#incarnation, nowMs))
        this.lease.ack(selfId, nonce, seq);
    }
    for (const node of this.ownership.awaited()) {
      if (isNewTable || !this.#members.includes(node))
        this.heartbeats.sendNow(node, MESSAGE_LEASE_REQUEST, this.#requestBody);
    }
  }

  /** The store is not bothered while members answer: only when half of the lease is gone, four times a lease. */
  #askStore(seq: number, epoch: number, nowMs: number): void {
    const { leaseMs } = this.#config.profile;
    if (nowMs < this.#nextStoreMs || this.lease.validUntilMs - nowMs > leaseMs / 2) return;
    this.#nextStoreMs = nowMs + leaseMs / 4;
    this.#output.effect({ type: "storeLease", seq, epoch, incarnation: this.#incarnation });
  }

  #watchLease(nowMs: number): void {
    const isFenced = nowMs >= this.leaseUntilMs;
    if (isFenced === this.#wasFenced) return;
    this.#wasFenced = isFenced;
    this.#output.effect({ type: isFenced ? "fenced" : "unfenced", atMs: nowMs });
    if (!isFenced) this.#run(this.ownership.reannounce());
  }

  #run(effects: readonly OwnershipEffect[]): void {
    for (const effect of effects) this.#output.effect(effect);
  }
}

function ackBody(nonce: number, seq: number): Uint8Array {
  const body = new Uint8Array(LEASE_ACK_BYTES);
  encodeLeaseAck({ nonce, seq }, body);
  return body;
}
