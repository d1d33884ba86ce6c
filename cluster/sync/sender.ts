/**
 * Sender: the owner's end of replication to one peer. Batches records, keeps them until the peer's dataplane applied them,
 * resends them on a new link, and knows how far the peer lags.
 * Does not own which records go to which peer (router.ts), nor connecting (transport).
 *
 *   no link --attach--> connecting --open--> greeting --welcome--> open --close--> no link
 *
 * A batch leaves when fewer than `gatherAtBatches` are unacknowledged, or when it is full; never on a timer. When the
 * backlog overflows, or the peer lost what it had, the session ends: the router is told before the backlog is dropped, and a
 * new session begins on a new link. That costs lag and a resync by slot, never a packet, and memory stays bounded.
 */
import type { Env } from "../../src/base/env.ts";
import { LatencyHistogram } from "../../src/base/histogram.ts";
import { Backlog } from "./backlog.ts";
import type { SyncLimits } from "./limits.ts";
import type { SenderLink } from "./link.ts";
import {
  type ReceiverMessage,
  type RefuseReason,
  type ResyncRequest,
  SYNC_PROTOCOL_VERSION,
  type Welcome,
} from "./messages.ts";
import { convert, type RecordFormat, WireFormats } from "./wire-format.ts";

/** `overflow`: the peer was too far behind. `restart`: the peer lives a new life. `forgot`: it misses what it had. */
export type SessionEnd = "overflow" | "restart" | "forgot";

export interface SenderEvents {
  /** Records were acknowledged, or the stream opened. */
  onProgress(peerId: number): void;
  /** The session ends; the backlog still holds what was not acknowledged, until this returns. */
  onSessionEnd(peerId: number, end: SessionEnd, nowMs: number): void;
  onResync(peerId: number, request: ResyncRequest): void;
  /** The stream ends because one end does not take what the other says; `why` is for the log. */
  onRefused(peerId: number, why: string): void;
}

export interface SenderOptions {
  readonly selfId: number;
  readonly peerId: number;
  readonly limits: SyncLimits;
  readonly env: Env;
  /** This node's policy fingerprint; absent: unknown. */
  readonly policy?: string;
  readonly formats?: readonly RecordFormat[];
  readonly events: SenderEvents;
}

/** Numbers that only grow. */
export interface SenderCounts {
  records: number;
  recordsResent: number;
  batches: number;
  heartbeats: number;
  linksOpened: number;
  linksSilent: number;
  readonly sessionEnds: Record<SessionEnd, number>;
  readonly refusals: Record<RefuseReason, number>;
}

type Phase = "none" | "connecting" | "greeting" | "open";

/** Times of the latest heartbeats; more are never unanswered, since silence closes the link before. */
const BEATS = 64;

export class Sender {
  readonly peerId: number;
  readonly backlog: Backlog;
  /** Time from a change (taken from the ring) to its acknowledgement, for every record. */
  readonly ackLatency = new LatencyHistogram();
  readonly counts: SenderCounts = {
    records: 0,
    recordsResent: 0,
    batches: 0,
    heartbeats: 0,
    linksOpened: 0,
    linksSilent: 0,
    sessionEnds: { overflow: 0, restart: 0, forgot: 0 },
    refusals: { version: 0, identity: 0, order: 0, sequence: 0, bounds: 0 },
  };
  readonly #selfId: number;
  readonly #limits: SyncLimits;
  readonly #env: Env;
  readonly #events: SenderEvents;
  readonly #formats: WireFormats;
  /** Records in one batch, at most. */
  readonly #batchMax: number;
  #policy: string;

  /** What the next hello offers: less than our own after a peer refused it. */
  #offer: RecordFormat;
  /** What the peer is sent. */
  #spoken: RecordFormat;
  #link: SenderLink | undefined;
  #phase: Phase = "none";
  #isBlocked = false;
  #session: number;
  #peerLife = 0;
  /** Every record up to this one is applied by the peer. */
  #acked = 0;
  /** Records of the backlog that went out on this link. */
  #sent = 0;
  /** The highest sequence that ever went out in this session, on any link. */
  #everSent = 0;
  /** Last sequences of the batches that are not acknowledged, oldest first. */
  readonly #batchEnds: Float64Array;
  #batchHead = 0;
  #batchCount = 0;

