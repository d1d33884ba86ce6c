/**
 * Detector: one peer, judged over all the links shared with it. Owns the verdict alive or dead and the quick hint; the
 * states of each link are BFD's (bfd.ts), datagrams are heartbeats.ts's.
 *
 * A peer is dead when it is silent on all links. It is dead sooner when its lifeline closed and one interval passed
 * without anything from it on any link:
 *
 *   last packet heard        lifeline closes           last heard + interval
 *   ------|-------------------------|---------------------------|-------------> dead
 *                                   | poll on all links         | a packet before: measured from that one
 *                                   '-- a final, or a packet more than an interval after the close: alive, hint dropped
 */
import type { Env } from "../../src/base/env.ts";
import { BfdSession } from "./bfd.ts";
import { BFD_ADMIN_DOWN, BFD_DOWN, BFD_UP, type BfdPacket } from "./bfd-packet.ts";
import type { DeathCause, LivenessEvent, LivenessProfile, PeerConfig } from "./model.ts";

/** Without a packet on any link for so many intervals a peer is quiet: no verdict, but another's word may be believed. */
const QUIET_INTERVALS = 1.5;

export interface DetectorLink {
  readonly link: number;
  bfd: BfdSession;
  isUp: boolean;
  lastHeardMs: number;
}

export class PeerDetector {
  readonly peer: PeerConfig;
  readonly links: DetectorLink[];
  isAlive = false;
  /** The highest incarnation that this life of the peer has shown; 0: none yet. */
  incarnation = 0;
  readonly #profile: LivenessProfile;
  readonly #env: Env;
  readonly #emit: (event: LivenessEvent) => void;
  #lastHeardMs = Number.NEGATIVE_INFINITY;
  /** The lifeline closed then and nothing has disproved death since; NaN: no hint. */
  #closedMs = Number.NaN;
  /** This life of the peer was alive once and is not known to be gone. */
  #mayLive = false;
  /** This life is known to be gone, and no other has proven itself. */
  #isOver = false;
  #forgivenMs = 0;

  constructor(
    peer: PeerConfig,
    profile: LivenessProfile,
    env: Env,
    nowMs: number,
    emit: (event: LivenessEvent) => void,
  ) {
    this.peer = peer;
    this.#profile = profile;
    this.#env = env;
    this.#emit = emit;
    this.links = peer.links.map((link) => ({
      link,
      bfd: this.#newSession(nowMs),
      isUp: false,
      lastHeardMs: Number.NEGATIVE_INFINITY,
    }));
  }

  get lastHeardMs(): number {
    return this.#lastHeardMs;
  }

