/**
 * ICMP types by name (IANA registries of ICMP and ICMPv6 types). Owns names only; numbers are always accepted.
 */
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from "./protocols.ts";

const ICMP: Readonly<Record<string, number>> = {
  "echo-reply": 0,
  "destination-unreachable": 3,
  redirect: 5,
  "echo-request": 8,
  "router-advertisement": 9,
  "router-solicitation": 10,
  "time-exceeded": 11,
  "parameter-problem": 12,
  "timestamp-request": 13,
  "timestamp-reply": 14,
};

const ICMPV6: Readonly<Record<string, number>> = {
  "destination-unreachable": 1,
  "packet-too-big": 2,
  "time-exceeded": 3,
  "parameter-problem": 4,
  "echo-request": 128,
  "echo-reply": 129,
  "listener-query": 130,
  "listener-report": 131,
  "router-solicitation": 133,
  "router-advertisement": 134,
  "neighbour-solicitation": 135,
  "neighbour-advertisement": 136,
  redirect: 137,
};

/** What a type of ICMP can be written as: a number, or a name of either protocol. */
export function parseIcmpType(value: string | number): string | number | undefined {
  if (typeof value === "number")
    return Number.isInteger(value) && value >= 0 && value <= 255 ? value : undefined;
  return Object.hasOwn(ICMP, value) || Object.hasOwn(ICMPV6, value) ? value : undefined;
}

/** The number of a type in a protocol; undefined when that protocol has no type of this name. */
export function icmpTypeNumber(protocol: number | undefined, type: string | number): number | undefined {
  if (typeof type === "number") return type;
  const names = namesOf(protocol);
  return Object.hasOwn(names, type) ? names[type] : undefined;
}

export function icmpTypeNames(protocol: number | undefined): readonly string[] {
  return Object.keys(namesOf(protocol));
}

function namesOf(protocol: number | undefined): Readonly<Record<string, number>> {
  if (protocol === PROTOCOL_ICMP) return ICMP;
  return protocol === PROTOCOL_ICMPV6 ? ICMPV6 : {};
}
