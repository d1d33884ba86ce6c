/**
 * Keyed hashing: HalfSipHash-1-3 over 32-bit words, and a keyed bijection of 16-bit ports. Owns no key: the cluster's
 * secret gives 32 bytes. Both sides of the project use it: slots of addresses and ports must be the same everywhere.
 *
 *   key:  | w0 w1         | w2 w3              | w4 w5 w6 w7        |
 *         | slot hashing  | flow-table index   | rounds of mix16    |
 *
 * HalfSipHash (Aumasson and Bernstein) is what Linux seeds its tables with (hsiphash): cheap in 32-bit integers, and an
 * outsider who chooses addresses and ports cannot aim at one slot or one chain.
 */
import { assert } from "./assert.ts";

/** Bytes that hashKeyFrom() needs. */
export const HASH_KEY_BYTES = 32;

/** Eight words; see the picture above. Made by hashKeyFrom() only. */
export type HashKey = Uint32Array;

/** The key in words, little endian, so that machines of any byte order agree. */
export function hashKeyFrom(bytes: Uint8Array): HashKey {
  assert(bytes.length === HASH_KEY_BYTES, `a hash key has ${HASH_KEY_BYTES} bytes, not ${bytes.length}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const key = new Uint32Array(HASH_KEY_BYTES / 4);
  for (let i = 0; i < key.length; i++) key[i] = view.getUint32(i * 4, true);
  return key;
}

/** Hash of up to four words for slots (missing ones count as 0): unsigned 32 bits. */
export function keyedHash32(key: HashKey, a: number, b = 0, c = 0, d = 0): number {
  return halfSipHash(key[0]!, key[1]!, a, b, c, d);
}

/** The same as a signed 32-bit integer: see indexHash(). */
export function slotHash(key: HashKey, a: number, b: number, c: number, d: number): number {
  return halfSipHashSigned(key[0]! | 0, key[1]! | 0, a | 0, b | 0, c | 0, d | 0);
}

/** The same under the second part of the key: for indexes, so that slots tell nothing about chains. */
export function indexHash32(key: HashKey, a: number, b = 0, c = 0, d = 0): number {
  return halfSipHash(key[2]!, key[3]!, a, b, c, d);
}

/** The same as a signed 32-bit integer, which a packet path can pass around without boxing a number. */
export function indexHash(key: HashKey, a: number, b: number, c: number, d: number): number {
  return halfSipHashSigned(key[2]! | 0, key[3]! | 0, a | 0, b | 0, c | 0, d | 0);
}

/** HalfSipHash-1-3 of a message of four little-endian words (16 bytes) under the key (k0, k1): unsigned 32 bits. */
export function halfSipHash(k0: number, k1: number, a: number, b: number, c: number, d: number): number {
  return halfSipHashSigned(k0, k1, a, b, c, d) >>> 0;
}

/** halfSipHash() as a signed integer. */
function halfSipHashSigned(k0: number, k1: number, a: number, b: number, c: number, d: number): number {
  let v0 = k0 | 0;
  let v1 = k1 | 0;
  let v2 = 0x6c796765 ^ k0;
  let v3 = 0x74656462 ^ k1;
  let m = a | 0;
  // Five message words (the last one carries the length), one round each.
  for (let i = 0; i < 5; i++) {
    v3 ^= m;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= m;
    m = i === 0 ? b | 0 : i === 1 ? c | 0 : i === 2 ? d | 0 : 0x10000000;
  }
  v2 ^= 0xff;
  for (let i = 0; i < 3; i++) {
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
  }
  return v1 ^ v3;
}

/** Mixes a port by a keyed bijection of 16 bits (a Feistel network of four rounds): 0..65535. */
export function mix16(key: HashKey, port: number): number {
  let left = (port >>> 8) & 0xff;
  let right = port & 0xff;
  for (let round = 4; round < 8; round++) {
    const next = left ^ scramble(right, key[round]!);
    left = right;
    right = next;
  }
  return (left << 8) | right;
}

/** The port that mix16() turned into `mixed`. */
export function unmix16(key: HashKey, mixed: number): number {
  let left = (mixed >>> 8) & 0xff;
  let right = mixed & 0xff;
  for (let round = 7; round >= 4; round--) {
    const previous = right ^ scramble(left, key[round]!);
    right = left;
    left = previous;
  }
  return (left << 8) | right;
}

/** Eight bits that depend on all of `half` and on all of `word`. */
function scramble(half: number, word: number): number {
  let x = Math.imul(half ^ word, 0x85ebca6b);
  x ^= x >>> 13;
  x = Math.imul(x ^ half, 0xc2b2ae35);
  return (x >>> 16) & 0xff;
}
