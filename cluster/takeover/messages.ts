/**
 * Messages of leases and fences, as bodies inside the envelope (liveness/envelope.ts). Owns the formats only.
 *
 *   lease request   | nonce u64 | seq u64 | epoch u32 | incarnation u32 |   holder -> voter
 *   lease ack       | nonce u64 | seq u64 |                                 voter -> holder
 *   fence ask       | ask u32 | epoch u32 | node u8 | zero u8 u16 |         asker -> voter
 *   fence reply     | ask u32 | epoch u32 | node u8 | zero u8 u16 | remaining us u32 | known epoch u32 | seen epoch u32 |
 *   claim           | forced epoch u32 | by u8 | flags u8 | zero u16 |      flags: 1 serves, 2 has stopped for good
 *
 * Big-endian. Lengths must fit exactly.
 */
import type { Claim } from "../control/generation.ts";
import { readU53, writeU53 } from "../liveness/envelope.ts";

export const MESSAGE_LEASE_REQUEST = 2;
export const MESSAGE_LEASE_ACK = 3;
export const MESSAGE_FENCE_ASK = 4;
export const MESSAGE_FENCE_REPLY = 5;
export const MESSAGE_CLAIM = 6;

export const LEASE_REQUEST_BYTES = 24;
export const LEASE_ACK_BYTES = 16;
export const FENCE_ASK_BYTES = 12;
export const FENCE_REPLY_BYTES = 24;
export const CLAIM_BYTES = 8;

const US_PER_MS = 1000;
const U32_MAX = 0xffff_ffff;

/** "I know epoch `epoch`; promise me not to help a takeover." `nonce` names the holder's life, `incarnation` the cluster's. */
export interface LeaseRequest {
  readonly nonce: number;
  readonly seq: number;
  readonly epoch: number;
  readonly incarnation: number;
}

export interface LeaseAck {
  readonly nonce: number;
  readonly seq: number;
}

/** "Acknowledge no request of `node` that knows `epoch` or less." `ask` comes back in the reply. */
export interface FenceAsk {
  readonly ask: number;
  readonly node: number;
  readonly epoch: number;
}

export interface FenceReply {
  readonly ask: number;
  readonly node: number;
  /** The epoch up to which the voter refuses `node`: at least the one asked for. */
  readonly epoch: number;
  /** How long the voter's promises to `node` under such epochs still run, on the voter's clock. */
  readonly remainingMs: number;
  /** The voter has applied this epoch and `node` is down in it: it will refuse that life for good. 0: not so. */
  readonly knownEpoch: number;
  /** The highest epoch that `node` has shown in a request to this voter. */
  readonly seenEpoch: number;
}

export function encodeLeaseRequest(r: LeaseRequest, body: Uint8Array): void {
  const v = viewOf(body);
  writeU53(v, 0, r.nonce);
  writeU53(v, 8, r.seq);
  v.setUint32(16, r.epoch);
  v.setUint32(20, r.incarnation);
}

export function decodeLeaseRequest(v: DataView, at: number, length: number): LeaseRequest | undefined {
  if (length !== LEASE_REQUEST_BYTES) return undefined;
  return {
    nonce: readU53(v, at),
    seq: readU53(v, at + 8),
    epoch: v.getUint32(at + 16),
    incarnation: v.getUint32(at + 20),
  };
}

export function encodeLeaseAck(a: LeaseAck, body: Uint8Array): void {
  const v = viewOf(body);
  writeU53(v, 0, a.nonce);
  writeU53(v, 8, a.seq);
}

export function decodeLeaseAck(v: DataView, at: number, length: number): LeaseAck | undefined {
  if (length !== LEASE_ACK_BYTES) return undefined;
  return { nonce: readU53(v, at), seq: readU53(v, at + 8) };
}

export function encodeFenceAsk(a: FenceAsk): Uint8Array {
  const body = new Uint8Array(FENCE_ASK_BYTES);
  const v = viewOf(body);
  v.setUint32(0, a.ask);
  v.setUint32(4, a.epoch);
  v.setUint8(8, a.node);
  return body;
}

export function decodeFenceAsk(v: DataView, at: number, length: number): FenceAsk | undefined {
  if (length !== FENCE_ASK_BYTES) return undefined;
  return { ask: v.getUint32(at), epoch: v.getUint32(at + 4), node: v.getUint8(at + 8) };
}

export function encodeFenceReply(r: FenceReply): Uint8Array {
  const body = new Uint8Array(FENCE_REPLY_BYTES);
  const v = viewOf(body);
  v.setUint32(0, r.ask);
  v.setUint32(4, r.epoch);
  v.setUint8(8, r.node);
  // Rounded up: a promise must never look shorter than it is.
  v.setUint32(12, Math.min(U32_MAX, Math.ceil(r.remainingMs * US_PER_MS)));
  v.setUint32(16, r.knownEpoch);
  v.setUint32(20, r.seenEpoch);
  return body;
}

export function decodeFenceReply(v: DataView, at: number, length: number): FenceReply | undefined {
  if (length !== FENCE_REPLY_BYTES) return undefined;
  return {
    ask: v.getUint32(at),
    epoch: v.getUint32(at + 4),
    node: v.getUint8(at + 8),
    remainingMs: v.getUint32(at + 12) / US_PER_MS,
    knownEpoch: v.getUint32(at + 16),
    seenEpoch: v.getUint32(at + 20),
  };
}

const CLAIM_SERVES = 1;
const CLAIM_STOPPED = 2;

export function encodeClaim({ generation, isServing, isStopped }: Claim): Uint8Array {
  const body = new Uint8Array(CLAIM_BYTES);
  const v = viewOf(body);
  v.setUint32(0, generation.epoch);
  v.setUint8(4, generation.by);
  v.setUint8(5, (isServing ? CLAIM_SERVES : 0) | (isStopped === true ? CLAIM_STOPPED : 0));
  return body;
}

export function decodeClaim(v: DataView, at: number, length: number): Claim | undefined {
  if (length !== CLAIM_BYTES) return undefined;
  const flags = v.getUint8(at + 5);
  return {
    generation: { epoch: v.getUint32(at), by: v.getUint8(at + 4) },
    isServing: (flags & CLAIM_SERVES) !== 0,
    ...((flags & CLAIM_STOPPED) === 0 ? {} : { isStopped: true }),
  };
}

function viewOf(body: Uint8Array): DataView {
  return new DataView(body.buffer, body.byteOffset, body.byteLength);
}
