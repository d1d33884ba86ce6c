/**
 * HMAC-SHA-256 (RFC 2104, FIPS 180-4) of short messages under one key: both states of the key are made once, and a message costs its
 * own blocks and one more. Allocates nothing, which node:crypto cannot say: it makes an object, fetches the digest and hashes the key
 * anew for each message. For anything but many short messages use node:crypto.
 *
 *   inner = state after (key ^ 0x36..)      mac = outer <- | inner <- | message | 0x80 0.. length |  | 0x80 0.. length |
 *   outer = state after (key ^ 0x5c..)
 */
import { assert } from "./assert.ts";

const BLOCK_BYTES = 64;
const STATE_WORDS = 8;
export const HMAC_BYTES = 32;
/** Longer keys would have to be hashed first; ours are derived. */
const KEY_BYTES_MAX = BLOCK_BYTES;
/** Where the message's length in bits begins in its last block. */
const LENGTH_AT = 56;

/** The first 32 bits of the fractional parts of the square roots of the first 8 primes. */
const START = Int32Array.of(
  0x6a09e667,
  0xbb67ae85,
  0x3c6ef372,
  0xa54ff53a,
  0x510e527f,
  0x9b05688c,
  0x1f83d9ab,
  0x5be0cd19,
);

/** The same of the cube roots of the first 64 primes. */
const ROUNDS = cubeRoots(64);

export class HmacSha256 {
  readonly #inner = START.slice();
  readonly #outer = START.slice();
  readonly #state = new Int32Array(STATE_WORDS);
  readonly #words = new Int32Array(64);
  readonly #block = new Uint8Array(BLOCK_BYTES);
  readonly #mac = new Uint8Array(HMAC_BYTES);

  constructor(key: Uint8Array) {
    assert(key.length <= KEY_BYTES_MAX, `a key of ${key.length} bytes is longer than ${KEY_BYTES_MAX}`);
    this.#absorbKey(this.#inner, key, 0x36);
    this.#absorbKey(this.#outer, key, 0x5c);
  }

  /** The 32 bytes of `message`'s HMAC, valid until the next call. */
  of(message: Uint8Array): Uint8Array {
    const state = this.#state;
    const mac = this.#mac;
    state.set(this.#inner);
    const whole = message.length - (message.length % BLOCK_BYTES);
    for (let at = 0; at < whole; at += BLOCK_BYTES) compress(state, this.#words, message, at);
    this.#finish(message, whole);
    write(state, mac);
    state.set(this.#outer);
    this.#finish(mac, 0);
    write(state, mac);
    return mac;
  }

  #absorbKey(state: Int32Array, key: Uint8Array, pad: number): void {
    const block = this.#block.fill(pad);
    for (let i = 0; i < key.length; i++) block[i] = pad ^ key[i]!;
    compress(state, this.#words, block, 0);
    block.fill(0);
  }

  /** The rest of a message from `from` on, less than a block, and the padding. A block of the key went before. */
  #finish(message: Uint8Array, from: number): void {
    const block = this.#block.fill(0);
    const left = message.length - from;
    for (let i = 0; i < left; i++) block[i] = message[from + i]!;
    block[left] = 0x80;
    if (left >= LENGTH_AT) {
      compress(this.#state, this.#words, block, 0);
      block.fill(0);
    }
    const bits = (BLOCK_BYTES + message.length) * 8;
    block[60] = bits >>> 24;
    block[61] = bits >>> 16;
    block[62] = bits >>> 8;
    block[63] = bits;
    compress(this.#state, this.#words, block, 0);
  }
}

/** Takes one block of 64 bytes into the state (FIPS 180-4 section 6.2.2). `w`: 64 words of scratch. */
function compress(state: Int32Array, w: Int32Array, bytes: Uint8Array, at: number): void {
  for (let i = 0; i < 16; i++) {
    const p = at + 4 * i;
    w[i] = (bytes[p]! << 24) | (bytes[p + 1]! << 16) | (bytes[p + 2]! << 8) | bytes[p + 3]!;
  }
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15]!;
    const y = w[i - 2]!;
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[i] = (w[i - 16]! + s0 + w[i - 7]! + s1) | 0;
  }
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  let e = state[4]!;
  let f = state[5]!;
  let g = state[6]!;
  let h = state[7]!;
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + ROUNDS[i]! + w[i]!) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] = state[0]! + a;
  state[1] = state[1]! + b;
  state[2] = state[2]! + c;
  state[3] = state[3]! + d;
  state[4] = state[4]! + e;
  state[5] = state[5]! + f;
  state[6] = state[6]! + g;
  state[7] = state[7]! + h;
}

function write(state: Int32Array, out: Uint8Array): void {
  for (let i = 0; i < STATE_WORDS; i++) {
    const word = state[i]!;
    out[4 * i] = word >>> 24;
    out[4 * i + 1] = word >>> 16;
    out[4 * i + 2] = word >>> 8;
    out[4 * i + 3] = word;
  }
}

function cubeRoots(howMany: number): Int32Array {
  const roots = new Int32Array(howMany);
  let found = 0;
  for (let n = 2; found < howMany; n++) {
    if (!isPrime(n)) continue;
    const root = Math.cbrt(n);
    roots[found++] = Math.floor((root - Math.floor(root)) * 0x1_0000_0000) | 0;
  }
  return roots;
}

function isPrime(n: number): boolean {
  for (let i = 2; i * i <= n; i++) if (n % i === 0) return false;
  return true;
}
