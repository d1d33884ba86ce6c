/**
 * Heartbeats: everything that this member says to and hears from its peers in datagrams, on every link. Owns lives
 * (nonces), replay windows, when a datagram goes out and what rides along; verdicts are detector.ts's, the meaning of
 * lease and fence messages is takeover's.
 *
 * A life is proven before it is believed: a peer's new nonce counts only in a datagram that echoes ours, so a recorded
 * datagram cannot pose as a restart. Messages other than BFD count only in such a datagram as well: what was meant for an
 * earlier life of this member, and came late, must not answer a question of this one.
 *
 *   A (new life)                         B
 *     | nonce a, echo 0  ------------->  |
 *     | <-------------  nonce b, echo a  | (at once, and only there: a may be recorded)
 *   b proven                             |
 *     | nonce a, echo b  ------------->  | a proven; an older life of A is over
 *
 * A datagram of a life between two may echo b as well, and come late: what was made before the latest of a's proves nothing.
 */
import { assert } from "../../src/base/assert.ts";
import type { Env } from "../../src/base/env.ts";
import { drawJitter } from "./bfd.ts";
import { BFD_BYTES, decodeBfd, emptyBfdPacket, encodeBfd } from "./bfd-packet.ts";
import {
  clusterHash,
  ENVELOPE_HEADER_BYTES,
  type EnvelopeRefusal,
  EnvelopeWriter,
  emptyEnvelopeHeader,
  type Mac,
  MESSAGE_HEADER_BYTES,
  noRefusals,
  openEnvelope,
} from "./envelope.ts";
import { newPeer, type Peer, type Wire } from "./heartbeat-peer.ts";
import {
  CLUSTER_LINK,
  type LinkStatus,
  type LivenessEvent,
  type LivenessProfile,
  MAX_LINKS,
  type PeerConfig,
} from "./model.ts";
import { MESSAGE_PACE, PACE_BYTES } from "./pace.ts";

/** Message types of the envelope. Leases and fences: takeover/messages.ts. */
export const MESSAGE_BFD = 1;

/** Lives of one peer that are remembered as over; older ones are forgotten first. */
const RETIRED_MAX = 256;

/** No datagram is on its way for so long while others of the same machine, that were sent later, are there. */
const ELDER_MS = 1000;

export interface HeartbeatConfig {
  readonly selfId: number;
  /** Cluster name; all members use the same. */
  readonly cluster: string;
  readonly profile: LivenessProfile;
  readonly peers: readonly PeerConfig[];
  readonly mac: Mac;
  /** FLAG_* of envelope.ts, in all that is sent; default none. */
  readonly flags?: number;
  /** How often a shell that asks for no deadline calls tick(); default 2. A tick that is an interval later than that was a stall. */
  readonly tickMs?: number;
}

export interface HeartbeatOutput {
  /** Sends a datagram; `bytes` is valid during the call only. */
  send(link: number, toNode: number, bytes: Uint8Array): void;
  event(event: LivenessEvent): void;
  /** A message other than BFD from a proven peer; the body is `length` bytes at `at`, valid during the call only. */
  message(
    from: number,
    link: number,
    type: number,
    view: DataView,
    at: number,
    length: number,
    nowMs: number,
  ): void;
}

export class Heartbeats {
  /** This life of the member. */
  readonly nonce: number;
  /** Datagrams refused, by reason; for metrics. */
  readonly refused: Record<EnvelopeRefusal, number> = noRefusals();
  /** Who sent the last datagram that was refused, by reason, as receive() was told; for the log. */
  readonly refusedSender: Record<EnvelopeRefusal, number> = noRefusals();
  /** Who sent the last datagram, if it was authentic, of a life that is not proven yet; else 0. */
  claimant = 0;
  readonly #config: HeartbeatConfig;
  readonly #env: Env;
  readonly #output: HeartbeatOutput;
  readonly #cluster: number;
  readonly #writer: EnvelopeWriter;
  readonly #peers = new Map<number, Peer>();
  readonly #header = emptyEnvelopeHeader();
  readonly #packet = emptyBfdPacket();
  readonly #isPeer = (node: number): boolean => this.#peers.has(node);
  #lastTickMs: number;
  #sender = 0;
  #isWithdrawn = false;
  #lasting: { readonly type: number; readonly body: Uint8Array } | undefined;

