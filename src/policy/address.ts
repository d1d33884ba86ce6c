/**
 * Addresses as operators write them: addresses and prefixes of both families and port ranges, to and from values.
 * Owns the notation and the arithmetic of networks; an IPv4 address is a number (unsigned, host order), an IPv6 address a
 * bigint. IPv6 is read by RFC 4291 section 2.2 and written by RFC 5952. Does not own byte order on the wire (packet/).
 */
import { type Address, mappedValue, widthOf } from "../base/address.ts";
import type { PortRange, Prefix } from "../dataplane/policy-model.ts";

export type Family = 4 | 6;

/** An address in its network, host bits kept. */
export interface InterfaceAddress<Value extends Address = Address> {
  readonly address: Value;
  readonly prefix: Prefix;
}

const IPV4_BITS = 32;
const IPV6_BITS = 128;
const GROUPS = 8;

/** What is IPv4-mapped (RFC 4291 section 2.5.5.2): never on the wire. */
export const MAPPED_PREFIX: Prefix = { address: 0xffff_0000_0000n, bits: 96 };
export const LINK_LOCAL_PREFIX: Prefix = { address: 0xfe80n << 112n, bits: 10 };
const MULTICAST_PREFIX: Prefix = { address: 0xffn << 120n, bits: 8 };
/** RFC 6052 section 2.1. */
export const WELL_KNOWN_NAT64_PREFIX: Prefix = { address: 0x64_ff9bn << 96n, bits: 96 };
/**
 * IPv4 that is used but not global, which the well-known prefix must not stand for (RFC 6052 section 3.1, RFC 6890): private, shared
 * by carriers, IETF's, benchmarks. Not networks for documentation: examples and tests let those stand for public ones.
 */
export const PRIVATE_IPV4_PREFIXES: readonly Prefix[] = [
  { address: 0x0a00_0000, bits: 8 },
  { address: 0xac10_0000, bits: 12 },
  { address: 0xc0a8_0000, bits: 16 },
  { address: 0x6440_0000, bits: 10 },
  { address: 0xc000_0000, bits: 24 },
  { address: 0xc612_0000, bits: 15 },
];

export function familyOf(address: Address): Family {
  return typeof address === "number" ? 4 : 6;
}

/** "192.0.2.1" as a number; undefined unless it is four decimal numbers without leading zeros. */
export function parseIpv4(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let address = 0;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    address = address * 256 + Number(part);
  }
  return address;
}

export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** "2001:db8::1" as a bigint, also with an IPv4 address in its last 32 bits; undefined when malformed or with a zone id. */
export function parseIpv6(text: string): bigint | undefined {
  const [headText = "", tailText, ...rest] = text.split("::");
  if (rest.length > 0) return undefined;
  const head = groupsOf(headText, tailText === undefined);
  const tail = groupsOf(tailText ?? "", true);
  if (head === undefined || tail === undefined) return undefined;
  const missing = GROUPS - head.length - tail.length;
  // "::" stands for one group of zeros at least.
  if (tailText === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return groups.reduce((address, group) => (address << 16n) | BigInt(group), 0n);
}

/** The 16-bit groups of a part of an address; the part that ends the address may end in IPv4 notation. */
function groupsOf(text: string, isEnd: boolean): number[] | undefined {
  if (text === "") return [];
  const parts = text.split(":");
  const groups: number[] = [];
  for (const [i, part] of parts.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
      continue;
    }
    const embedded = isEnd && i === parts.length - 1 ? parseIpv4(part) : undefined;
    if (embedded === undefined) return undefined;
    groups.push(embedded >>> 16, embedded & 0xffff);
  }
  return groups;
}

