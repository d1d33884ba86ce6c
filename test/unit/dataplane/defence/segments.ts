/**
 * TCP segments of both IP families for tests of the SYN proxy: built and read without src/packet, so that checksums and lengths are
 * judged by other code than what made them.
 */
import { internetChecksum, ip } from "../frames.ts";

export interface Seg {
  readonly from: string;
  readonly to: string;
  readonly sport: number;
  readonly dport: number;
  /** Letters of FSRPAU. */
  readonly flags: string;
  readonly seq: number;
  readonly ack: number;
  readonly window: number;
  readonly mss?: number;
  readonly scale?: number;
  readonly sack?: boolean;
  readonly data?: string;
}

const LETTERS = "FSRPAU";
const u16 = (value: number): number[] => [(value >>> 8) & 255, value & 255];
const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)];

/** "10.0.0.1", or "2001:db8::x" with one "::". */
function addressBytes(text: string): number[] {
  if (!text.includes(":")) return u32(ip(text));
  const [head = "", tail = ""] = text.split("::");
  const groups = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const front = groups(head);
  const back = groups(tail);
  const middle = new Array<number>(8 - front.length - back.length).fill(0);
  return [...front, ...middle, ...back].flatMap(u16);
}

function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! << 8) | bytes[2 * i + 1]!);
  return groups
    .map((group) => group.toString(16))
    .join(":")
    .replace(/(:0)+:/, "::");
}

/** The four words of an address. */
export function addressAsWords(text: string): number[] {
  const bytes = addressBytes(text);
  const all = bytes.length === 4 ? [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...bytes] : bytes;
  return [0, 4, 8, 12].map((i) => (all[i]! << 24) | (all[i + 1]! << 16) | (all[i + 2]! << 8) | all[i + 3]!);
}

/** An IP packet. IPv4 ones have an option, so that headers of their own length are met. */
export function build(seg: Seg): Uint8Array {
  const options = [
    ...(seg.mss === undefined ? [] : [2, 4, ...u16(seg.mss)]),
    ...(seg.sack ? [4, 2, 1, 1] : []),
    ...(seg.scale === undefined ? [] : [1, 3, 3, seg.scale]),
  ];
  const flags = [...seg.flags].reduce((bits, letter) => bits | (1 << LETTERS.indexOf(letter)), 0);
  const data = [...(seg.data ?? "")].map((letter) => letter.charCodeAt(0));
  const tcp = Uint8Array.from([
    ...u16(seg.sport),
    ...u16(seg.dport),
    ...u32(seg.seq >>> 0),
    ...u32(seg.ack >>> 0),
    (5 + options.length / 4) << 4,
    flags,
    ...u16(seg.window),
    ...[0, 0, 0, 0],
    ...options,
    ...data,
  ]);
  const from = addressBytes(seg.from);
  const to = addressBytes(seg.to);
  tcp.set(u16(internetChecksum(Uint8Array.from([...from, ...to, 0, 6, ...u16(tcp.length)]), tcp)), 16);
  if (from.length === 16) {
    return Uint8Array.from([0x60, 1, 2, 3, ...u16(tcp.length), 6, 61, ...from, ...to, ...tcp]);
  }
  const header = Uint8Array.from([
    ...[0x46, 0],
    ...u16(24 + tcp.length),
    ...[1, 2, 0, 0, 61, 6, 0, 0],
    ...from,
    ...to,
    ...[1, 1, 1, 0],
  ]);
  header.set(u16(internetChecksum(header)), 10);
  return Uint8Array.from([...header, ...tcp]);
}

/** Reads a packet of `total` bytes, and throws when anything about it is wrong. */
export function read(packet: Uint8Array): Seg {
  const isIpv6 = packet[0]! >>> 4 === 6;
  const headerBytes = isIpv6 ? 40 : (packet[0]! & 15) * 4;
  const word = (at: number): number => (packet[at]! << 8) | packet[at + 1]!;
  const long = (at: number): number => (word(at) * 65_536 + word(at + 2)) | 0;
  const total = isIpv6 ? 40 + word(4) : word(2);
  if (total !== packet.length) throw new Error(`length ${total}, not ${packet.length}`);
  if (!isIpv6 && internetChecksum(packet.subarray(0, headerBytes)) !== 0) throw new Error("IPv4 checksum");
  if (packet[isIpv6 ? 6 : 9] !== 6) throw new Error("not TCP");
  const addresses = isIpv6 ? packet.subarray(8, 40) : packet.subarray(12, 20);
  const tcp = packet.subarray(headerBytes);
  const pseudo = Uint8Array.from([...addresses, 0, 6, ...u16(tcp.length)]);
  if (internetChecksum(pseudo, tcp) !== 0) throw new Error("TCP checksum");
  const at = headerBytes;
  const tcpBytes = (packet[at + 12]! >>> 4) * 4;
  const half = addresses.length / 2;
  return {
    from: addressText(addresses.subarray(0, half)),
    to: addressText(addresses.subarray(half)),
    sport: word(at),
    dport: word(at + 2),
    flags: [...LETTERS].filter((_, bit) => (packet[at + 13]! & (1 << bit)) !== 0).join(""),
    seq: long(at + 4),
    ack: long(at + 8),
    window: word(at + 14),
    ...readOptions(tcp.subarray(20, tcpBytes)),
    ...(tcp.length > tcpBytes ? { data: String.fromCharCode(...tcp.subarray(tcpBytes)) } : {}),
  };
}

function readOptions(options: Uint8Array): Partial<Seg> {
  const seg: { mss?: number; scale?: number; sack?: boolean } = {};
  for (let i = 0; i < options.length; ) {
    const kind = options[i]!;
    if (kind === 0) break;
    if (kind === 1) {
      i++;
      continue;
    }
    if (kind === 2) seg.mss = (options[i + 2]! << 8) | options[i + 3]!;
    else if (kind === 3) seg.scale = options[i + 2]!;
    else if (kind === 4) seg.sack = true;
    else throw new Error(`option ${kind}`);
    i += options[i + 1]!;
  }
  return seg;
}
