/**
 * Frames for tests: builders of whole Ethernet frames with right checksums, written independently of src/packet where it
 * matters (checksums are summed here byte by byte), and a one-line description of a frame for transcripts.
 */
import { addressWords } from "../../../src/base/address.ts";

/** The words of an address in text. */
export function words(text: string): Int32Array {
  return addressWords(text.includes(":") ? ip6(text) : ip(text));
}

/** An IPv6 address without embedded IPv4 to a bigint. */
export function ip6(text: string): bigint {
  const [head = "", tail] = text.split("::");
  const groups = (part: string): string[] => (part === "" ? [] : part.split(":"));
  const right = groups(tail ?? "");
  const left = groups(head);
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const all = [...left, ...new Array<string>(zeros).fill("0"), ...right];
  return all.reduce((value, group) => (value << 16n) | BigInt(Number.parseInt(group, 16)), 0n);
}

/** Sixteen bytes of an address. */
function bytes6(text: string): number[] {
  const value = ip6(text);
  return Array.from({ length: 16 }, (_, i) => Number((value >> BigInt(120 - 8 * i)) & 255n));
}

/** Dotted address to an unsigned number. */
export function ip(text: string): number {
  return text.split(".").reduce((value, part) => value * 256 + Number(part), 0);
}

export function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
}

export function mac(text: string): Uint8Array {
  return Uint8Array.from(text.split(":"), (part) => Number.parseInt(part, 16));
}

