/**
 * Pages of a lab's web servers: bytes that can be checked wherever they arrive. Pure.
 */
const CHUNK_BYTES = 65_536;
/** Largest page. */
export const PATTERN_BYTES_MAX = 64 * 1024 * 1024;

/** `bytes` bytes: 32-bit words that count up, so that what is lost, doubled or moved shows. */
export function* bytesOfPattern(bytes: number): Generator<Buffer> {
  for (let at = 0; at < bytes; at += CHUNK_BYTES) {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    for (let i = 0; i < CHUNK_BYTES; i += 4) chunk.writeUInt32BE((at + i) >>> 2, i);
    yield chunk.subarray(0, Math.min(CHUNK_BYTES, bytes - at));
  }
}
