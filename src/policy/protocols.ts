/**
 * IP protocols by the names that operators use (IANA protocol numbers). Owns names only.
 */
import type { Family } from "./address.ts";

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_IGMP = 2;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_ICMPV6 = 58;
export const PROTOCOL_SCTP = 132;

const NUMBERS: Readonly<Record<string, number>> = {
  icmp: PROTOCOL_ICMP,
  igmp: PROTOCOL_IGMP,
  tcp: PROTOCOL_TCP,
  udp: PROTOCOL_UDP,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: PROTOCOL_ICMPV6,
  ospf: 89,
  sctp: PROTOCOL_SCTP,
};

export const PROTOCOL_NAMES: readonly string[] = Object.keys(NUMBERS);

/** Number of a protocol given by name or number; undefined when there is no such protocol. */
export function parseProtocol(value: string | number): number | undefined {
  if (typeof value === "number")
    return Number.isInteger(value) && value >= 0 && value <= 255 ? value : undefined;
  return Object.hasOwn(NUMBERS, value) ? NUMBERS[value] : undefined;
}

export function formatProtocol(protocol: number): string {
  return PROTOCOL_NAMES.find((name) => NUMBERS[name] === protocol) ?? String(protocol);
}

/** Whether a protocol has ports that rules can name. */
export function hasPorts(protocol: number | undefined): boolean {
  return protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || protocol === PROTOCOL_SCTP;
}

/** The only family that a protocol goes with; undefined: both. */
export function familyOfProtocol(protocol: number | undefined): Family | undefined {
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_IGMP) return 4;
  return protocol === PROTOCOL_ICMPV6 ? 6 : undefined;
}
