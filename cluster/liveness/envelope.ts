/**
 * Envelope: the authenticated datagram that heartbeats, leases and fences travel in, on every link. Owns the format and
 * its checks; keys and HMAC are handed in, meaning is with the messages.
 *
 *   0       4     5       6      7    8      9       10              12        16      24     32    40          40+n
 *   | magic | ver | flags | from | to | link | count | payload bytes | cluster | nonce | echo | seq | payload   | mac |
 *   | u32   | u8  | u8    | u8   | u8 | u8   | u8    | u16           | u32     | u64   | u64  | u64 | n         | 16  |
 *
 *   payload: `count` messages, each  | type u8 | zero u8 | length u16 | body |
 *
 * Big-endian. `to` 0: everybody. `nonce` names the sender's life; `echo` the life of the receiver that the sender last
 * heard from, so a datagram whose echo is our own nonce was made in our lifetime. `seq` grows by datagram per (peer, link).
 * Bytes after the MAC are ignored: Ethernet pads short frames.
 */

export const ENVELOPE_MAGIC = 0x53594e57; // "SYNW"
export const ENVELOPE_VERSION = 1;
export const ENVELOPE_HEADER_BYTES = 40;
/** Flags: what the sender does besides. Who does not know one takes no notice. */
export const FLAGS_AT = 5;
/** Now and then a datagram is followed by as many zeros as the link is said to carry (src/node/path-watch.ts). */
export const FLAG_PROBING = 1;
export const MESSAGE_HEADER_BYTES = 4;
export const MAC_BYTES = 16;
/** Largest datagram: fits the smallest IPv6 MTU with headers to spare. */
export const ENVELOPE_MAX_BYTES = 1200;
/** Nonces and sequence numbers are exact in a double. */
const HIGH = 0x1_0000_0000;
const HIGH_MAX = 0x1f_ffff;

/** HMAC-SHA-256 (at least its first 16 bytes) of `bytes`, under the key that `from` and `to` share. */
export type Mac = (bytes: Uint8Array, from: number, to: number) => Uint8Array;

/** Header of a datagram; mutable, so that one instance serves all that are received. */
export interface EnvelopeHeader {
  from: number;
  to: number;
  link: number;
  nonce: number;
  echo: number;
  seq: number;
  count: number;
  payloadBytes: number;
}

export function emptyEnvelopeHeader(): EnvelopeHeader {
  return { from: 0, to: 0, link: 0, nonce: 0, echo: 0, seq: 0, count: 0, payloadBytes: 0 };
}

/** Names a cluster in four bytes (FNV-1a), so that two clusters on one wire tell each other apart before any HMAC. */
export function clusterHash(name: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) {
    const c = name.charCodeAt(i);
    h = Math.imul(h ^ (c & 0xff), 0x01000193);
    h = Math.imul(h ^ (c >> 8), 0x01000193);
  }
  return h >>> 0;
}

/** Builds datagrams in one buffer of its own, one at a time: begin(), add()…, seal(). */
export class EnvelopeWriter {
  readonly #bytes = new Uint8Array(ENVELOPE_MAX_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #cluster: number;
  readonly #mac: Mac;
  readonly #flags: number;
  #end = ENVELOPE_HEADER_BYTES;
  #count = 0;

  /** `flags`: FLAG_*, in every datagram. */
  constructor(cluster: number, mac: Mac, flags = 0) {
    this.#flags = flags;
    this.#cluster = cluster;
    this.#mac = mac;
  }