  /** Any authentic datagram of the peer, whatever it carries. */
  heard(l: DetectorLink, nowMs: number): void {
    l.lastHeardMs = nowMs;
    this.#lastHeardMs = nowMs;
    this.#forgivenMs = 0;
    if (nowMs > this.#closedMs + this.#profile.intervalMs) this.#closedMs = Number.NaN;
  }

  /** A BFD packet in an authentic datagram. */
  receive(l: DetectorLink, packet: BfdPacket, nowMs: number): void {
    if (!l.bfd.receive(packet, nowMs)) return;
    if (packet.isFinal) this.#closedMs = Number.NaN;
    this.#settle(nowMs);
  }

  tick(nowMs: number): void {
    for (const l of this.links) l.bfd.tick(nowMs);
    this.#settle(nowMs);
    if (!this.#mayLive || Number.isNaN(this.#closedMs) || nowMs < this.#hintDeadlineMs) return;
    if (this.isAlive) this.#die("lifeline", nowMs);
    else this.#gone(nowMs);
  }

  /** When tick() has something to judge, unless something is heard before. */
  get dueMs(): number {
    let dueMs = Number.POSITIVE_INFINITY;
    for (const { bfd } of this.links) if (!bfd.isSilent) dueMs = Math.min(dueMs, bfd.deadlineMs);
    if (!this.#mayLive || Number.isNaN(this.#closedMs)) return dueMs;
    return Math.min(dueMs, this.#hintDeadlineMs);
  }

  get #hintDeadlineMs(): number {
    return this.#lastHeardMs + this.#forgivenMs + this.#profile.intervalMs;
  }

  /**
   * The peer's kernel closed its lifeline (FIN or RST received; never a local time-out). Polls it on all links, so that a
   * living peer disproves its death in a round trip.
   */
  lifelineClosed(nowMs: number): void {
    this.#closedMs = nowMs;
    for (const l of this.links) if (l.isUp) l.bfd.poll(nowMs);
  }

  /** Nothing speaks against this life of the peer: it is alive, or was not alive yet. */
  get isTrusted(): boolean {
    return Number.isNaN(this.#closedMs) && !this.#isOver && (this.isAlive || !this.#mayLive);
  }

  /** It is dead, or has missed more than an interval on every link. */
  isQuiet(nowMs: number): boolean {
    return (
      !this.isAlive ||
      nowMs > this.#lastHeardMs + this.#forgivenMs + QUIET_INTERVALS * this.#profile.intervalMs
    );
  }

  /** A new life of the peer proved itself: the old one is over, its sessions with it. */
  restarted(nowMs: number): void {
    if (this.isAlive) {
      this.#die("restart", nowMs);
    } else {
      if (this.#mayLive) this.#gone(nowMs);
      this.incarnation = 0;
      this.#replaceSessions(nowMs);
    }
    this.#isOver = false;
  }

  /** Our own loop stood still for `ms`: nothing can be said about that time. */
  forgive(ms: number): void {
    for (const l of this.links) l.bfd.forgive(ms);
    this.#forgivenMs = Math.min(this.#forgivenMs + ms, this.#profile.intervalMs * this.#profile.multiplier);
  }

  #settle(nowMs: number): void {
    for (const l of this.links) {
      const isUp = l.bfd.state === BFD_UP;
      if (isUp === l.isUp) continue;
      l.isUp = isUp;
      this.#emit({ type: isUp ? "linkUp" : "linkDown", node: this.peer.nodeId, link: l.link, atMs: nowMs });
      if (isUp && !this.isAlive) {
        this.isAlive = true;
        this.#mayLive = true;
        this.#emit({ type: "peerUp", node: this.peer.nodeId, atMs: nowMs });
      }
    }
    if (!this.isAlive) return;
    // A link whose peer tells that it cannot hear us is down, but the peer is not silent: it is not dead.
    if (this.links.every((l) => l.bfd.isSilent && !l.isUp)) this.#die("silent", nowMs);
    else if (this.links.every((l) => !l.isUp && (l.bfd.isSilent || l.bfd.remoteState === BFD_ADMIN_DOWN))) {
      this.#die("admin", nowMs);
    }
  }

  #die(cause: DeathCause, nowMs: number): void {
    this.isAlive = false;
    const lastHeardMs = this.#lastHeardMs;
    for (const l of this.links) {
      if (!l.isUp) continue;
      l.isUp = false;
      this.#emit({ type: "linkDown", node: this.peer.nodeId, link: l.link, atMs: nowMs });
    }
    const { incarnation } = this;
    this.#emit({ type: "peerDown", node: this.peer.nodeId, atMs: nowMs, cause, lastHeardMs, incarnation });
    if (cause === "lifeline" || cause === "restart") {
      this.#gone(nowMs);
      this.#replaceSessions(nowMs);
    }
  }

  #gone(nowMs: number): void {
    this.#mayLive = false;
    this.#closedMs = Number.NaN;
    const { incarnation } = this;
    this.incarnation = 0;
    this.#isOver = true;
    this.#emit({ type: "peerGone", node: this.peer.nodeId, atMs: nowMs, incarnation });
  }

  #replaceSessions(nowMs: number): void {
    // A session that is down holds nothing of the old life, and the new one may already have answered it.
    for (const l of this.links) if (l.bfd.state !== BFD_DOWN) l.bfd = this.#newSession(nowMs);
  }

  #newSession(nowMs: number): BfdSession {
    const { intervalMs, multiplier } = this.#profile;
    return new BfdSession(
      { intervalMs, multiplier, slowMs: Math.min(1000, intervalMs * 10) },
      this.#env,
      nowMs,
    );
  }
}