  readonly #beatMs = new Float64Array(BEATS);
  #beat = 0;
  #beatAnswered = 0;
  #sentMs = 0;
  #heardMs = 0;
  #progressMs = 0;
  #phaseMs = 0;
  #silentSinceMs: number;
  #refusal: { readonly reason: RefuseReason; readonly detail: string } | undefined;

  constructor(options: SenderOptions) {
    this.peerId = options.peerId;
    this.#selfId = options.selfId;
    this.#limits = options.limits;
    this.#env = options.env;
    this.#events = options.events;
    this.#policy = options.policy ?? "";
    this.#formats = new WireFormats(options.formats);
    this.#offer = this.#formats.newest;
    this.#spoken = this.#formats.newest;
    this.#batchMax = this.#formats.recordsPerBatch;
    this.backlog = new Backlog(options.limits.backlogRecords, this.#formats.own.bytes);
    const fullBatches = Math.ceil(options.limits.backlogRecords / this.#batchMax);
    this.#batchEnds = new Float64Array(2 * fullBatches + options.limits.gatherAtBatches + 8);
    this.#session = firstSession(options.env);
    this.#silentSinceMs = options.env.nowMs();
  }

  get session(): number {
    return this.#session;
  }

  get hasLink(): boolean {
    return this.#link !== undefined;
  }

  get isOpen(): boolean {
    return this.#phase === "open";
  }

  /** So many batches are not acknowledged that only a full one may leave. */
  get isWaiting(): boolean {
    return this.#batchCount >= this.#limits.gatherAtBatches;
  }

  /** Sequence of the newest record of this session. */
  get lastSequence(): number {
    return this.#acked + this.backlog.length;
  }

  get ackedSequence(): number {
    return this.#acked;
  }

  /** When the peer last applied something, or when the stream opened. */
  get progressMs(): number {
    return this.#progressMs;
  }

  /** Why the peer refused the latest link, while none is open since. */
  get refusal(): { readonly reason: RefuseReason; readonly detail: string } | undefined {
    return this.#refusal;
  }

  get lagRecords(): number {
    return this.backlog.length;
  }

  get lagBytes(): number {
    return this.backlog.length * this.#spoken.bytes;
  }

  /** Version of the records that the peer is sent. */
  get recordVersion(): number {
    return this.#spoken.version;
  }

  /** Age of the oldest change that is not acknowledged, or of the silence, whichever is longer. */
  lagMs(nowMs: number): number {
    let since = nowMs;
    if (this.backlog.length > 0) since = Math.min(since, this.backlog.publishedMs(0));
    since = Math.min(since, this.#phase === "open" ? this.#unansweredSinceMs(nowMs) : this.#silentSinceMs);
    return nowMs - since;
  }

  /** A new link to the peer; an older one is closed. */
  attach(link: SenderLink): void {
    const nowMs = this.#env.nowMs();
    this.#drop(nowMs, true);
    this.#link = link;
    this.#enter("connecting", nowMs);
    link.bind({
      onOpen: () => {
        if (this.#link !== link) return;
        this.#enter("greeting", this.#env.nowMs());
        this.#greet();
      },
      onMessage: (message) => {
        if (this.#link === link) this.#receive(message);
      },
      onWritable: () => {
        if (this.#link !== link) return;
        this.#isBlocked = false;
        if (this.#phase === "greeting") this.#greet();
        else this.pump();
      },
      onClose: () => {
        if (this.#link === link) this.#drop(this.#env.nowMs(), false);
      },
    });
  }

  /**
   * Takes one record, at word `at`. Its sequence is lastSequence afterwards. False when the backlog overflowed: then the
   * session ended and the record was not taken. Call pump() after the last of a run.
   */
  append(words: Uint32Array, at: number, change: number, publishedMs: number): boolean {
    if (this.backlog.isFull) {
      this.#endSession("overflow", publishedMs);
      return false;
    }
    this.backlog.append(words, at, change, publishedMs);
    return true;
  }

  /** Sends what may be sent now. */
  pump(): void {
    while (this.#phase === "open" && !this.#isBlocked) {
      const unsent = this.backlog.length - this.#sent;
      if (unsent === 0) return;
      if (unsent < this.#batchMax && this.isWaiting) return;
      if (this.#batchCount === this.#batchEnds.length) return;
      if (!this.#sendBatch(Math.min(unsent, this.#batchMax))) return;
    }
  }

  tick(nowMs: number): void {
    if (this.#link === undefined) return;
    if (this.#phase !== "open") {
      if (nowMs - this.#phaseMs > this.#limits.answerMsMax) this.#silent(nowMs);
      return;
    }
    if (nowMs - this.#heardMs > this.#limits.answerMsMax) {
      this.#silent(nowMs);
      return;
    }
    this.pump();
    if (!this.#isBlocked && nowMs - this.#sentMs >= this.#limits.heartbeatMs) this.#sendHeartbeat(nowMs);
  }

  /** Ends the link; for a peer that is no member any more. */
  close(): void {
    this.#drop(this.#env.nowMs(), true);
  }

  /** The policy is another one: told by the hello of a new link, on which the session goes on. */
  setPolicy(policy: string): void {
    if (policy === this.#policy) return;
    this.#policy = policy;
    this.#drop(this.#env.nowMs(), true);
  }

  #greet(): void {
    const isTaken = this.#send({
      type: "hello",
      protocolVersion: SYNC_PROTOCOL_VERSION,
      recordVersion: this.#offer.version,
      recordBytes: this.#offer.bytes,
      nodeId: this.#selfId,
      peerId: this.peerId,
      session: this.#session,
      policyFingerprint: this.#policy,
    });
    this.#isBlocked = !isTaken;
  }

  #receive(message: ReceiverMessage): void {
    const nowMs = this.#env.nowMs();
    this.#heardMs = nowMs;
    switch (message.type) {
      case "welcome":
        this.#onWelcome(message, nowMs);
        return;
      case "ack":
        this.#onAck(message.appliedSequence, message.beat, nowMs);
        return;
      case "resync":
        if (this.#phase === "open") this.#events.onResync(this.peerId, message);
        return;
      case "refuse":
        this.#onRefuse(message.reason, message.detail, nowMs);
        return;
      default:
        message satisfies never;
    }
  }

  #onWelcome(welcome: Welcome, nowMs: number): void {
    const { session, life, receivedSequence: received, appliedSequence: applied } = welcome;
    if (this.#phase !== "greeting") {
      this.#fault("order", "a welcome came, none was due", nowMs);
      return;
    }
    if (welcome.nodeId !== this.peerId) {
      this.#fault("identity", `node ${this.peerId} is expected, ${welcome.nodeId} answers`, nowMs);
      return;
    }
    const spoken = welcome.recordVersion <= this.#offer.version && this.#formats.find(welcome.recordVersion);
    if (!spoken) {
      this.#fault("version", `records of version ${welcome.recordVersion} are asked for`, nowMs);
      return;
    }
    this.#spoken = spoken;
    const isNewLife = this.#peerLife !== 0 && this.#peerLife !== life;
    this.#peerLife = life;
    if (isNewLife) {
      this.#endSession("restart", nowMs);
      return;
    }
    if (session !== this.#session || received < this.#acked) {
      this.#endSession("forgot", nowMs);
      return;
    }
    if (!(applied >= this.#acked && received >= applied && received <= this.#everSent)) {
      this.#fault("sequence", `received ${received}, applied ${applied} of ${this.#everSent} sent`, nowMs);
      return;
    }
    this.#refusal = undefined;
    this.counts.linksOpened++;
    this.#enter("open", nowMs);
    this.#isBlocked = false;
    this.#beatAnswered = this.#beat;
    this.#sentMs = nowMs;
    this.#progressMs = nowMs;
    this.#sent = received - this.#acked;
    this.#batchCount = 0;
    // What the peer received on the old link counts as one batch, so that small ones still wait for its acknowledgement.
    if (received > applied) this.#noteBatch(received);
    this.#onAck(applied, this.#beat, nowMs);
  }

  #onAck(applied: number, beat: number, nowMs: number): void {
    if (this.#phase !== "open") {
      this.#fault("order", "an acknowledgement came before the welcome", nowMs);
      return;
    }
    const count = applied - this.#acked;
    if (count > this.#sent || beat > this.#beat || !Number.isInteger(applied)) {
      this.#fault("sequence", `${applied} acknowledged of ${this.#acked + this.#sent} sent`, nowMs);
      return;
    }
    if (beat > this.#beatAnswered) this.#beatAnswered = beat;
    if (count > 0) {
      const { backlog, ackLatency } = this;
      for (let i = 0; i < count; i++) ackLatency.record(nowMs - backlog.publishedMs(i));
      backlog.release(count);
      this.#acked = applied;
      this.#progressMs = nowMs;
      this.#sent -= count;
      this.#forgetBatches();
    }
    this.pump();
    this.#events.onProgress(this.peerId);
  }

  #onRefuse(reason: RefuseReason, detail: string, nowMs: number): void {
    this.counts.refusals[reason]++;
    this.#refusal = { reason, detail };
    this.#events.onRefused(this.peerId, `it refused (${reason}): ${detail}`);
    this.#drop(nowMs, true);
    // A build that is too old to choose: offer it less, in the end the newest again, since a peer may have been upgraded.
    if (reason === "version") this.#offer = this.#formats.below(this.#offer) ?? this.#formats.newest;
    // Both sides count differently: only a new numbering helps.
    if (reason === "sequence") this.#endSession("forgot", nowMs);
  }

  #sendBatch(wanted: number): boolean {
    const { backlog } = this;
    const count = backlog.contiguous(this.#sent, wanted);
    const firstSequence = this.#acked + this.#sent + 1;
    const slab = convert(backlog.slab(this.#sent, count), this.#formats.own, this.#spoken);
    if (!this.#send({ type: "batch", firstSequence, count, slab })) {
      this.#isBlocked = true;
      return false;
    }
    const end = firstSequence + count - 1;
    this.#sent += count;
    this.#noteBatch(end);
    this.#sentMs = this.#env.nowMs();
    this.counts.batches++;
    const again = Math.max(0, Math.min(count, this.#everSent - firstSequence + 1));
    this.counts.records += count - again;
    this.counts.recordsResent += again;
    if (end > this.#everSent) this.#everSent = end;
    return true;
  }

  #sendHeartbeat(nowMs: number): void {
    const lastSequence = this.#acked + this.#sent;
    if (!this.#send({ type: "heartbeat", beat: this.#beat + 1, lastSequence })) {
      this.#isBlocked = true;
      return;
    }
    this.#beat++;
    this.#beatMs[this.#beat % BEATS] = nowMs;
    this.#sentMs = nowMs;
    this.counts.heartbeats++;
  }

  #send(message: Parameters<SenderLink["send"]>[0]): boolean {
    return this.#link?.send(message) ?? false;
  }

  #noteBatch(end: number): void {
    this.#batchEnds[(this.#batchHead + this.#batchCount) % this.#batchEnds.length] = end;
    this.#batchCount++;
  }

  #forgetBatches(): void {
    while (this.#batchCount > 0 && this.#batchEnds[this.#batchHead]! <= this.#acked) {
      this.#batchHead = (this.#batchHead + 1) % this.#batchEnds.length;
      this.#batchCount--;
    }
  }

  #unansweredSinceMs(nowMs: number): number {
    if (this.#beatAnswered === this.#beat) return nowMs;
    return this.#beatMs[Math.max(this.#beatAnswered + 1, this.#beat - BEATS + 1) % BEATS]!;
  }

  /** The backlog is given up: the router marks what was in it, then everything starts from a new numbering. */
  #endSession(end: SessionEnd, nowMs: number): void {
    this.counts.sessionEnds[end]++;
    this.#drop(nowMs, true);
    this.#events.onSessionEnd(this.peerId, end, nowMs);
    this.backlog.clear();
    this.#session++;
    this.#acked = 0;
    this.#everSent = 0;
  }

  #fault(reason: RefuseReason, detail: string, nowMs: number): void {
    this.counts.refusals[reason]++;
    this.#refusal = { reason, detail };
    this.#events.onRefused(this.peerId, `it was refused (${reason}): ${detail}`);
    this.#send({ type: "refuse", reason, detail });
    this.#drop(nowMs, true);
  }

  #silent(nowMs: number): void {
    this.counts.linksSilent++;
    this.#drop(nowMs, true);
  }

  /** Back to no link; silence counts from the oldest thing that was not answered. */
  #drop(nowMs: number, isToClose: boolean): void {
    const link = this.#link;
    if (link === undefined) return;
    if (this.#phase === "open") this.#silentSinceMs = this.#unansweredSinceMs(nowMs);
    this.#link = undefined;
    this.#enter("none", nowMs);
    this.#isBlocked = false;
    this.#sent = 0;
    this.#batchCount = 0;
    if (isToClose) link.close();
  }

  #enter(phase: Phase, nowMs: number): void {
    this.#phase = phase;
    this.#phaseMs = nowMs;
  }
}

/** 1..2^47: so that two lives of a node practically never number alike. */
function firstSession(env: Env): number {
  return 1 + env.random(0x7fff_ffff) * 65_536 + env.random(65_536);
}