  begin(from: number, to: number, link: number, nonce: number, echo: number, seq: number): void {
    const v = this.#view;
    v.setUint32(0, ENVELOPE_MAGIC);
    v.setUint8(4, ENVELOPE_VERSION);
    v.setUint8(FLAGS_AT, this.#flags);
    v.setUint8(6, from);
    v.setUint8(7, to);
    v.setUint8(8, link);
    v.setUint32(12, this.#cluster);
    writeU53(v, 16, nonce);
    writeU53(v, 24, echo);
    writeU53(v, 32, seq);
    this.#end = ENVELOPE_HEADER_BYTES;
    this.#count = 0;
  }

  /** Reserves a message of `length` bytes: write its body at the offset returned. -1: the datagram is full. */
  add(type: number, length: number): number {
    const at = this.#end;
    if (at + MESSAGE_HEADER_BYTES + length + MAC_BYTES > ENVELOPE_MAX_BYTES) return -1;
    this.#view.setUint8(at, type);
    this.#view.setUint8(at + 1, 0);
    this.#view.setUint16(at + 2, length);
    this.#end = at + MESSAGE_HEADER_BYTES + length;
    this.#count++;
    return at + MESSAGE_HEADER_BYTES;
  }

  get view(): DataView {
    return this.#view;
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** The finished datagram: a view of the writer's buffer, valid until the next begin(). */
  seal(): Uint8Array {
    const v = this.#view;
    v.setUint8(9, this.#count);
    v.setUint16(10, this.#end - ENVELOPE_HEADER_BYTES);
    const mac = this.#mac(this.#bytes.subarray(0, this.#end), v.getUint8(6), v.getUint8(7));
    for (let i = 0; i < MAC_BYTES; i++) this.#bytes[this.#end + i] = mac[i] as number;
    return this.#bytes.subarray(0, this.#end + MAC_BYTES);
  }
}

/** Why a datagram was refused; counted by the receiver. */
export const ENVELOPE_REFUSALS = [
  "short",
  "foreign", // of another cluster, or no heartbeat at all
  "version",
  "stranger", // from or to somebody who is no peer, or on another link than it says
  "forged", // the HMAC is wrong
  "replayed",
  "stale", // of a life that is over
  "malformed",
  "distant", // it crossed more routers than it may
  "crowded", // more came than are authenticated
] as const;
export type EnvelopeRefusal = (typeof ENVELOPE_REFUSALS)[number];

export function noRefusals(): Record<EnvelopeRefusal, number> {
  return Object.fromEntries(ENVELOPE_REFUSALS.map((reason) => [reason, 0])) as Record<
    EnvelopeRefusal,
    number
  >;
}

/**
 * Reads and authenticates one datagram for `self`. Lengths are checked before anything is read, the HMAC before anything
 * is believed. Undefined: fine, `out` is filled.
 */
export function openEnvelope(
  bytes: Uint8Array,
  self: number,
  cluster: number,
  isPeer: (node: number) => boolean,
  mac: Mac,
  out: EnvelopeHeader,
): EnvelopeRefusal | undefined {
  if (bytes.length < ENVELOPE_HEADER_BYTES + MAC_BYTES) return "short";
  const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (v.getUint32(0) !== ENVELOPE_MAGIC || v.getUint32(12) !== cluster) return "foreign";
  if (v.getUint8(4) !== ENVELOPE_VERSION) return "version";
  out.from = v.getUint8(6);
  out.to = v.getUint8(7);
  if (out.from === self || !isPeer(out.from) || (out.to !== self && out.to !== 0)) return "stranger";
  out.link = v.getUint8(8);
  out.count = v.getUint8(9);
  out.payloadBytes = v.getUint16(10);
  const end = ENVELOPE_HEADER_BYTES + out.payloadBytes;
  if (end + MAC_BYTES > bytes.length || end + MAC_BYTES > ENVELOPE_MAX_BYTES) return "short";
  const expected = mac(bytes.subarray(0, end), out.from, out.to);
  let difference = 0;
  for (let i = 0; i < MAC_BYTES; i++) difference |= (expected[i] as number) ^ (bytes[end + i] as number);
  if (difference !== 0) return "forged";
  out.nonce = readU53(v, 16);
  out.echo = readU53(v, 24);
  out.seq = readU53(v, 32);
  if (out.nonce <= 0 || out.echo < 0 || out.seq <= 0) return "malformed";
  return hasWholeMessages(v, out) ? undefined : "malformed";
}

/** The `count` messages fill the payload exactly. */
function hasWholeMessages(v: DataView, h: EnvelopeHeader): boolean {
  const end = ENVELOPE_HEADER_BYTES + h.payloadBytes;
  let at = ENVELOPE_HEADER_BYTES;
  for (let i = 0; i < h.count; i++) {
    if (at + MESSAGE_HEADER_BYTES > end) return false;
    at += MESSAGE_HEADER_BYTES + v.getUint16(at + 2);
    if (at > end) return false;
  }
  return at === end;
}

/** Which sequence numbers of one sender were seen: the newest 64 (as IPsec does, RFC 4303 3.4.3). */
export class ReplayWindow {
  #newest = 0;
  // Bit i of the pair: newest - i was seen.
  #low = 0;
  #high = 0;

  reset(): void {
    this.#newest = 0;
    this.#low = 0;
    this.#high = 0;
  }

  /** True and remembered when `seq` was not seen before and is not too old to tell. */
  accept(seq: number): boolean {
    if (seq > this.#newest) {
      this.#shift(seq - this.#newest);
      this.#newest = seq;
      this.#low = (this.#low | 1) >>> 0;
      return true;
    }
    const age = this.#newest - seq;
    if (age >= 64) return false;
    const bit = (1 << (age & 31)) >>> 0;
    const word = age < 32 ? this.#low : this.#high;
    if ((word & bit) !== 0) return false;
    if (age < 32) this.#low = (word | bit) >>> 0;
    else this.#high = (word | bit) >>> 0;
    return true;
  }

  #shift(by: number): void {
    if (by >= 64) {
      this.#low = 0;
      this.#high = 0;
    } else if (by >= 32) {
      this.#high = (this.#low << (by - 32)) >>> 0;
      this.#low = 0;
    } else {
      this.#high = ((this.#high << by) | (this.#low >>> (32 - by))) >>> 0;
      this.#low = (this.#low << by) >>> 0;
    }
  }
}

/** Writes a whole number below 2^53. */
export function writeU53(v: DataView, at: number, n: number): void {
  v.setUint32(at, Math.floor(n / HIGH));
  v.setUint32(at + 4, n % HIGH);
}

/** Reads a whole number below 2^53; -1 when it is larger than that. */
export function readU53(v: DataView, at: number): number {
  const high = v.getUint32(at);
  return high > HIGH_MAX ? -1 : high * HIGH + v.getUint32(at + 4);
}
