/**
 * Sync codec: replication messages to and from bytes (proto/synwall/v1/sync.proto). A slab is copied once or twice into the
 * encoded message, since its memory is reused; a decoded slab is a view into the received buffer, which is nobody else's.
 */
import { MalformedError } from "raft-ts";
import {
  RefuseReason as R,
  ReplicateRequest,
  ReplicateResponse,
  ResyncReason as S,
} from "../../proto/gen/synwall/v1/sync.ts";
import type { Ack, Batch, ReceiverMessage, Refuse, ResyncReason, SenderMessage } from "../sync/messages.ts";

const REFUSE_REASONS: Readonly<Record<Refuse["reason"], R>> = {
  version: R.REFUSE_REASON_VERSION,
  identity: R.REFUSE_REASON_IDENTITY,
  order: R.REFUSE_REASON_ORDER,
  sequence: R.REFUSE_REASON_SEQUENCE,
  bounds: R.REFUSE_REASON_BOUNDS,
};

const RESYNC_REASONS: Readonly<Record<ResyncReason, S>> = {
  digest: S.RESYNC_REASON_DIGEST,
  refused: S.RESYNC_REASON_REFUSED,
  operator: S.RESYNC_REASON_OPERATOR,
};

export function encodeFromSender(message: SenderMessage): Uint8Array {
  if (message.type === "batch") return encodeBatch(message);
  return ReplicateRequest.encode({ message: senderToWire(message) }).finish();
}

export function decodeFromSender(bytes: Uint8Array): SenderMessage {
  const batch = bytes[0] === BATCH_TAG ? decodeBatch(bytes) : undefined;
  if (batch !== undefined) return batch;
  const { message } = ReplicateRequest.decode(bytes);
  switch (message?.$case) {
    case "hello":
      return { type: "hello", ...message.value };
    case "batch":
      return { type: "batch", ...message.value };
    case "heartbeat":
      return { type: "heartbeat", ...message.value };
    case "refuse":
      return { type: "refuse", reason: refuseReason(message.value.reason), detail: message.value.detail };
    default:
      throw new MalformedError("Cannot take a replication message: its kind is not known here");
  }
}

export function encodeFromReceiver(message: ReceiverMessage): Uint8Array {
  if (message.type === "ack") return encodeAck(message);
  return ReplicateResponse.encode({ message: receiverToWire(message) }).finish();
}

export function decodeFromReceiver(bytes: Uint8Array): ReceiverMessage {
  const ack = bytes[0] === ACK_TAG ? decodeAck(bytes) : undefined;
  if (ack !== undefined) return ack;
  const { message } = ReplicateResponse.decode(bytes);
  switch (message?.$case) {
    case "welcome":
      return { type: "welcome", ...message.value };
    case "ack":
      return { type: "ack", ...message.value };
    case "resync":
      return { type: "resync", slots: message.value.slots, reason: resyncReason(message.value.reason) };
    case "refuse":
      return { type: "refuse", reason: refuseReason(message.value.reason), detail: message.value.detail };
    default:
      throw new MalformedError("Cannot take a replication answer: its kind is not known here");
  }
}

/**
 * Batches and acknowledgements pass a thousand times a second, so these two are written by hand: byte for byte what the
 * generated encoder writes (a test compares), with one allocation and one copy of the slab. They are read by hand as well when
 * they are exactly of that form; whatever else comes is the generated decoder's.
 */
function encodeBatch({ firstSequence, count, slab }: Batch): Uint8Array {
  const bodyBytes =
    fieldBytes(firstSequence) +
    fieldBytes(count) +
    (slab.length === 0 ? 0 : fieldBytes(slab.length) + slab.length);
  const out = Buffer.allocUnsafe(1 + varintBytes(bodyBytes) + bodyBytes);
  let at = writeField(out, 0, BATCH_TAG, bodyBytes);
  if (firstSequence !== 0) at = writeField(out, at, FIRST_TAG, firstSequence);
  if (count !== 0) at = writeField(out, at, SECOND_TAG, count);
  if (slab.length === 0) return out;
  at = writeField(out, at, SLAB_TAG, slab.length);
  out.set(slab, at);
  return out;
}

function encodeAck({ appliedSequence, beat }: Ack): Uint8Array {
  const bodyBytes = fieldBytes(appliedSequence) + fieldBytes(beat);
  const out = Buffer.allocUnsafe(1 + varintBytes(bodyBytes) + bodyBytes);
  let at = writeField(out, 0, ACK_TAG, bodyBytes);
  if (appliedSequence !== 0) at = writeField(out, at, FIRST_TAG, appliedSequence);
  if (beat !== 0) writeField(out, at, SECOND_TAG, beat);
  return out;
}