  constructor(config: HeartbeatConfig, env: Env, output: HeartbeatOutput) {
    this.#config = config;
    this.#env = env;
    this.#output = output;
    this.#cluster = clusterHash(config.cluster);
    this.#writer = new EnvelopeWriter(this.#cluster, config.mac, config.flags);
    this.nonce = (1 + env.random(0xffff)) * 0x1_0000_0000 + env.random(0xffffffff);
    const nowMs = env.nowMs();
    this.#lastTickMs = nowMs;
    for (const p of config.peers) this.addPeer(p, nowMs);
  }

  /** Starts to speak with one more member. */
  addPeer(config: PeerConfig, nowMs: number): void {
    assert(
      config.nodeId !== this.#config.selfId && !this.#peers.has(config.nodeId),
      `peer ${config.nodeId} is known already`,
    );
    assert(
      config.links.every((l) => l >= 0 && l < MAX_LINKS),
      `peer ${config.nodeId} has a link beyond ${MAX_LINKS - 1}`,
    );
    const emit = (event: LivenessEvent): void => this.#output.event(event);
    this.#peers.set(config.nodeId, newPeer(config, this.#config.profile, this.#env, nowMs, emit));
  }

  /** Stops to speak with a member; no event tells of it. */
  removePeer(node: number): void {
    this.#peers.delete(node);
  }

