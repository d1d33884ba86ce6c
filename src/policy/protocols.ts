/**
 * IP protocols by the names that operators use (IANA protocol numbers). Owns names only.
 */
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;

const NUMBERS: Readonly<Record<string, number>> = {
  icmp: PROTOCOL_ICMP,
  igmp: 2,
  tcp: PROTOCOL_TCP,
  udp: PROTOCOL_UDP,
  gre: 47,
  esp: 50,
  ah: 51,
  ospf: 89,
  sctp: 132,
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
