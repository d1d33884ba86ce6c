/**
 * Inbound: the reading end of replication from one peer. Checks what arrives, passes it on in order, acknowledges what the
 * dataplane applied. One per peer, for the life of the process; links come and go.
 * Does not own the ring (replica-writer.ts) nor proofs of completeness (readiness.ts).
 *
 * When the ring is full a batch waits here (staged, bounded) and the link is paused. Records of a node that is
 * neither the slot's owner nor awaited any more, or of an earlier reign, are left out: they would undo what came since.
 */
import type { Env } from "../../src/base/env.ts";
import {
  OP_DIGEST,
  OP_SNAPSHOT_BEGIN,
  OP_SNAPSHOT_END,
  OP_UPSERT,
  RECORD_EPOCH_AT,
  RECORD_OP_AT,
  RECORD_SLOT_AT,
  RECORD_WIRE_AT,
} from "../../src/base/record.ts";
import type { SlotTable } from "../control/model.ts";
import type { SyncLimits } from "./limits.ts";
import type { ReceiverLink } from "./link.ts";
import {
  type Batch,
  type Hello,
  RESYNC_SLOTS_MAX,
  type RefuseReason,
  type ResyncReason,
  SYNC_PROTOCOL_VERSION,
} from "./messages.ts";
import { isOp } from "./record-words.ts";
import type { ReplicaWriter } from "./replica-writer.ts";
import { convert, type RecordFormat, recordsPerBatch, WireFormats } from "./wire-format.ts";

export interface InboundOptions {
  readonly selfId: number;
  readonly peerId: number;
  /** This node's own life, told to senders. */
  readonly life: number;
  readonly slots: number;
  readonly limits: SyncLimits;
  readonly env: Env;
  readonly writer: ReplicaWriter;
  readonly formats?: readonly RecordFormat[];
  /** A digest was handed to the worker, as the `position`-th record since the start: a result will come. */
  readonly onDigest: (peerId: number, slot: number, epoch: number, position: number) => void;
  readonly onRefused: (peerId: number, why: string) => void;
}

/** Numbers that only grow. */
export interface InboundCounts {
  records: number;
  batches: number;
  acks: number;
  /** Records of slots that the sender has no say in any more. */
  stale: number;
  /** Times that the ring was full and the peer had to wait. */
  stalls: number;
  /** Links closed because even the staging was full. */
  overflows: number;
  sessions: number;
  readonly refusals: Record<RefuseReason, number>;
}

interface Staged {
  readonly slab: Uint8Array;
  /** Records of the slab, and how many of them are written. */
  readonly count: number;
  done: number;
  /** Records that were found fit to be written; those from `done` on wait for room. */
  judged: number;
  readonly firstSequence: number;
  /** Of the session that it came in. */
  readonly tag: number;
}

export class Inbound {
  readonly peerId: number;
  readonly counts: InboundCounts = {
    records: 0,
    batches: 0,
    acks: 0,
    stale: 0,
    stalls: 0,
    overflows: 0,
    sessions: 0,
    refusals: { version: 0, identity: 0, order: 0, sequence: 0, bounds: 0 },
  };
  readonly #options: InboundOptions;
  /** By slot: the lowest epoch of a record that this peer may write; Infinity when it has no say. */
  readonly #minEpoch: Float64Array;
  /** By slot: 1 within a snapshot that may be written; its flows carry the epoch of their last change, however old. */
  readonly #isInSnapshot: Uint8Array;
  /** Session of the batch that was written last. */
  #writtenTag = 0;
  #tableEpoch = 0;

  readonly #formats: WireFormats;
  /** What the peer sends by our welcome. */
  #spoken: RecordFormat;
  #link: ReceiverLink | undefined;
  #policy = "";
  #session = 0;
  /** Counts sessions, so that marks of an older one are known. */
  #generation = 0;
  #received = 0;
  #applied = 0;
  #beat = 0;
  #ackedSequence = 0;
  #ackedBeat = 0;
  #isPaused = false;
  readonly #staged: Staged[] = [];
  #stagedRecords = 0;
  readonly #wanted = new Map<number, ResyncReason>();