/** A decoded batch; undefined when it is not of the form that encodeBatch() writes. */
function decodeBatch(bytes: Uint8Array): Batch | undefined {
  const reader = new FieldReader(bytes);
  if (!reader.isOneMessage()) return undefined;
  const firstSequence = reader.take(FIRST_TAG);
  const count = reader.take(SECOND_TAG);
  const slabBytes = reader.take(SLAB_TAG);
  const from = reader.at;
  if (reader.isBad || count > UINT32_MAX || from + slabBytes !== bytes.length) return undefined;
  return { type: "batch", firstSequence, count, slab: bytes.subarray(from, from + slabBytes) };
}

function decodeAck(bytes: Uint8Array): Ack | undefined {
  const reader = new FieldReader(bytes);
  if (!reader.isOneMessage()) return undefined;
  const appliedSequence = reader.take(FIRST_TAG);
  const beat = reader.take(SECOND_TAG);
  return reader.isBad || reader.at !== bytes.length ? undefined : { type: "ack", appliedSequence, beat };
}

/** Reads tags of one byte and whole numbers below 2^53 behind them, in the order in which they are asked for. */
class FieldReader {
  at = 1;
  isBad = false;
  readonly #bytes: Uint8Array;

  /** Stands behind the first tag. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The message behind the first tag is all that there is. */
  isOneMessage(): boolean {
    const length = this.#varint();
    return !this.isBad && this.at + length === this.#bytes.length;
  }

  /** The number behind this tag; 0 when another tag comes. */
  take(tag: number): number {
    if (this.at >= this.#bytes.length || this.#bytes[this.at] !== tag) return 0;
    this.at++;
    return this.#varint();
  }

  #varint(): number {
    let value = 0;
    for (let scale = 1; scale <= VARINT_SCALE_MAX; scale *= VARINT_BASE) {
      const byte = this.#bytes[this.at++];
      if (byte === undefined) break;
      value += (byte % VARINT_BASE) * scale;
      if (byte < VARINT_BASE) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
    }
    this.isBad = true;
    return 0;
  }
}

/** Protobuf tags: field number << 3 | wire type (0 varint, 2 length-delimited). */
const BATCH_TAG = (2 << 3) | 2;
const ACK_TAG = (2 << 3) | 2;
const FIRST_TAG = 1 << 3;
const SECOND_TAG = 2 << 3;
const SLAB_TAG = (3 << 3) | 2;
const UINT32_MAX = 0xffff_ffff;
const VARINT_BASE = 128;
/** Of the eighth byte, which holds the highest bits of a number below 2^53. */
const VARINT_SCALE_MAX = VARINT_BASE ** 7;

/** Bytes of a one-byte tag and a varint; nothing is written for zero. */
function fieldBytes(value: number): number {
  return value === 0 ? 0 : 1 + varintBytes(value);
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= VARINT_BASE; rest = Math.floor(rest / VARINT_BASE)) bytes++;
  return bytes;
}

/** Writes a tag and a whole number below 2^53; answers the offset behind them. */
function writeField(out: Uint8Array, from: number, tag: number, value: number): number {
  let at = from;
  out[at++] = tag;
  let rest = value;
  for (; rest >= VARINT_BASE; rest = Math.floor(rest / VARINT_BASE))
    out[at++] = (rest % VARINT_BASE) | VARINT_BASE;
  out[at++] = rest;
  return at;
}

function senderToWire(message: SenderMessage): NonNullable<ReplicateRequest["message"]> {
  switch (message.type) {
    case "hello":
      return { $case: "hello", value: message };
    case "batch":
      return { $case: "batch", value: message };
    case "heartbeat":
      return { $case: "heartbeat", value: message };
    case "refuse":
      return { $case: "refuse", value: refuseToWire(message) };
    default:
      return message satisfies never;
  }
}

function receiverToWire(message: ReceiverMessage): NonNullable<ReplicateResponse["message"]> {
  switch (message.type) {
    case "welcome":
      return { $case: "welcome", value: message };
    case "ack":
      return { $case: "ack", value: message };
    case "resync":
      return {
        $case: "resync",
        value: { slots: [...message.slots], reason: RESYNC_REASONS[message.reason] },
      };
    case "refuse":
      return { $case: "refuse", value: refuseToWire(message) };
    default:
      return message satisfies never;
  }
}

function refuseToWire(message: Refuse): { reason: R; detail: string } {
  return { reason: REFUSE_REASONS[message.reason], detail: message.detail };
}

/** A reason that is newer than this process still refuses. */
function refuseReason(wire: R): Refuse["reason"] {
  return keyOf(REFUSE_REASONS, wire) ?? "order";
}

function resyncReason(wire: S): ResyncReason {
  return keyOf(RESYNC_REASONS, wire) ?? "operator";
}

function keyOf<K extends string, V>(record: Readonly<Record<K, V>>, value: V): K | undefined {
  for (const key of Object.keys(record) as K[]) if (record[key] === value) return key;
  return undefined;
}
