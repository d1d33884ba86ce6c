/**
 * Record words: reads a record's header (src/base/record.ts) from 32-bit words, which is what senders copy in. Records lie on
 * 4-byte boundaries in the rings; bytes are little-endian, as on every machine that Node.js 20 runs on.
 */
import { assert } from "../../src/base/assert.ts";
import { OP_BARRIER, OP_UPSERT } from "../../src/base/record.ts";

assert(
  new Uint8Array(Uint32Array.of(1).buffer)[0] === 1,
  "records are read as words: the machine must be little-endian",
);

/** Words over memory that begins on a 4-byte boundary. */
export function wordsOf(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
}

/** OP_*; `at` counts words. */
export function opAt(words: Uint32Array, at: number): number {
  return words[at]! & 0xff;
}

export function slotAt(words: Uint32Array, at: number): number {
  return words[at]! >>> 16;
}

export function isOp(op: number): boolean {
  return op >= OP_UPSERT && op <= OP_BARRIER;
}
