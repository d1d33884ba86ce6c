/**
 * Replication: all of it for one node, as the shell uses it: what this node owns goes out (router.ts, sender.ts), what others
 * own comes in (receiver.ts), and both are compared now and then (anti-entropy.ts). Owns how these parts fit together, no rule
 * of its own. No clock, no socket: the shell calls tick() about every 10 ms and hands links in.
 *
 *   changes ring --> drain() --> sender of each peer ==link==> receiver --> replicas ring --> worker
 *                                     ^------------- ack -------------------- applied count <---'
 */
import type { Env } from "../../src/base/env.ts";
import type { RecordRing } from "../../src/base/ring.ts";
import type { SlotTable } from "../control/model.ts";
import { AntiEntropy } from "./anti-entropy.ts";
import { Connector } from "./connector.ts";
import { type SyncLimits, syncLimits } from "./limits.ts";
import type { ReceiverLink, SenderLink } from "./link.ts";
import { matchPolicies, type PolicyMatch, type ResyncReason } from "./messages.ts";
import { Receiver } from "./receiver.ts";
import { Router } from "./router.ts";
import type { SessionEnd } from "./sender.ts";
import { COPY_HELD } from "./slot-book.ts";
import type { RecordFormat } from "./wire-format.ts";

export interface ReplicationOptions {
  readonly selfId: number;
  readonly slots: number;
  /** Filled by the worker. */
  readonly changes: RecordRing;
  /** Emptied by the worker. */
  readonly replicas: RecordRing;
  /** Cell 0: records of the replicas ring that the worker applied since the start. */
  readonly applied: Float64Array;
  /** By node id: changes that this peer has applied; the worker reads it. */
  readonly acked: Float64Array;
  readonly env: Env;
  /** This node's policy fingerprint, compared with every peer's; absent: unknown. */
  readonly policy?: string;
  readonly limits?: Partial<SyncLimits>;
  /** Versions of records that are spoken (wire-format.ts). */
  readonly formats?: readonly RecordFormat[];
  /** A new link to a peer; it closes when the peer cannot be reached. Called by tick() whenever there is none. */
  readonly openLink: (peerId: number) => SenderLink;
  /** The worker must publish these slots: BEGIN, all flows, END, DIGEST. */
  readonly requestExport: (slots: readonly number[]) => void;
  /** The worker must publish a DIGEST of each of these slots. */
  readonly requestDigest: (slots: readonly number[]) => void;
  /** Slots travel whole again: `sent` to this peer, or `asked` for from it. For the journal. */
  readonly onResync: (
    peerId: number,
    slots: readonly number[],
    way: "sent" | "asked",
    reason: ResyncReason | SessionEnd,
  ) => void;
  /** A stream to or from this peer was refused, by either end; 0: by somebody who is not to be believed. For the log. */
  readonly onRefused: (peerId: number, why: string) => void;
  /** To be proposed as `ready`. */
  readonly reportReady: (slots: readonly number[], backupEpochs: readonly number[]) => void;
}

/** How replication to one peer stands. */
export interface PeerSyncStatus {
  readonly isConnected: boolean;
  readonly lagMs: number;
  readonly lagRecords: number;
  readonly lagBytes: number;
  /** Slots that are lost on their way there and not sent again yet. */
  readonly lostSlots: number;
  /** Times that slots had to be sent again: sessions that ended and slots that were asked for. */
  readonly resyncs: number;
  /** Version of the records that the peer is sent: this build's own, or an older build's. */
  readonly recordVersion: number;
  /** Why the peer refused, while it does. */
  readonly refusal: string | undefined;
  readonly policy: PolicyMatch;
}

export class Replication {
  readonly limits: SyncLimits;
  readonly router: Router;
  readonly receiver: Receiver;
  readonly #options: ReplicationOptions;
  readonly #antiEntropy: AntiEntropy;
  readonly #connector: Connector;
  #policy: string;
  readonly #resyncsBy = new Float64Array(256);

