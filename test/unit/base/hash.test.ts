import { describe, expect, test } from "vitest";
import { seededRandom } from "../../../src/base/env.ts";
import {
  HASH_KEY_BYTES,
  halfSipHash,
  hashKeyFrom,
  indexHash32,
  keyedHash32,
  mix16,
  slotHash,
  unmix16,
} from "../../../src/base/hash.ts";

const key = hashKeyFrom(Uint8Array.from({ length: HASH_KEY_BYTES }, (_, i) => i));

/** HalfSipHash with any number of rounds over bytes, written after the paper, slowly. */
function reference(k: Uint8Array, message: Uint8Array, c: number, d: number): number {
  const view = new DataView(k.buffer);
  const v = new Uint32Array(4);
  const rotate = (x: number, n: number): number => ((x << n) | (x >>> (32 - n))) >>> 0;
  const round = (): void => {
    v[0]! += v[1]!;
    v[1] = rotate(v[1]!, 5) ^ v[0]!;
    v[0] = rotate(v[0]!, 16);
    v[2]! += v[3]!;
    v[3] = rotate(v[3]!, 8) ^ v[2]!;
    v[0]! += v[3]!;
    v[3] = rotate(v[3]!, 7) ^ v[0]!;
    v[2]! += v[1]!;
    v[1] = rotate(v[1]!, 13) ^ v[2]!;
    v[2] = rotate(v[2]!, 16);
  };
  const [k0, k1] = [view.getUint32(0, true), view.getUint32(4, true)];
  v.set([k0, k1, 0x6c796765 ^ k0, 0x74656462 ^ k1]);
  const padded = new Uint8Array((message.length & ~3) + 4);
  padded.set(message);
  padded[padded.length - 1] = message.length;
  const words = new DataView(padded.buffer);
  for (let at = 0; at < padded.length; at += 4) {
    const m = words.getUint32(at, true);
    v[3]! ^= m;
    for (let i = 0; i < c; i++) round();
    v[0]! ^= m;
  }
  v[2]! ^= 0xff;
  for (let i = 0; i < d; i++) round();
  return (v[1]! ^ v[3]!) >>> 0;
}

describe("HalfSipHash", () => {
  test("the reference of this test gives the published vectors of HalfSipHash-2-4", () => {
    const k = Uint8Array.from([0, 1, 2, 3, 4, 5, 6, 7]);
    const message = (n: number): Uint8Array => Uint8Array.from({ length: n }, (_, i) => i);
    expect(reference(k, message(0), 2, 4)).toBe(0x5b9f35a9);
    expect(reference(k, message(1), 2, 4)).toBe(0xb85a4727);
    expect(reference(k, message(4), 2, 4)).toBe(0x89466e2a);
  });

  test("halfSipHash() is HalfSipHash-1-3 of sixteen bytes", () => {
    const random = seededRandom(1);
    for (let i = 0; i < 200; i++) {
      const k = Uint8Array.from({ length: 8 }, () => random(256));
      const m = Uint8Array.from({ length: 16 }, () => random(256));
      const [kv, mv] = [new DataView(k.buffer), new DataView(m.buffer)];
      const word = (view: DataView, n: number): number => view.getUint32(n * 4, true);
      expect(halfSipHash(word(kv, 0), word(kv, 1), word(mv, 0), word(mv, 1), word(mv, 2), word(mv, 3))).toBe(
        reference(k, m, 1, 3),
      );
    }
  });

  test("slots and indexes are hashed under different parts of the key", () => {
    expect(keyedHash32(key, 1, 2, 3, 4)).not.toBe(indexHash32(key, 1, 2, 3, 4));
    expect(keyedHash32(key, 5)).toBe(keyedHash32(key, 5, 0, 0, 0));
    expect(slotHash(key, 1, 2, 3, 4) >>> 0).toBe(keyedHash32(key, 1, 2, 3, 4));
  });

  test("neighbouring addresses spread evenly over 64 slots", () => {
    const counts = new Uint32Array(64);
    for (let i = 0; i < 6400; i++) counts[keyedHash32(key, 0x0a0a0000 + i) & 63]!++;
    expect(Math.min(...counts)).toBeGreaterThan(60);
    expect(Math.max(...counts)).toBeLessThan(145);
  });
});

describe("mix16", () => {
  test("is a bijection that unmix16() undoes", () => {
    const seen = new Uint8Array(65536);
    for (let port = 0; port < 65536; port++) {
      const mixed = mix16(key, port);
      seen[mixed]!++;
      expect(unmix16(key, mixed)).toBe(port);
    }
    expect(seen.every((n) => n === 1)).toBe(true);
  });

  test("spreads consecutive ports over 64 slots, and depends on the key", () => {
    const counts = new Uint32Array(64);
    for (let port = 40000; port < 46400; port++) counts[mix16(key, port) & 63]!++;
    expect(Math.min(...counts)).toBeGreaterThan(40);
    const other = hashKeyFrom(new Uint8Array(HASH_KEY_BYTES).fill(7));
    let same = 0;
    for (let port = 0; port < 65536; port++) if (mix16(key, port) === mix16(other, port)) same++;
    expect(same).toBeLessThan(20);
  });
});
