/**
 * Satellites: rows of the flow table that are no connections, but what must be found, must expire and must survive a takeover
 * as connections do: bindings of endpoint-independent NAT, expectations of helpers, sequence adjustments. A pseudo protocol
 * keeps them apart from all that comes from a wire (packet.ts refuses those numbers). Owns the numbers.
 */
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../packet/ipv4.ts";

export const BINDING_TCP = 200;
export const BINDING_UDP = 201;
export const BINDING_ICMP = 202;
export const EXPECTATION_TCP = 203;
export const EXPECTATION_UDP = 204;
export const ADJUSTMENT_TCP = 205;

export const NO_BINDING_PROTOCOL = -1;

/** What people call a satellite; undefined for connections. */
export function satelliteName(protocol: number): string | undefined {
  return NAMES[protocol - BINDING_TCP];
}

const NAMES = [
  "tcp-binding",
  "udp-binding",
  "icmp-binding",
  "tcp-expectation",
  "udp-expectation",
  "tcp-adjustment",
] as const;

/** Whether a row's protocol byte says that it is no connection. */
export function isSatellite(protocol: number): boolean {
  return protocol >= BINDING_TCP && protocol <= ADJUSTMENT_TCP;
}

/** The pseudo protocol of a binding of a protocol, or NO_BINDING_PROTOCOL. */
export function bindingProtocol(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return BINDING_TCP;
  if (protocol === PROTOCOL_UDP) return BINDING_UDP;
  return protocol === PROTOCOL_ICMP ? BINDING_ICMP : NO_BINDING_PROTOCOL;
}
