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
import type { ReceiverMessage, Refuse, ResyncReason, SenderMessage } from "../sync/messages.ts";

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
  return ReplicateRequest.encode({ message: senderToWire(message) }).finish();
}

export function decodeFromSender(bytes: Uint8Array): SenderMessage {
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
  return ReplicateResponse.encode({ message: receiverToWire(message) }).finish();
}

export function decodeFromReceiver(bytes: Uint8Array): ReceiverMessage {
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