  constructor(options: InboundOptions) {
    this.#options = options;
    this.peerId = options.peerId;
    this.#formats = new WireFormats(options.formats);
    this.#spoken = this.#formats.newest;
    this.#minEpoch = new Float64Array(options.slots);
    this.#isInSnapshot = new Uint8Array(options.slots);
  }

  get isConnected(): boolean {
    return this.#link !== undefined;
  }

  /** The peer's policy fingerprint by its latest hello; empty: unknown. */
  get policy(): string {
    return this.#policy;
  }

  get appliedSequence(): number {
    return this.#applied;
  }

  get receivedSequence(): number {
    return this.#received;
  }

  get stagedRecords(): number {
    return this.#stagedRecords;
  }

  /**
   * Who may write which slot. What an owner wrote in an earlier reign, and sent late, is as stale as what a stranger wrote; an
   * earlier owner that is awaited sends its last changes from before the move.
   */
  setTable(table: SlotTable): void {
    this.#tableEpoch = table.epoch;
    for (let slot = 0; slot < this.#minEpoch.length; slot++) {
      if (table.awaiting[slot]!.includes(this.peerId)) this.#minEpoch[slot] = 0;
      else if (table.owner[slot] === this.peerId) this.#minEpoch[slot] = table.movedEpoch[slot]!;
      else this.#minEpoch[slot] = Number.POSITIVE_INFINITY;
    }
  }

  /** A link whose hello was read: what is known goes back, unless the two do not fit. */
  welcome(link: ReceiverLink, hello: Hello): void {
    this.#replaceLink(link);
    this.#policy = hello.policyFingerprint;
    const spoken = this.#formats.choose(hello.recordVersion);
    // A later protocol speaks this one when the welcome says so.
    if (hello.protocolVersion < SYNC_PROTOCOL_VERSION || spoken === undefined) {
      this.refuse(
        "version",
        `Cannot read records of version ${hello.recordVersion} (protocol ${hello.protocolVersion}): needs ${this.#formats.newest.version} (protocol ${SYNC_PROTOCOL_VERSION})`,
      );
      return;
    }
    if (spoken.version === hello.recordVersion && spoken.bytes !== hello.recordBytes) {
      this.refuse("version", `Cannot read records of ${hello.recordBytes} bytes: needs ${spoken.bytes}`);
      return;
    }
    this.#spoken = spoken;
    if (hello.session !== this.#session) {
      this.#session = hello.session;
      this.#generation++;
      this.#received = 0;
      this.#applied = 0;
      this.counts.sessions++;
    }
    this.#beat = 0;
    this.#ackedBeat = 0;
    this.#ackedSequence = this.#applied;
    const { selfId, life } = this.#options;
    const isTaken = link.send({
      type: "welcome",
      protocolVersion: SYNC_PROTOCOL_VERSION,
      recordVersion: spoken.version,
      nodeId: selfId,
      life,
      session: this.#session,
      receivedSequence: this.#received,
      appliedSequence: this.#applied,
    });
    // A link takes at least one message when it is idle.
    if (!isTaken) this.#closeLink();
    else this.#sendWanted();
  }

