/**
 * Link seals: encrypts redirected frames and opens those of peers, with AES-256-GCM of node:crypto (ADR 39). Owns keys, sequences and
 * windows; the form on the wire is packet/geneve.ts, when to seal is the engine's (dataplane/redirect.ts).
 *
 *   cluster secret --HKDF--> redirect key --HKDF(from, to, life of from, life of to, era)--> key of one direction in one era
 *
 * Lives are the nonces that heartbeats prove to each other: random for each process, and both ends' are in the key. So a sequence may
 * begin at 1 in every life without a nonce being used twice under one key, and what was recorded in another life of either end does
 * not open. An era is what the high word of the sequence counts: a new key every 2^32 frames, long before any bound of GCM.
 *
 * Allocates a cipher for each frame: node:crypto cannot start one anew. That is the price of this option, and of nothing else.
 */
import {
  type CipherGCMTypes,
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
} from "node:crypto";
import type { SealMode } from "../base/seal-mode.ts";
import { MAX_NODE_ID } from "../dataplane/cluster-view.ts";
import {
  type RedirectSeal,
  SEAL_FORGED,
  SEAL_NO_KEY,
  SEAL_OPENED,
  SEAL_REPLAYED,
  SealWindow,
} from "../dataplane/redirect-seal.ts";
import { i32, setI32 } from "../packet/bytes.ts";
import { GENEVE_HEADER_BYTES, SEALED_TAG_BYTES, SEQUENCE_AT } from "../packet/geneve.ts";

const CIPHER: CipherGCMTypes = "aes-256-gcm";
const KEY_BYTES = 32;
/** NIST SP 800-38D section 8.2.1: here four bytes of zero and the sequence, which a key sees once. */
const NONCE_BYTES = 12;
const ERA = 2 ** 32;
/** Whole numbers end there; nobody sends that many frames. */
const SEQUENCE_MAX = Number.MAX_SAFE_INTEGER;

/** One direction between two lives. */
interface Direction {
  readonly keyOf: (era: number) => KeyObject;
  era: number;
  /** Derived when the first frame needs it: where nobody seals, none does. */
  key: KeyObject | undefined;
}

interface PeerSeals {
  readonly ownLife: number;
  readonly peerLife: number;
  readonly out: Direction;
  readonly in: Direction;
  readonly window: SealWindow;
  sent: number;
}

export class LinkSeals implements RedirectSeal {
  readonly isSealing: boolean;
  readonly isRequired: boolean;
  readonly #selfId: number;
  readonly #key: Uint8Array;
  readonly #peers: (PeerSeals | undefined)[] = new Array(MAX_NODE_ID + 1).fill(undefined);
  readonly #nonce = new Uint8Array(NONCE_BYTES);
  readonly #options = { authTagLength: SEALED_TAG_BYTES };

  /** `key`: derived for this use from the cluster secret. */
  constructor(selfId: number, key: Uint8Array, mode: SealMode) {
    this.#selfId = selfId;
    this.#key = key;
    this.isSealing = mode !== "never";
    this.isRequired = mode === "always";
  }

  /** A heartbeat of this life of the peer was believed, in this life of ours. Cheap when that is no news. */
  meet(peer: number, ownLife: number, peerLife: number): void {
    const known = this.#peers[peer];
    if (known !== undefined && known.peerLife === peerLife && known.ownLife === ownLife) return;
    const direction = (from: number, to: number, fromLife: number, toLife: number): Direction => {
      const keyOf = (era: number): KeyObject => this.#derive(from, to, fromLife, toLife, era);
      return { keyOf, era: 0, key: undefined };
    };
    this.#peers[peer] = {
      ownLife,
      peerLife,
      out: direction(this.#selfId, peer, ownLife, peerLife),
      in: direction(peer, this.#selfId, peerLife, ownLife),
      window: new SealWindow(),
      sent: 0,
    };
  }

  /** Leaves sequences out, so that tests see an era end. */
  skipTo(peer: number, sequence: number): void {
    const seals = this.#peers[peer];
    if (seals !== undefined) seals.sent = Math.max(seals.sent, sequence - 1);
  }

  seal(bytes: Uint8Array, header: number, lengthBytes: number, peer: number): boolean {
    const seals = this.#peers[peer];
    if (seals === undefined || seals.sent >= SEQUENCE_MAX) return false;
    const sequence = ++seals.sent;
    const era = Math.floor(sequence / ERA);
    if (era !== seals.out.era) turn(seals.out, era);
    setI32(bytes, header + SEQUENCE_AT, era);
    setI32(bytes, header + SEQUENCE_AT + 4, sequence | 0);
    const at = header + GENEVE_HEADER_BYTES;
    const cipher = createCipheriv(CIPHER, presentKey(seals.out), this.#nonceOf(bytes, header), this.#options);
    cipher.setAAD(bytes.subarray(header, at));
    bytes.set(cipher.update(bytes.subarray(at, at + lengthBytes)), at);
    cipher.final();
    bytes.set(cipher.getAuthTag(), at + lengthBytes);
    return true;
  }

  open(bytes: Uint8Array, header: number, lengthBytes: number, peer: number): number {
    const seals = this.#peers[peer];
    if (seals === undefined) return SEAL_NO_KEY;
    const era = i32(bytes, header + SEQUENCE_AT) >>> 0;
    const sequence = era * ERA + (i32(bytes, header + SEQUENCE_AT + 4) >>> 0);
    if (sequence > SEQUENCE_MAX || !seals.window.isFresh(sequence)) return SEAL_REPLAYED;
    const key = keyFor(seals.in, era);
    if (key === undefined) return SEAL_FORGED;
    const at = header + GENEVE_HEADER_BYTES;
    const tag = at + lengthBytes;
    const decipher = createDecipheriv(CIPHER, key, this.#nonceOf(bytes, header), this.#options);
    decipher.setAAD(bytes.subarray(header, at));
    decipher.setAuthTag(bytes.subarray(tag, tag + SEALED_TAG_BYTES));
    const plain = decipher.update(bytes.subarray(at, tag));
    try {
      decipher.final();
    } catch {
      return SEAL_FORGED;
    }
    bytes.set(plain, at);
    seals.window.take(sequence);
    if (era > seals.in.era) turn(seals.in, era);
    return SEAL_OPENED;
  }

  #nonceOf(bytes: Uint8Array, header: number): Uint8Array {
    const nonce = this.#nonce;
    for (let i = 0; i < 8; i++) nonce[4 + i] = bytes[header + SEQUENCE_AT + i]!;
    return nonce;
  }

  #derive(from: number, to: number, fromLife: number, toLife: number, era: number): KeyObject {
    const info = Buffer.alloc(22);
    info[0] = from;
    info[1] = to;
    info.writeBigUInt64BE(BigInt(fromLife), 2);
    info.writeBigUInt64BE(BigInt(toLife), 10);
    info.writeUInt32BE(era, 18);
    return createSecretKey(new Uint8Array(hkdfSync("sha256", this.#key, "", info, KEY_BYTES)));
  }
}

function turn(direction: Direction, era: number): void {
  direction.era = era;
  direction.key = undefined;
}

function presentKey(direction: Direction): KeyObject {
  direction.key ??= direction.keyOf(direction.era);
  return direction.key;
}

/** The key of the present era, of the one before (frames that were overtaken) or of the next: no sender is further. */
function keyFor(direction: Direction, era: number): KeyObject | undefined {
  if (era === direction.era) return presentKey(direction);
  return Math.abs(era - direction.era) === 1 ? direction.keyOf(era) : undefined;
}
