/** Mutate: damages a frame in place of a scratch buffer, knowing where lengths and types stand. Owns the kinds of damage. */
import { locate, mend, put16, u16 } from "./wire.ts";

export type Random = (bound: number) => number;

export const FRAME_BYTES_MAX = 1600;
const BOUNDARIES = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 200, 205, 254, 255];

/** Damages the `length` bytes of a frame at the start of `b`; returns its new length. `other` is spliced in now and then. */
export function mutate(b: Uint8Array, length: number, random: Random, other: Uint8Array): number {
  let now = length;
  const edits = 1 + random(random(4) === 0 ? 8 : 3);
  for (let i = 0; i < edits; i++) now = edit(b, now, random, other);
  // What is behind a checksum is reached only when the checksum is right.
  if (random(10) < 7) mend(b, 0, now);
  return now;
}

function edit(b: Uint8Array, length: number, random: Random, other: Uint8Array): number {
  if (length === 0) return 1 + random(20);
  const at = random(3) === 0 ? random(length) : Math.min(length - 1, 12 + random(70));
  switch (random(10)) {
    case 0:
      b[at]! ^= 1 << random(8);
      return length;
    case 1:
      b[at] = random(256);
      return length;
    case 2:
      b[at] = BOUNDARIES[random(BOUNDARIES.length)]!;
      return length;
    case 3:
      return random(length + 1);
    case 4:
      return extend(b, length, random);
    case 5:
      return splice(b, length, at, random, other);
    default:
      return field(b, length, random);
  }
}

function extend(b: Uint8Array, length: number, random: Random): number {
  const more = Math.min(FRAME_BYTES_MAX - 86, length + 1 + random(random(8) === 0 ? 1400 : 24));
  for (let i = length; i < more; i++) b[i] = (i * 37) & 255;
  return Math.max(more, length);
}

function splice(b: Uint8Array, length: number, at: number, random: Random, other: Uint8Array): number {
  const part = other.subarray(Math.min(other.length, random(2) === 0 ? at : random(other.length + 1)));
  const end = Math.min(1514, at + part.length);
  b.set(part.subarray(0, Math.max(0, end - at)), at);
  return random(2) === 0 ? Math.max(length, end) : end;
}

/** Damages a field that says how the rest is read. */
function field(b: Uint8Array, length: number, random: Random): number {
  if (length < 54) return length;
  const place = locate(b, 14, length);
  const l4 = place === undefined || place.l4 + 20 > length ? 34 : place.l4;
  const near = (value: number): number => (value + random(9) - 4) & 0xffff;
  switch (random(12)) {
    case 0:
      put16(b, 16, near(u16(b, 16)));
      break;
    case 1:
      put16(b, 18, near(u16(b, 18)));
      break;
    case 2:
      b[14] = (b[14]! & 0xf0) | random(16);
      break;
    case 3:
      put16(b, 20, [0, 0x2000, 0x4000, 0x2001, 1, 13, 0x1fff, 0x3fff][random(8)]!);
      break;
    case 4:
      b[23] = [1, 6, 17, 47, 50, 58, 132, 200, 205, 41, 44, 0][random(12)]!;
      break;
    case 5:
      b[20] = [1, 6, 17, 0, 43, 44, 50, 51, 58, 60, 132, 205][random(12)]!;
      break;
    case 6:
      put16(b, l4 + 2 * random(2), [0, 1, 21, 25, 53, 69, 80, 4000, 4001, 4002, 5060, 65535][random(12)]!);
      break;
    case 7:
      put16(b, l4 + 4, near(u16(b, l4 + 4)));
      break;
    case 8:
      b[l4 + 12] = random(16) << 4;
      break;
    case 9:
      b[l4 + 13] = random(64);
      break;
    case 10:
      b[l4] = [0, 3, 4, 5, 8, 11, 12, 13, 14, 1, 2, 128, 129, 133, 134, 135, 136, 137][random(18)]!;
      break;
    default:
      put16(b, l4 + 6, near(u16(b, l4 + 6)));
  }
  return length;
}