  batch(message: Batch): void {
    const { count, firstSequence } = message;
    if (firstSequence !== this.#received + 1) {
      this.refuse("sequence", `Cannot take records from ${firstSequence} on: ${this.#received + 1} is next`);
      return;
    }
    const { bytes } = this.#spoken;
    if (!(count >= 1 && count <= recordsPerBatch(bytes)) || message.slab.length !== count * bytes) {
      this.refuse("bounds", `Cannot take ${count} records in ${message.slab.length} bytes`);
      return;
    }
    if (!this.#areSound(message.slab)) return;
    if (this.#stagedRecords + count > this.#options.limits.stagedRecords) {
      // Not received: it comes again on the next link.
      this.counts.overflows++;
      this.#closeLink();
      return;
    }
    const slab = convert(message.slab, this.#spoken, this.#formats.own);
    this.counts.batches++;
    this.counts.records += count;
    this.#received += count;
    this.#staged.push({ slab, count, done: 0, judged: 0, firstSequence, tag: this.#tag });
    this.#stagedRecords += count;
    if (this.#staged.length === 1) this.flush();
    if (this.#staged.length > 0 && !this.#isPaused && this.#link !== undefined) {
      this.#isPaused = true;
      this.counts.stalls++;
      this.#link.pause();
    }
  }

  /** Whether every record is one that the peer may send; else it is refused. */
  #areSound(slab: Uint8Array): boolean {
    const { version, bytes } = this.#spoken;
    for (let at = 0; at < slab.length; at += bytes) {
      if (slab[at + RECORD_WIRE_AT] !== version) {
        this.refuse("version", `Cannot read a record of version ${slab[at + RECORD_WIRE_AT]}`);
        return false;
      }
      if (!isOp(slab[at + RECORD_OP_AT]!) || slotOf(slab, at) >= this.#options.slots) {
        this.refuse("bounds", `Cannot apply op ${slab[at + RECORD_OP_AT]} of slot ${slotOf(slab, at)}`);
        return false;
      }
    }
    return true;
  }

  /** `applied` is up to date: the hub settles before it passes a heartbeat on. */
  heartbeat(beat: number, lastSequence: number): void {
    if (lastSequence !== this.#received) {
      this.refuse("sequence", `Cannot go on after ${lastSequence}: ${this.#received} was received last`);
      return;
    }
    this.#beat = beat;
    this.acknowledge();
  }

  /** Writes what waits, as far as there is room. True when nothing waits any more. */
  flush(): boolean {
    const { writer } = this.#options;
    while (this.#staged.length > 0) {
      const staged = this.#staged[0]!;
      if (!writer.canMark || !this.#writeOut(staged)) return false;
      this.#staged.shift();
      this.#stagedRecords -= staged.count;
    }
    if (this.#isPaused) {
      this.#isPaused = false;
      this.#link?.resume();
    }
    return true;
  }

  /** A mark of this peer was applied; those of an older session do not count. */
  settle(tag: number, sequence: number): void {
    if (tag === this.#tag) this.#applied = sequence;
  }

  /** Tells the sender what is applied, when that is news. */
  acknowledge(): void {
    if (this.#link === undefined || this.#session === 0) return;
    if (this.#applied === this.#ackedSequence && this.#beat === this.#ackedBeat) return;
    if (!this.#link.send({ type: "ack", appliedSequence: this.#applied, beat: this.#beat })) return;
    this.#ackedSequence = this.#applied;
    this.#ackedBeat = this.#beat;
    this.counts.acks++;
  }

  /** Asks the owner to send these slots whole again; kept until a link takes it. */
  request(slots: readonly number[], reason: ResyncReason): void {
    for (const slot of slots) this.#wanted.set(slot, reason);
    this.#sendWanted();
  }

  refuse(reason: RefuseReason, detail: string): void {
    this.counts.refusals[reason]++;
    this.#options.onRefused(this.peerId, `it was refused (${reason}): ${detail}`);
    this.#link?.send({ type: "refuse", reason, detail });
    this.#closeLink();
  }

  /** The link can take messages again. */
  writable(): void {
    this.acknowledge();
    this.#sendWanted();
  }

  /** The link is gone; what was received stays and will be applied. */
  lost(link: ReceiverLink): void {
    if (this.#link !== link) return;
    this.#link = undefined;
    this.#isPaused = false;
  }

  isLink(link: ReceiverLink): boolean {
    return this.#link === link;
  }

  /** The peer in the low byte, as tagPeer() reads it, and the session. */
  get #tag(): number {
    return this.peerId + this.#generation * 256;
  }

  #replaceLink(link: ReceiverLink): void {
    if (this.#link !== link) this.#closeLink();
    this.#link = link;
    this.#isPaused = false;
  }

  #closeLink(): void {
    const link = this.#link;
    this.#link = undefined;
    this.#isPaused = false;
    link?.close();
  }

  /** Writes runs of records that this peer may send; false when the ring was full before the end. */
  #writeOut(staged: Staged): boolean {
    const { slab, count } = staged;
    const { writer } = this.#options;
    if (staged.tag !== this.#writtenTag) {
      // A new session begins no snapshot in the middle.
      this.#writtenTag = staged.tag;
      this.#isInSnapshot.fill(0);
    }
    const before = staged.done;
    while (staged.done < count) {
      while (staged.judged < count && this.#isAllowed(slab, staged.judged * this.#formats.own.bytes))
        staged.judged++;
      const run = staged.judged - staged.done;
      const written = writer.write(slab, staged.done * this.#formats.own.bytes, run);
      this.#noteDigests(slab, staged.done, written);
      staged.done += written;
      if (written < run) break;
      if (staged.judged === count) break;
      this.counts.stale++;
      staged.judged++;
      staged.done++;
    }
    if (staged.done > before) writer.mark(staged.tag, staged.firstSequence + staged.done - 1);
    return staged.done === count;
  }

  /** Called once for each record, in order. */
  #isAllowed(slab: Uint8Array, at: number): boolean {
    const slot = slotOf(slab, at);
    const epoch = u32(slab, at + RECORD_EPOCH_AT);
    // The sender may know a later table than this node does.
    const isCurrent = epoch >= this.#minEpoch[slot]! || epoch > this.#tableEpoch;
    const op = slab[at + RECORD_OP_AT];
    if (op === OP_SNAPSHOT_BEGIN) {
      this.#isInSnapshot[slot] = isCurrent ? 1 : 0;
      return isCurrent;
    }
    if (op === OP_SNAPSHOT_END) {
      // An end whose beginning was left out would drop everything.
      const isOpen = this.#isInSnapshot[slot] === 1;
      this.#isInSnapshot[slot] = 0;
      return isOpen && isCurrent;
    }
    if (op !== OP_UPSERT || this.#isInSnapshot[slot] === 0) return isCurrent;
    return this.#minEpoch[slot] !== Number.POSITIVE_INFINITY || epoch > this.#tableEpoch;
  }

  /** The records from `first` on were just written. */
  #noteDigests(slab: Uint8Array, first: number, count: number): void {
    const { writer, peerId, onDigest } = this.#options;
    for (let i = 0; i < count; i++) {
      const at = (first + i) * this.#formats.own.bytes;
      if (slab[at + RECORD_OP_AT] !== OP_DIGEST) continue;
      onDigest(peerId, slotOf(slab, at), u32(slab, at + RECORD_EPOCH_AT), writer.written - count + i + 1);
    }
  }

  #sendWanted(): void {
    if (this.#wanted.size === 0 || this.#link === undefined || this.#session === 0) return;
    for (const reason of ["digest", "refused", "operator"] as const) {
      const slots = [...this.#wanted.keys()].filter((slot) => this.#wanted.get(slot) === reason);
      if (slots.length === 0) continue;
      if (!this.#link.send({ type: "resync", slots: slots.slice(0, RESYNC_SLOTS_MAX), reason })) return;
      for (const slot of slots) this.#wanted.delete(slot);
    }
  }
}

/** The peer that a mark belongs to. */
export function tagPeer(tag: number): number {
  return tag % 256;
}

function slotOf(slab: Uint8Array, at: number): number {
  return slab[at + RECORD_SLOT_AT]! | (slab[at + RECORD_SLOT_AT + 1]! << 8);
}

function u32(slab: Uint8Array, at: number): number {
  return (slab[at]! | (slab[at + 1]! << 8) | (slab[at + 2]! << 16) | (slab[at + 3]! << 24)) >>> 0;
}