export function macText(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/** RFC 1071, the obvious way. */
export function internetChecksum(...parts: Uint8Array[]): number {
  const all = Uint8Array.from(parts.flatMap((part) => [...part]));
  let sum = 0;
  for (let i = 0; i < all.length; i += 2) sum += (all[i]! << 8) + (all[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return ~sum & 0xffff;
}

export interface Ends {
  readonly from: string;
  readonly to: string;
  readonly ttl?: number;
  readonly df?: boolean;
  readonly options?: Uint8Array;
  readonly fragment?: number;
}

function u16(value: number): number[] {
  return [(value >>> 8) & 255, value & 255];
}

function u32(value: number): number[] {
  return [...u16(value >>> 16), ...u16(value & 0xffff)];
}

/** An IPv6 packet around a payload; `extensions` stand before it, `next` is the first one's number. */
export function ipv6(
  protocol: number,
  ends: Ends,
  payload: Uint8Array,
  extensions = new Uint8Array(0),
  next = protocol,
): Uint8Array {
  return Uint8Array.from([
    0x60,
    0,
    0,
    0,
    ...u16(extensions.length + payload.length),
    next,
    ends.ttl ?? 64,
    ...bytes6(ends.from),
    ...bytes6(ends.to),
    ...extensions,
    ...payload,
  ]);
}

/** A packet of the family that its ends are of. */
export function ipPacket(protocol: number, ends: Ends, payload: Uint8Array): Uint8Array {
  return ends.from.includes(":") ? ipv6(protocol, ends, payload) : ipv4(protocol, ends, payload);
}

/** An IPv4 packet around a payload. */
export function ipv4(protocol: number, ends: Ends, payload: Uint8Array): Uint8Array {
  const options = ends.options ?? new Uint8Array(0);
  const header = Uint8Array.from([
    0x40 | (5 + options.length / 4),
    0,
    ...u16(20 + options.length + payload.length),
    ...u16(0x1234),
    ...u16(((ends.df ?? true) ? 0x4000 : 0) | (ends.fragment ?? 0)),
    ends.ttl ?? 64,
    protocol,
    0,
    0,
    ...u32(ip(ends.from)),
    ...u32(ip(ends.to)),
    ...options,
  ]);
  header.set(u16(internetChecksum(header)), 10);
  return Uint8Array.from([...header, ...payload]);
}

function pseudo(ends: Ends, protocol: number, length: number): Uint8Array {
  if (ends.from.includes(":")) {
    return Uint8Array.from([
      ...bytes6(ends.from),
      ...bytes6(ends.to),
      0,
      0,
      ...u16(length),
      0,
      0,
      0,
      protocol,
    ]);
  }
  return Uint8Array.from([...u32(ip(ends.from)), ...u32(ip(ends.to)), 0, protocol, ...u16(length)]);
}

export interface UdpSpec extends Ends {
  readonly sport: number;
  readonly dport: number;
  readonly payload?: Uint8Array;
  readonly noChecksum?: boolean;
}

export function udp(spec: UdpSpec): Uint8Array {
  const payload = spec.payload ?? Uint8Array.from([1, 2, 3, 4, 5]);
  const segment = Uint8Array.from([
    ...u16(spec.sport),
    ...u16(spec.dport),
    ...u16(8 + payload.length),
    0,
    0,
    ...payload,
  ]);
  if (!spec.noChecksum) {
    segment.set(u16(internetChecksum(pseudo(spec, 17, segment.length), segment) || 0xffff), 6);
  }
  return ipPacket(17, spec, segment);
}

export interface TcpSpec extends Ends {
  readonly sport: number;
  readonly dport: number;
  /** Letters of FSRPAU. */
  readonly flags: string;
  readonly seq?: number;
  readonly ack?: number;
  readonly window?: number;
  readonly scale?: number;
  readonly payload?: Uint8Array;
}

const FLAG_LETTERS = "FSRPAU";

export function tcp(spec: TcpSpec): Uint8Array {
  const payload = spec.payload ?? new Uint8Array(0);
  const options = spec.scale === undefined ? [] : [1, 3, 3, spec.scale];
  const flags = [...spec.flags].reduce((bits, letter) => bits | (1 << FLAG_LETTERS.indexOf(letter)), 0);
  const segment = Uint8Array.from([
    ...u16(spec.sport),
    ...u16(spec.dport),
    ...u32((spec.seq ?? 0) >>> 0),
    ...u32((spec.ack ?? 0) >>> 0),
    (5 + options.length / 4) << 4,
    flags,
    ...u16(spec.window ?? 65535),
    0,
    0,
    0,
    0,
    ...options,
    ...payload,
  ]);
  segment.set(u16(internetChecksum(pseudo(spec, 6, segment.length), segment)), 16);
  return ipPacket(6, spec, segment);
}

export interface EchoSpec extends Ends {
  readonly id: number;
  readonly isReply?: boolean;
  readonly seq?: number;
  readonly data?: Uint8Array;
}

export function echo(spec: EchoSpec): Uint8Array {
  const isIpv6 = spec.from.includes(":");
  const message = Uint8Array.from([
    (spec.isReply ? 0 : 8) + (isIpv6 ? (spec.isReply ? 129 : 120) : 0),
    0,
    0,
    0,
    ...u16(spec.id),
    ...u16(spec.seq ?? 1),
    ...(spec.data ?? [9, 8, 7, 6]),
  ]);
  return icmp(spec, message);
}

/** An ICMP error about a packet as the sender of the error saw it. */
export function icmpError(ends: Ends, type: number, code: number, about: Uint8Array, word = 0): Uint8Array {
  const message = Uint8Array.from([type, code, 0, 0, ...u32(word), ...about.subarray(0, 548)]);
  return icmp(ends, message);
}

/** An ICMP or ICMPv6 packet around a message without checksum. */
export function icmp(ends: Ends, message: Uint8Array): Uint8Array {
  const isIpv6 = ends.from.includes(":");
  const head = isIpv6 ? [pseudo(ends, 58, message.length)] : [];
  message.set(u16(internetChecksum(...head, message)), 2);
  return ipPacket(isIpv6 ? 58 : 1, ends, message);
}

export function ethernet(
  destination: Uint8Array,
  source: Uint8Array,
  type: number,
  payload: Uint8Array,
): Uint8Array {
  const frame = new Uint8Array(Math.max(60, 14 + payload.length));
  frame.set(destination);
  frame.set(source, 6);
  frame.set(u16(type), 12);
  frame.set(payload, 14);
  return frame;
}

export interface ArpSpec {
  readonly op: number;
  readonly senderMac: Uint8Array;
  readonly sender: string;
  readonly targetMac?: Uint8Array;
  readonly target: string;
}

export function arp(spec: ArpSpec): Uint8Array {
  return Uint8Array.from([
    ...u16(1),
    ...u16(0x0800),
    6,
    4,
    ...u16(spec.op),
    ...spec.senderMac,
    ...u32(ip(spec.sender)),
    ...(spec.targetMac ?? new Uint8Array(6)),
    ...u32(ip(spec.target)),
  ]);
}

/** What a host answers to the neighbour solicitation in a frame, with the MAC that hostMac() of world.ts gives it. */
export function advertisement(solicitation: Uint8Array): Uint8Array {
  const target = text6(solicitation, 14 + 48);
  const asker = text6(solicitation, 14 + 8);
  const host = Uint8Array.of(0x02, 0xa6, ...new Uint8Array(words(target).buffer).slice(12));
  const message = Uint8Array.from([136, 0, 0, 0, 0x60, 0, 0, 0, ...bytes6(target), 2, 1, ...host]);
  const packet = icmp({ from: target, to: asker, ttl: 255 }, message);
  return ethernet(solicitation.subarray(6, 12), host, 0x86dd, packet);
}

/** What a frame carries, read without src/packet. */
export interface Seen {
  readonly destinationMac: string;
  readonly sourceMac: string;
  readonly type: number;
  readonly ip: SeenIp | undefined;
  readonly arp:
    | { op: number; senderMac: string; sender: string; targetMac: string; target: string }
    | undefined;
}

export interface SeenIp {
  readonly from: string;
  readonly to: string;
  readonly ttl: number;
  readonly protocol: number;
  readonly total: number;
  readonly headerOk: boolean;
  /** Transport checksum right, or absent in UDP. */
  readonly bodyOk: boolean;
  readonly sport: number;
  readonly dport: number;
  readonly flags: string;
  readonly icmpType: number;
  readonly icmpCode: number;
  readonly icmpWord: number;
  /** Bytes behind the IPv4 header. */
  readonly body: Uint8Array;
}

export function see(frame: Uint8Array): Seen {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const type = view.getUint16(12);
  return {
    destinationMac: macText(frame.subarray(0, 6)),
    sourceMac: macText(frame.subarray(6, 12)),
    type,
    ip: type === 0x0800 || type === 0x86dd ? seeIp(frame.subarray(14)) : undefined,
    arp:
      type === 0x0806
        ? {
            op: view.getUint16(20),
            senderMac: macText(frame.subarray(22, 28)),
            sender: dotted(view.getUint32(28)),
            targetMac: macText(frame.subarray(32, 38)),
            target: dotted(view.getUint32(38)),
          }
        : undefined,
  };
}

function text6(packet: Uint8Array, at: number): string {
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((packet[at + 2 * i]! << 8) | packet[at + 2 * i + 1]!).toString(16),
  );
  return groups.join(":").replace(/(^|:)0(:0)+(:|$)/, "::");
}

/** An IPv6 packet without extension headers, in the terms of SeenIp: ICMPv6 counts as ICMP, echo types as ICMP's. */
function seeIp6(packet: Uint8Array): SeenIp {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  const body = packet.subarray(40, 40 + view.getUint16(4));
  const next = packet[6]!;
  const [from, to] = [text6(packet, 8), text6(packet, 24)];
  const hasPorts = next === 6 || next === 17;
  const sum = internetChecksum(pseudo({ from, to }, next, body.length), body);
  return {
    from,
    to,
    ttl: packet[7]!,
    protocol: next,
    total: 40 + view.getUint16(4),
    headerOk: true,
    bodyOk: (!hasPorts && next !== 58) || sum === 0,
    sport: hasPorts ? view.getUint16(40) : next === 58 ? view.getUint16(44) : 0,
    dport: hasPorts ? view.getUint16(42) : 0,
    flags:
      next === 6 && body.length > 13 ? [...FLAG_LETTERS].filter((_, i) => (body[13]! >> i) & 1).join("") : "",
    icmpType: next === 58 ? body[0]! : -1,
    icmpCode: next === 58 ? body[1]! : -1,
    icmpWord: next === 58 ? view.getUint32(44) : 0,
    body,
  };
}

/** Reads an IPv4 packet; one inside an ICMP error may be cut short, then `bodyOk` means nothing. */
export function seeIp(packet: Uint8Array): SeenIp {
  if (packet[0]! >> 4 === 6) return seeIp6(packet);
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  const header = (packet[0]! & 15) * 4;
  const total = view.getUint16(2);
  const body = packet.subarray(header, total);
  const protocol = packet[9]!;
  const from = dotted(view.getUint32(12));
  const to = dotted(view.getUint32(16));
  const hasPorts = protocol === 6 || protocol === 17;
  const sum =
    protocol === 1
      ? internetChecksum(body)
      : internetChecksum(pseudo({ from, to }, protocol, body.length), body);
  const isBare = protocol === 17 && view.getUint16(header + 6) === 0;
  return {
    from,
    to,
    ttl: packet[8]!,
    protocol,
    total,
    headerOk: internetChecksum(packet.subarray(0, header)) === 0,
    bodyOk: (protocol !== 1 && !hasPorts) || isBare || sum === 0,
    sport: hasPorts ? view.getUint16(header) : protocol === 1 ? view.getUint16(header + 4) : 0,
    dport: hasPorts ? view.getUint16(header + 2) : 0,
    flags:
      protocol === 6 && body.length > 13
        ? [...FLAG_LETTERS].filter((_, i) => (body[13]! >> i) & 1).join("")
        : "",
    icmpType: protocol === 1 ? body[0]! : -1,
    icmpCode: protocol === 1 ? body[1]! : -1,
    icmpWord: protocol === 1 ? view.getUint32(header + 4) : 0,
    body,
  };
}

/** One line about a frame, for golden transcripts. */
export function describeFrame(frame: Uint8Array): string {
  const seen = see(frame);
  const macs = `${seen.sourceMac} > ${seen.destinationMac}`;
  if (seen.arp !== undefined) {
    const { op, sender, senderMac, target } = seen.arp;
    return `${macs} arp ${op === 1 ? `who-has ${target} tell ${sender}` : `${sender} is-at ${senderMac} for ${target}`}`;
  }
  if (seen.ip === undefined) return `${macs} type 0x${seen.type.toString(16).padStart(4, "0")}`;
  return `${macs} ${describeIp(seen.ip)}`;
}

export function describeIp(packet: SeenIp): string {
  const { from, to, ttl, protocol, sport, dport, flags } = packet;
  const state = `ttl ${ttl}${packet.headerOk ? "" : " BAD-IP-CHECKSUM"}${packet.bodyOk ? "" : " BAD-CHECKSUM"}`;
  if (protocol === 6) return `tcp ${from}:${sport} > ${to}:${dport} [${flags}] ${state}`;
  if (protocol === 17) return `udp ${from}:${sport} > ${to}:${dport} ${state}`;
  if (protocol !== 1) return `proto ${protocol} ${from} > ${to} ${state}`;
  const { icmpType, icmpCode } = packet;
  if (icmpType === 0 || icmpType === 8) {
    return `icmp ${from} > ${to} echo ${icmpType === 0 ? "reply" : "request"} id ${sport} ${state}`;
  }
  const inner = describeIp({ ...seeIp(packet.body.subarray(8)), bodyOk: true });
  return `icmp ${from} > ${to} type ${icmpType} code ${icmpCode} word ${packet.icmpWord} ${state} about (${inner})`;
}