  /**
   * A datagram that arrived on `link`. Returns the member that provably sent it in this life, so that the shell may learn
   * its MAC address on that link; 0 when it was refused or is not proven yet. `sender` is what the shell knows of who sent it.
   */
  receive(link: number, bytes: Uint8Array, nowMs: number, sender = 0): number {
    this.#sender = sender;
    this.claimant = 0;
    const h = this.#header;
    const refusal = openEnvelope(
      bytes,
      this.#config.selfId,
      this.#cluster,
      this.#isPeer,
      this.#config.mac,
      h,
    );
    if (refusal !== undefined) return this.#refuse(refusal);
    const peer = this.#peers.get(h.from) as Peer;
    const wire = peer.wires.find((w) => w.detector.link === link);
    if (wire === undefined || h.link !== link) return this.#refuse("stranger");
    if (h.nonce !== peer.nonce && !this.#meetLife(peer, wire, bytes, nowMs)) {
      if (!peer.retired.includes(h.nonce)) this.claimant = h.from;
      return 0;
    }
    if (!wire.window.accept(h.seq)) return this.#refuse("replayed");
    const from = h.from;
    peer.detector.heard(wire.detector, nowMs);
    if (this.#isWithdrawn) this.#return(nowMs);
    if (peer.isLifelineWaiting && peer.detector.isTrusted) peer.isLifelineWaiting = false;
    this.#deliver(peer, wire, bytes, nowMs);
    if (wire.detector.bfd.isTransmitDue(nowMs)) this.#transmit(peer, wire, nowMs);
    return from;
  }

  /** Counts a datagram that the shell refused by itself. */
  refuse(reason: EnvelopeRefusal, sender: number): void {
    this.#sender = sender;
    this.#refuse(reason);
  }

  /**
   * Lets time pass: judges peers and sends what is due. Call it after the receive() calls of the same turn, at dueMs() or earlier.
   * `askedMs`: for when the shell had itself woken up for this. What it is later than that, it stood still.
   */
  tick(nowMs: number, askedMs?: number): void {
    this.judge(nowMs, askedMs);
    this.send(nowMs);
  }

  /** The first half of tick(). */
  judge(nowMs: number, askedMs = this.#lastTickMs + (this.#config.tickMs ?? 2)): void {
    const lateMs = nowMs - askedMs;
    this.#lastTickMs = nowMs;
    if (lateMs > this.#config.profile.intervalMs) {
      for (const p of this.#peers.values()) p.detector.forgive(lateMs);
      this.#output.event({ type: "stalled", lateMs, atMs: nowMs });
    }
    for (const p of this.#peers.values()) {
      p.detector.tick(nowMs);
      const isClusterUp = p.wires.some((w) => w.detector.link === CLUSTER_LINK && w.detector.isUp);
      if (p.pace.judge(nowMs, isClusterUp)) for (const w of p.wires) w.detector.bfd.hurry(nowMs);
    }
  }

  /**
   * The second half of tick(): sends what is due, and with it all that may leave by now. To wake up for a datagram, here and where
   * it arrives, costs more than the datagram.
   */
  send(nowMs: number): void {
    if (nowMs < this.#transmitDueMs()) return;
    const jitter = drawJitter(this.#env);
    for (const p of this.#peers.values()) {
      for (const w of p.wires) {
        if (w.detector.bfd.mayTransmit(nowMs)) this.#transmit(p, w, nowMs, p.nonce, jitter);
      }
    }
  }

  /** When tick() is needed, unless something arrives before. */
  dueMs(): number {
    let dueMs = this.#transmitDueMs();
    for (const { detector } of this.#peers.values()) dueMs = Math.min(dueMs, detector.dueMs);
    return dueMs;
  }

  #transmitDueMs(): number {
    let dueMs = Number.POSITIVE_INFINITY;
    for (const { wires } of this.#peers.values()) {
      for (const { detector } of wires) dueMs = Math.min(dueMs, detector.bfd.transmitDueMs);
    }
    return dueMs;
  }

  /**
   * The peer's kernel closed its lifeline: FIN or RST received, without a good-bye. A local time-out or error is not a close,
   * nor is a connection that a living process replaces.
   */
  lifelineClosed(node: number, nowMs: number): void {
    const peer = this.#peers.get(node);
    if (peer === undefined) return;
    const isOfThisLife = peer.lifeline !== 0 && peer.lifeline === peer.nonce;
    peer.lifeline = 0;
    peer.isLifelineWaiting = false;
    // Of another life, or of one that we cannot tell: it proves nothing about the present one. BFD finds out.
    if (!isOfThisLife) return;
    peer.detector.lifelineClosed(nowMs);
    peer.detector.tick(nowMs);
    this.#transmitDue(peer, nowMs);
  }

  /**
   * A lifeline to the peer stands. It belongs to the proven life or a later one, so its end proves the end of the proven one.
   * If something speaks against the proven life, it may well be the next one's: a new process can open its lifeline before
   * its first datagram is believed.
   */
  lifelineOpened(node: number): void {
    const peer = this.#peers.get(node);
    if (peer === undefined) return;
    peer.lifeline = peer.nonce;
    peer.isLifelineWaiting = peer.nonce === 0 || !peer.detector.isTrusted;
  }

  /** Lets `body` ride along in every datagram to `node` until it is replaced; undefined ends it. One per type. */
  setStanding(node: number, type: number, body: Uint8Array | undefined): void {
    const standing = this.#peers.get(node)?.standing;
    if (body === undefined) standing?.delete(type);
    else standing?.set(type, body);
  }

  /** Lets `body` ride along in every datagram to everybody, in front of all but BFD, whatever life the peer is in; undefined ends it. */
  setLasting(type: number, body: Uint8Array | undefined): void {
    this.#lasting = body === undefined ? undefined : { type, body };
  }

  /** Sends a message to `node` on all its links now. */
  sendNow(node: number, type: number, body: Uint8Array): void {
    const peer = this.#peers.get(node);
    if (peer === undefined) return;
    for (const wire of peer.wires) {
      this.#begin(peer, wire, peer.nonce);
      this.#addLasting();
      this.#addBody(type, body);
      this.#output.send(wire.detector.link, node, this.#writer.seal());
    }
  }

  /** This member stops in order: its peers need not wait for silence. Call it when nothing is decided here any more. */
  shutdown(nowMs: number): void {
    for (const p of this.#peers.values()) {
      for (const w of p.wires) w.detector.bfd.adminDown(nowMs);
      this.#transmitDue(p, nowMs);
    }
  }

  /** This member heard peers once and hears none of them now, on any link. They may hear it still: then nobody finds out by silence. */
  get hearsNobody(): boolean {
    const peers = [...this.#peers.values()];
    return (
      peers.some(({ nonce }) => nonce !== 0) &&
      peers.every(({ wires }) => wires.every(({ detector }) => detector.bfd.isSilent))
    );
  }

  /**
   * Tells all who may hear it that this member is no longer there for them, as shutdown() does, until it hears somebody again. For
   * one that is deaf: what is sent to it is lost, and the others would wait for a silence that does not come.
   */
  withdraw(nowMs: number): void {
    if (this.#isWithdrawn) return;
    this.#isWithdrawn = true;
    this.shutdown(nowMs);
  }

  #return(nowMs: number): void {
    this.#isWithdrawn = false;
    for (const p of this.#peers.values()) for (const w of p.wires) w.detector.bfd.adminUp(nowMs);
  }

  /** The proven life of the peer has shown that it is this incarnation of the member. */
  setIncarnation(node: number, incarnation: number): void {
    const detector = this.#peers.get(node)?.detector;
    if (detector !== undefined) detector.incarnation = Math.max(detector.incarnation, incarnation);
  }

  /** The nonce of the peer's proven life; 0: none is. */
  lifeOf(node: number): number {
    return this.#peers.get(node)?.nonce ?? 0;
  }

  isAlive(node: number): boolean {
    return this.#peers.get(node)?.detector.isAlive === true;
  }

  /** The peer is dead, or has missed more than an interval: this member would believe others that it is dead. */
  isQuiet(node: number, nowMs: number): boolean {
    return this.#peers.get(node)?.detector.isQuiet(nowMs) !== false;
  }

  /** The peer says that what we send it on the cluster link comes late, or not at all. */
  isLateThere(node: number): boolean {
    return this.#peers.get(node)?.pace.isLateThere === true;
  }

  /** The latest datagram of the peer on any link, whether it hears us or not; -Infinity: none. */
  lastHeardMs(node: number): number {
    let latestMs = Number.NEGATIVE_INFINITY;
    for (const l of this.#peers.get(node)?.detector.links ?? []) latestMs = Math.max(latestMs, l.lastHeardMs);
    return latestMs;
  }

  /**
   * The peer was heard on some link within its own detection time there: one that does not hear us sends seldom, and says so
   * (RFC 5880 section 6.8.4).
   */
  isSpeaking(node: number): boolean {
    return this.#peers.get(node)?.wires.some(({ detector }) => !detector.bfd.isSilent) === true;
  }

  /** The peer answers on this link. */
  isLinkUp(node: number, link: number): boolean {
    return this.#peers.get(node)?.detector.links.some((l) => l.link === link && l.isUp) === true;
  }

  status(): LinkStatus[] {
    const all: LinkStatus[] = [];
    for (const p of this.#peers.values()) {
      const node = p.detector.peer.nodeId;
      for (const l of p.detector.links) {
        all.push({ node, link: l.link, isUp: l.isUp, lastHeardMs: l.lastHeardMs });
      }
    }
    return all;
  }

  /** A nonce that is not the proven one. True when it is proven now; otherwise the sender is given our nonce to echo. */
  #meetLife(peer: Peer, wire: Wire, bytes: Uint8Array, nowMs: number): boolean {
    const h = this.#header;
    if (peer.retired.includes(h.nonce)) {
      this.#refuse("stale");
      return false;
    }
    if (h.echo === this.nonce) {
      if (this.#isElder(peer, bytes, nowMs)) {
        this.#refuse("stale");
        return false;
      }
      if (peer.nonce !== 0) {
        peer.retired.push(peer.nonce);
        if (peer.retired.length > RETIRED_MAX) peer.retired.shift();
        peer.standing.clear();
        peer.pace.reset();
      }
      const wasKnown = peer.nonce !== 0;
      peer.nonce = h.nonce;
      if (peer.isLifelineWaiting) {
        peer.lifeline = h.nonce;
        peer.isLifelineWaiting = false;
      }
      for (const w of peer.wires) {
        w.window.reset();
        w.detector.bfd.hurry(nowMs);
      }
      if (wasKnown) peer.detector.restarted(nowMs);
      return true;
    }
    // At once, but at most one answer per interval: recorded datagrams must not make us flood.
    if (nowMs - wire.answeredMs >= this.#config.profile.intervalMs) {
      wire.answeredMs = nowMs;
      this.#transmit(peer, wire, nowMs, h.nonce);
    }
    return false;
  }

  /**
   * The datagram is from before the latest one of the proven life, by the clock that all lives of a machine have: a life between
   * ours and that one, that is over. After a reboot the clock is another one: who goes on speaking while the proven life
   * does not is believed in the end.
   */
  #isElder(peer: Peer, bytes: Uint8Array, nowMs: number): boolean {
    const { nonce } = this.#header;
    if (peer.nonce === 0 || !peer.pace.isBehind(this.#stampOf(bytes))) return false;
    if (peer.elder !== nonce || peer.detector.lastHeardMs >= peer.elderSinceMs) {
      peer.elder = nonce;
      peer.elderSinceMs = nowMs;
    }
    return nowMs - peer.elderSinceMs < ELDER_MS;
  }

  /** The sender's clock when it made the datagram; NaN: it is no heartbeat, and does not say. */
  #stampOf(bytes: Uint8Array): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = ENVELOPE_HEADER_BYTES;
    for (let i = 0; i < this.#header.count; i++) {
      const length = view.getUint16(at + 2);
      at += MESSAGE_HEADER_BYTES;
      if (view.getUint8(at - MESSAGE_HEADER_BYTES) === MESSAGE_PACE && length >= PACE_BYTES)
        return view.getUint32(at);
      at += length;
    }
    return Number.NaN;
  }

  #deliver(peer: Peer, wire: Wire, bytes: Uint8Array, nowMs: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const { count, from, echo } = this.#header;
    const isForThisLife = echo === this.nonce;
    let at = ENVELOPE_HEADER_BYTES;
    for (let i = 0; i < count; i++) {
      const type = view.getUint8(at);
      const length = view.getUint16(at + 2);
      at += MESSAGE_HEADER_BYTES;
      if (type === MESSAGE_PACE) {
        if (isForThisLife) this.#readPace(peer, wire, view, at, length, nowMs);
      } else if (type !== MESSAGE_BFD) {
        if (isForThisLife) this.#output.message(from, wire.detector.link, type, view, at, length, nowMs);
      } else if (decodeBfd(view, at, length, this.#packet)) {
        peer.detector.receive(wire.detector, this.#packet, nowMs);
      } else {
        this.#refuse("malformed");
      }
      at += length;
    }
  }

  #readPace(peer: Peer, wire: Wire, view: DataView, at: number, length: number, nowMs: number): void {
    const { link } = wire.detector;
    if (!peer.pace.read(view, at, length, link === CLUSTER_LINK, nowMs)) return;
    const node = peer.detector.peer.nodeId;
    const { isLateThere } = peer.pace;
    this.#output.event({ type: "linkPace", node, link: CLUSTER_LINK, isLate: isLateThere, atMs: nowMs });
  }

  #transmitDue(peer: Peer, nowMs: number): void {
    for (const w of peer.wires) if (w.detector.bfd.isTransmitDue(nowMs)) this.#transmit(peer, w, nowMs);
  }

  #transmit(peer: Peer, wire: Wire, nowMs: number, echo = peer.nonce, jitter = drawJitter(this.#env)): void {
    this.#begin(peer, wire, echo);
    const packet = wire.detector.bfd.transmit(nowMs, jitter);
    encodeBfd(packet, this.#writer.view, this.#writer.add(MESSAGE_BFD, BFD_BYTES));
    peer.pace.write(this.#writer.view, this.#writer.add(MESSAGE_PACE, PACE_BYTES), nowMs);
    this.#addLasting();
    for (const [type, body] of peer.standing) this.#addBody(type, body);
    this.#output.send(wire.detector.link, peer.detector.peer.nodeId, this.#writer.seal());
  }

  #begin(peer: Peer, wire: Wire, echo: number): void {
    wire.seq++;
    this.#writer.begin(
      this.#config.selfId,
      peer.detector.peer.nodeId,
      wire.detector.link,
      this.nonce,
      echo,
      wire.seq,
    );
  }

  #addLasting(): void {
    if (this.#lasting !== undefined) this.#addBody(this.#lasting.type, this.#lasting.body);
  }

  #addBody(type: number, body: Uint8Array): void {
    const at = this.#writer.add(type, body.length);
    assert(at >= 0, `message ${type} of ${body.length} bytes does not fit its datagram`);
    this.#writer.bytes.set(body, at);
  }

  #refuse(reason: EnvelopeRefusal): number {
    this.refused[reason]++;
    this.refusedSender[reason] = this.#sender;
    return 0;
  }
}
