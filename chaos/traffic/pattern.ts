/**
 * Pattern: the bytes that test connections carry, known to both ends without being sent twice. Any lost, doubled, swapped
 * or altered byte shows.
 */
import { seededRandom } from "../../src/base/env.ts";

const TABLE_BYTES = 1 << 16;
const SEED = 0x5379_6e77;
/** What the server answers is the request with every byte turned by this. */
const REPLY_MASK = 0x5a;

const table = makeTable(0);
const replyTable = makeTable(REPLY_MASK);

/** The `index`-th request of `connection`, `bytes` long. A view: do not write to it. */
export function request(connection: number, index: number, bytes: number): Buffer {
  const at = offset(connection, index, bytes);
  return table.subarray(at, at + bytes);
}

/** The answer to request(connection, index, bytes). */
export function reply(connection: number, index: number, bytes: number): Buffer {
  const at = offset(connection, index, bytes);
  return replyTable.subarray(at, at + bytes);
}

/** Turns a received request into its answer, in place. */
export function turn(bytes: Buffer): Buffer {
  for (let i = 0; i < bytes.length; i++) bytes[i]! ^= REPLY_MASK;
  return bytes;
}

/** `bytes` of the bulk download from its `position` on. */
export function bulk(position: number, bytes: number): Buffer {
  const chunk = Buffer.from(table.subarray(0, Math.min(bytes, TABLE_BYTES)));
  if (chunk.length >= 8) chunk.writeBigUInt64BE(BigInt(position)); // No two chunks are alike.
  return chunk;
}

function offset(connection: number, index: number, bytes: number): number {
  return (connection * 7919 + index * 131) % (TABLE_BYTES - bytes);
}

function makeTable(mask: number): Buffer {
  const random = seededRandom(SEED);
  return Buffer.from(Uint8Array.from({ length: TABLE_BYTES }, () => random(256) ^ mask));
}
