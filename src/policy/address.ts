/**
 * Addresses as operators write them: IPv4 addresses, prefixes and port ranges, to and from plain numbers.
 * Owns the notation only; addresses are unsigned and in host order. Does not own byte order on the wire (packet/).
 */
import type { PortRange, Prefix } from "../dataplane/policy-model.ts";

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

/** An address with a prefix length, host bits kept: "10.10.0.1/24". */
export function parseInterfaceAddress(text: string): { address: number; prefix: Prefix } | undefined {
  const [addressText = "", bitsText, ...rest] = text.split("/");
  if (bitsText === undefined || rest.length > 0 || !/^\d{1,2}$/.test(bitsText)) return undefined;
  const address = parseIpv4(addressText);
  const bits = Number(bitsText);
  if (address === undefined || bits > 32) return undefined;
  return { address, prefix: { address: networkOf(address, bits), bits } };
}

/** "10.0.0.0/8", or a single address. Undefined when malformed or when bits behind the prefix length are set. */
export function parsePrefix(text: string): Prefix | undefined {
  const parsed = parseInterfaceAddress(text.includes("/") ? text : `${text}/32`);
  if (parsed === undefined || parsed.address !== parsed.prefix.address) return undefined;
  return parsed.prefix;
}

export function formatPrefix(prefix: Prefix): string {
  return prefix.bits === 32 ? formatIpv4(prefix.address) : `${formatIpv4(prefix.address)}/${prefix.bits}`;
}

/** Network mask of a prefix length, unsigned. */
export function maskOf(bits: number): number {
  return bits === 0 ? 0 : (0xffff_ffff << (32 - bits)) >>> 0;
}

export function networkOf(address: number, bits: number): number {
  return (address & maskOf(bits)) >>> 0;
}

export function contains(prefix: Prefix, address: number): boolean {
  return networkOf(address, prefix.bits) === prefix.address;
}

export function overlap(a: Prefix, b: Prefix): boolean {
  const bits = Math.min(a.bits, b.bits);
  return networkOf(a.address, bits) === networkOf(b.address, bits);
}

/** The network or broadcast address of a prefix that has them (RFC 3021: /31 and /32 have none). */
export function isReservedIn(prefix: Prefix, address: number): boolean {
  if (prefix.bits > 30 || !contains(prefix, address)) return false;
  return address === prefix.address || address === (prefix.address | ~maskOf(prefix.bits)) >>> 0;
}

/** Could be a host's address: not 0.0.0.0/8, loopback, multicast or class E (RFC 1122, 3.2.1.3; RFC 1112). */
export function isUnicast(address: number): boolean {
  const first = address >>> 24;
  return first !== 0 && first !== 127 && first < 224;
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
