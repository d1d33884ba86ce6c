/**
 * Receiver: this node's end of all replication that comes in. Gives every link to the peer that it belongs to, turns the
 * worker's count of applied records into acknowledgements, and shares the replicas ring among peers.
 * Does not own one peer's protocol (inbound.ts) nor proofs (readiness.ts).
 */
import type { Env } from "../../src/base/env.ts";
import type { RecordRing } from "../../src/base/ring.ts";
import type { SlotTable } from "../control/model.ts";
import { Inbound, tagPeer } from "./inbound.ts";
import type { SyncLimits } from "./limits.ts";
import type { ReceiverLink } from "./link.ts";
import type { Hello, ResyncReason, SenderMessage } from "./messages.ts";
import { Readiness } from "./readiness.ts";
import { ReplicaWriter } from "./replica-writer.ts";
import type { RecordFormat } from "./wire-format.ts";

export interface ReceiverOptions {
  readonly selfId: number;
  readonly slots: number;
  readonly replicas: RecordRing;
  /** Cell 0, written by the worker: records of the replicas ring that it applied since the start. */
  readonly applied: Float64Array;
  readonly limits: SyncLimits;
  readonly env: Env;
  /** Versions of records (wire-format.ts). */
  readonly formats?: readonly RecordFormat[];
  /** A stream from this peer was refused; 0: before it said who it is, in a way to be believed. */
  readonly onRefused: (peerId: number, why: string) => void;
  /** An owner is asked to send slots whole again. */
  readonly onResyncWanted: (ownerId: number, slots: readonly number[], reason: ResyncReason) => void;
  readonly reportReady: (slots: readonly number[], backupEpochs: readonly number[]) => void;
}

export class Receiver {
  readonly readiness: Readiness;
  readonly #options: ReceiverOptions;
  readonly #writer: ReplicaWriter;
  readonly #life: number;
  readonly #inbound = new Map<number, Inbound>();
  #table: SlotTable | undefined;
  #refusedHellos = 0;
  #turn = 0;

  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.#writer = new ReplicaWriter(options.replicas, options.limits.unappliedBatches);
    this.#life = 1 + options.env.random(0x7fff_ffff) * 65_536 + options.env.random(65_536);
    this.readiness = new Readiness({
      selfId: options.selfId,
      slots: options.slots,
      limits: options.limits,
      reportReady: options.reportReady,
      requestResync: (ownerId, slots, reason) => {
        options.onResyncWanted(ownerId, slots, reason);
        this.#peer(ownerId).request(slots, reason);
      },
    });
  }

  get peers(): Iterable<Inbound> {
    return this.#inbound.values();
  }

  /** The policy fingerprint that the peer told last; empty: unknown. */
  policyOf(peerId: number): string {
    return this.#inbound.get(peerId)?.policy ?? "";
  }

  /** What comes in from one peer; undefined until it spoke. */
  peer(peerId: number): Inbound | undefined {
    return this.#inbound.get(peerId);
  }

  /** Links that were refused before their peer was known. */
  get refusedHellos(): number {
    return this.#refusedHellos;
  }

  /** Records that wait because the replicas ring is full. */
  get stagedRecords(): number {
    let sum = 0;
    for (const peer of this.#inbound.values()) sum += peer.stagedRecords;
    return sum;
  }

  setTable(table: SlotTable): void {
    this.#table = table;
    this.readiness.setTable(table);
    for (const peer of this.#inbound.values()) peer.setTable(table);
  }

  /** A peer connected. `authenticatedId` is what the transport knows of it; its hello must say the same. */
  attach(link: ReceiverLink, authenticatedId = 0): void {
    let peer: Inbound | undefined;
    link.bind({
      onOpen: () => {},
      onMessage: (message) => {
        if (peer === undefined) peer = this.#onHello(link, message, authenticatedId);
        else if (peer.isLink(link)) this.#onMessage(peer, link, message);
      },
      onWritable: () => {
        if (peer?.isLink(link)) peer.writable();
      },
      onClose: () => peer?.lost(link),
    });
  }

  /** The worker applied something: acknowledge it, and fill the room that it made. */
  onApplied(): void {
    this.#settle();
    for (const peer of this.#inbound.values()) peer.acknowledge();
    // Who was first is last the next time, so that no peer keeps the ring to itself.
    const waiting = [...this.#inbound.values()].filter((peer) => peer.stagedRecords > 0);
    this.#turn++;
    for (let i = 0; i < waiting.length; i++) waiting[(i + this.#turn) % waiting.length]!.flush();
  }

  tick(nowMs: number): void {
    this.onApplied();
    this.readiness.tick(nowMs, this.#options.applied[0]!);
  }

  /** The worker compared a digest of the stream; results of one slot come in the order of the digests. */
  digestResult(slot: number, isEqual: boolean): void {
    this.readiness.result(slot, isEqual);
  }

  #onHello(link: ReceiverLink, message: SenderMessage, authenticatedId: number): Inbound | undefined {
    const why = this.#whyNot(message, authenticatedId);
    if (why !== undefined) {
      this.#refusedHellos++;
      this.#options.onRefused(authenticatedId, `it was refused: ${why}`);
      link.send({ type: "refuse", reason: message.type === "hello" ? "identity" : "order", detail: why });
      link.close();
      return undefined;
    }
    const peer = this.#peer((message as Hello).nodeId);
    this.#settle();
    peer.welcome(link, message as Hello);
    return peer;
  }

  #whyNot(message: SenderMessage, authenticatedId: number): string | undefined {
    if (message.type !== "hello") return `Cannot take ${message.type} first: needs hello`;
    const { nodeId, peerId } = message;
    const { selfId } = this.#options;
    if (peerId !== selfId) return `Cannot serve a link meant for node ${peerId}: this is node ${selfId}`;
    if (!(nodeId >= 1 && nodeId <= 255) || nodeId === selfId) return `Cannot take node id ${nodeId}`;
    if (authenticatedId !== 0 && authenticatedId !== nodeId) {
      return `Cannot take node ${nodeId}: its certificate is of node ${authenticatedId}`;
    }
    return undefined;
  }

  #onMessage(peer: Inbound, link: ReceiverLink, message: SenderMessage): void {
    switch (message.type) {
      case "batch":
        peer.batch(message);
        return;
      case "heartbeat":
        this.#settle();
        peer.heartbeat(message.beat, message.lastSequence);
        return;
      case "hello":
        peer.refuse("order", "Cannot take a second hello on one link");
        return;
      case "refuse":
        peer.lost(link);
        link.close();
        return;
      default:
        message satisfies never;
    }
  }

  #settle(): void {
    this.#writer.settle(this.#options.applied[0]!, (tag, sequence) => {
      this.#inbound.get(tagPeer(tag))?.settle(tag, sequence);
    });
  }

  #peer(peerId: number): Inbound {
    const known = this.#inbound.get(peerId);
    if (known !== undefined) return known;
    const { selfId, slots, limits, env } = this.#options;
    const peer = new Inbound({
      selfId,
      peerId,
      life: this.#life,
      slots,
      limits,
      env,
      ...(this.#options.formats === undefined ? {} : { formats: this.#options.formats }),
      writer: this.#writer,
      onRefused: this.#options.onRefused,
      onDigest: (from, slot, epoch, position) => this.readiness.expect(from, slot, epoch, position),
    });
    if (this.#table !== undefined) peer.setTable(this.#table);
    this.#inbound.set(peerId, peer);
    return peer;
  }
}
