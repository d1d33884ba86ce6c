/**
 * Cookie hash: HalfSipHash-2-4 (Aumasson and Bernstein) of whole 32-bit words. Owns no key. Stronger than the hashes of
 * base/hash.ts, which only spread: whoever sees any number of these for messages of his choice can neither predict another one
 * nor learn the key.
 */

/** Hash of the first `count` words under the key (k0, k1): a signed 32-bit integer. */
export function cookieHash(k0: number, k1: number, message: Int32Array, count: number): number {
  let v0 = k0 | 0;
  let v1 = k1 | 0;
  let v2 = 0x6c796765 ^ k0;
  let v3 = 0x74656462 ^ k1;
  // Behind the message stands a word with its length in bytes; behind that four empty rounds (two words' worth).
  for (let i = 0; i < count + 3; i++) {
    const m = i < count ? message[i]! : i === count ? count << 26 : 0;
    if (i === count + 1) v2 ^= 0xff;
    v3 ^= m;
    for (let round = 0; round < 2; round++) {
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
    v0 ^= m;
  }
  return v1 ^ v3;
}