  constructor(options: ReplicationOptions) {
    const { selfId, slots, env } = options;
    const limits = syncLimits(options.limits);
    const formats = options.formats === undefined ? {} : { formats: options.formats };
    this.limits = limits;
    this.#options = options;
    this.#policy = options.policy ?? "";
    this.router = new Router({
      selfId,
      slots,
      changes: options.changes,
      acked: options.acked,
      limits,
      env,
      policy: options.policy ?? "",
      ...formats,
      requestExport: options.requestExport,
      onResync: (peerId, slots, reason) => {
        if (isAskedFor(reason)) this.#resyncsBy[peerId] = this.#resyncsBy[peerId]! + slots.length;
        options.onResync(peerId, slots, "sent", reason);
      },
      onRefused: options.onRefused,
    });
    this.receiver = new Receiver({
      selfId,
      slots,
      replicas: options.replicas,
      applied: options.applied,
      limits,
      env,
      ...formats,
      reportReady: options.reportReady,
      onResyncWanted: (ownerId, its, reason) => options.onResync(ownerId, its, "asked", reason),
      onRefused: options.onRefused,
    });
    this.#connector = new Connector(limits, options.openLink);
    this.#antiEntropy = new AntiEntropy(slots, limits.digestIntervalMs);
  }

  /** All other nodes there are: records for them are kept and links opened from now on; before the first table that names them. */
  setPeers(peerIds: readonly number[]): void {
    for (const { peerId } of [...this.router.peers])
      if (!peerIds.includes(peerId)) this.router.forget(peerId);
    for (const peerId of peerIds) this.router.sender(peerId);
  }

  /** A link on which this node receives; `authenticatedId` is the peer's id by its certificate, 0 when unknown. */
  attachReceiver(link: ReceiverLink, authenticatedId = 0): void {
    this.receiver.attach(link, authenticatedId);
  }

  /** A committed table; call it in the turn in which the worker is told, right after that: see Router.setTable(). */
  setTable(table: SlotTable, isAdmitted = true): void {
    this.receiver.setTable(table);
    this.router.setTable(table, isAdmitted);
  }

  /** The worker applied replicas: their owners are told. */
  onApplied(): void {
    this.receiver.onApplied();
  }

  /** Takes changes from the ring and sends them. True when more waits: call again soon. */
  drain(nowMs: number): boolean {
    return this.router.drain(nowMs);
  }

  tick(nowMs: number): void {
    this.receiver.tick(nowMs);
    for (const sender of this.router.peers) this.#connector.tick(sender, nowMs);
    this.router.tick(nowMs);
    const { book } = this.router;
    const due = this.#antiEntropy.due(
      nowMs,
      (slot) => book.isOwned[slot] === 1 && book.isSettled[slot] === 1 && book.state[slot] === COPY_HELD,
    );
    if (due.length > 0) this.#options.requestDigest(due);
  }

  /** The worker compared a digest that a peer sent. */
  digestResult(slot: number, isEqual: boolean): void {
    this.receiver.digestResult(slot, isEqual);
  }

  /** The worker could not keep a copy that a peer sent: its owner is told, and claims it no longer. */
  copyRefused(slot: number): void {
    this.receiver.readiness.refused(slot);
  }

  /** This node's policy is another one: peers are told. */
  setPolicy(policy: string): void {
    this.#policy = policy;
    this.router.setPolicy(policy);
  }

  /** Sends all that this node owns to its backups again; only to one peer when given. Answers how many slots. */
  forceFullSync(peerId = 0): number {
    return this.router.forceFullSync(peerId);
  }

  status(peerId: number, nowMs: number): PeerSyncStatus {
    const sender = this.router.sender(peerId);
    const { overflow, restart, forgot } = sender.counts.sessionEnds;
    return {
      isConnected: sender.isOpen,
      lagMs: this.router.lagMs(peerId, nowMs),
      lagRecords: sender.lagRecords,
      lagBytes: sender.lagBytes,
      lostSlots: this.router.lostSlots(peerId),
      resyncs: overflow + restart + forgot + this.#resyncsBy[peerId]!,
      recordVersion: sender.recordVersion,
      refusal: sender.refusal?.detail,
      policy: matchPolicies(this.#policy, this.receiver.policyOf(peerId)),
    };
  }
}

/** The ends of sessions are counted by the sender. */
function isAskedFor(reason: ResyncReason | SessionEnd): reason is ResyncReason {
  return reason === "digest" || reason === "refused" || reason === "operator";
}