/** By RFC 5952: small letters, no leading zeros, the longest run of zero groups as "::"; known embedded IPv4 stays readable. */
export function formatIpv6(address: bigint): string {
  const low = Number(address & 0xffff_ffffn);
  const hasIpv4 =
    low !== 0 && (contains(MAPPED_PREFIX, address) || contains(WELL_KNOWN_NAT64_PREFIX, address));
  const count = hasIpv4 ? GROUPS - 2 : GROUPS;
  const groups = Array.from({ length: count }, (_, i) => Number((address >> BigInt(112 - 16 * i)) & 0xffffn));
  const run = longestZeroRun(groups);
  const texts = groups.map((group) => group.toString(16));
  const end = hasIpv4 ? [formatIpv4(low)] : [];
  if (run.length < 2) return [...texts, ...end].join(":");
  const head = texts.slice(0, run.start).join(":");
  const tail = [...texts.slice(run.start + run.length), ...end].join(":");
  return `${head}::${tail}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  groups.forEach((group, i) => {
    length = group === 0 ? length + 1 : 0;
    if (length > best.length) best = { start: i - length + 1, length };
  });
  return best;
}

/** An address of either family. */
export function parseAddress(text: string): Address | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

export function formatAddress(address: Address): string {
  return typeof address === "number" ? formatIpv4(address) : formatIpv6(address);
}

/** An address and a port: "192.0.2.1:80", "[2001:db8::1]:80" (RFC 5952 section 6). */
export function formatEnd(address: Address, port: number): string {
  return typeof address === "number" ? `${formatIpv4(address)}:${port}` : `[${formatIpv6(address)}]:${port}`;
}

/** An IPv4 address with a prefix length, host bits kept: "10.10.0.1/24". */
export function parseInterfaceAddress(text: string): InterfaceAddress<number> | undefined {
  return withLength(text, parseIpv4);
}

/** An IPv6 address with a prefix length, host bits kept: "2001:db8:10::1/64". */
export function parseInterfaceAddress6(text: string): InterfaceAddress<bigint> | undefined {
  return withLength(text, parseIpv6);
}

function withLength<Value extends Address>(
  text: string,
  parse: (text: string) => Value | undefined,
): InterfaceAddress<Value> | undefined {
  const [addressText = "", bitsText, ...rest] = text.split("/");
  if (bitsText === undefined || rest.length > 0 || !/^(0|[1-9]\d{0,2})$/.test(bitsText)) return undefined;
  const address = parse(addressText);
  const bits = Number(bitsText);
  if (address === undefined || bits > widthOf(address)) return undefined;
  return { address, prefix: { address: networkOf<Address>(address, bits), bits } };
}

/** A network with its host bits kept, or a single address, of either family. */
export function parseNetwork(text: string): InterfaceAddress | undefined {
  const parsed = withLength<Address>(text, parseAddress);
  if (parsed !== undefined || text.includes("/")) return parsed;
  const address = parseAddress(text);
  return address === undefined ? undefined : { address, prefix: hostPrefix(address) };
}

/** "10.0.0.0/8", or a single address. Undefined when malformed or when bits behind the prefix length are set. */
export function parsePrefix(text: string): Prefix | undefined {
  const parsed = parseNetwork(text);
  if (parsed === undefined || parsed.address !== parsed.prefix.address) return undefined;
  return parsed.prefix;
}

export function formatPrefix(prefix: Prefix): string {
  const address = formatAddress(prefix.address);
  return prefix.bits === widthOf(prefix.address) ? address : `${address}/${prefix.bits}`;
}

/** The prefix that holds one address. */
export function hostPrefix(address: Address): Prefix {
  return { address, bits: widthOf(address) };
}

/** IPv4 network mask of a prefix length, unsigned. */
export function maskOf(bits: number): number {
  return bits === 0 ? 0 : (0xffff_ffff << (IPV4_BITS - bits)) >>> 0;
}

export function networkOf<Value extends Address>(address: Value, bits: number): Value;
export function networkOf(address: Address, bits: number): Address {
  if (typeof address === "number") return (address & maskOf(bits)) >>> 0;
  const host = BigInt(IPV6_BITS - bits);
  return (address >> host) << host;
}

/** The highest address of a prefix. */
export function lastOf(prefix: Prefix): Address {
  const { address, bits } = prefix;
  if (typeof address === "number") return (address | ~maskOf(bits)) >>> 0;
  return address | ((1n << BigInt(IPV6_BITS - bits)) - 1n);
}

export function contains(prefix: Prefix, address: Address): boolean {
  return (
    typeof address === typeof prefix.address && networkOf<Address>(address, prefix.bits) === prefix.address
  );
}

/** Whether all of `inner` is in `outer`. */
export function covers(outer: Prefix, inner: Prefix): boolean {
  return outer.bits <= inner.bits && contains(outer, inner.address);
}

export function overlap(a: Prefix, b: Prefix): boolean {
  return covers(a, b) || covers(b, a);
}

export function isSamePrefix(a: Prefix, b: Prefix): boolean {
  return a.address === b.address && a.bits === b.bits;
}

/**
 * An address of a network that no host has. IPv4: the network and broadcast addresses, except in /31 and /32 (RFC 3021).
 * IPv6: the subnet-router anycast address (RFC 4291 section 2.6.1), except in /127 and /128 (RFC 6164).
 */
export function isReservedIn(prefix: Prefix, address: Address): boolean {
  if (!contains(prefix, address) || widthOf(address) - prefix.bits < 2) return false;
  return address === prefix.address || (typeof address === "number" && address === lastOf(prefix));
}

/**
 * Could be a host's address beyond its own link. IPv4: not 0.0.0.0/8, loopback, multicast or class E (RFC 1122, 3.2.1.3;
 * RFC 1112). IPv6: not ::/8 (unspecified, loopback, IPv4-mapped) except what NAT64 uses, link-local or multicast.
 */
export function isUnicast(address: Address): boolean {
  if (typeof address === "number") {
    const first = address >>> 24;
    return first !== 0 && first !== 127 && first < 224;
  }
  if (contains(LINK_LOCAL_PREFIX, address) || contains(MULTICAST_PREFIX, address)) return false;
  return address >> 120n !== 0n || address >> 96n === 0x64_ff9bn || address >> 80n === 0x64_ff9b_0001n;
}

export function isLinkLocal(address: Address): boolean {
  return contains(LINK_LOCAL_PREFIX, address);
}

/** Orders addresses of both families: negative, 0 or positive. */
export function compareAddresses(a: Address, b: Address): number {
  const x = mappedValue(a);
  const y = mappedValue(b);
  return x < y ? -1 : x > y ? 1 : 0;
}

/** 80 or "8000-8010", inclusive. */
export function parsePortRange(value: string | number): PortRange | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(String(value));
  if (match === null) return undefined;
  const from = Number(match[1]);
  const to = match[2] === undefined ? from : Number(match[2]);
  return from >= 1 && from <= to && to <= 65_535 ? { from, to } : undefined;
}

export function formatPortRange(range: PortRange): string {
  return range.from === range.to ? String(range.from) : `${range.from}-${range.to}`;
}
