/**
 * Satellites: rows of the flow table that are no connections, but what must be found, must expire and must survive a takeover
 * as connections do: bindings of endpoint-independent NAT, expectations of helpers, sequence adjustments, pointers to flows with a
 * borrowed port. A pseudo protocol keeps them apart from all that comes from a wire (packet.ts refuses those numbers). Owns the
 * numbers.
 */
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../packet/ipv4.ts";

export const BINDING_TCP = 200;
export const BINDING_UDP = 201;
export const BINDING_ICMP = 202;
export const EXPECTATION_TCP = 203;
export const EXPECTATION_UDP = 204;
export const ADJUSTMENT_TCP = 205;
export const POINTER_TCP = 206;
export const POINTER_UDP = 207;
export const POINTER_ICMP = 208;

/** The numbers that no packet may have: some are kept for later. */
export const PSEUDO_FIRST = 200;
export const PSEUDO_LAST = 211;

/** A protocol without ports has neither bindings nor pointers. */
export const NO_SATELLITE = -1;

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
  "tcp-pointer",
  "udp-pointer",
  "icmp-pointer",
] as const;

/** Whether a row's protocol byte says that it is no connection. */
export function isSatellite(protocol: number): boolean {
  return protocol >= BINDING_TCP && protocol <= POINTER_ICMP;
}

export function isBinding(protocol: number): boolean {
  return protocol >= BINDING_TCP && protocol <= BINDING_ICMP;
}

export function isPointer(protocol: number): boolean {
  return protocol >= POINTER_TCP && protocol <= POINTER_ICMP;
}

/** Whether a protocol tells its conversations apart by ports or ids. */
export function hasPorts(protocol: number): boolean {
  return protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || protocol === PROTOCOL_ICMP;
}

/** The pseudo protocol of a binding of a protocol, or NO_SATELLITE. */
export function bindingProtocol(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return BINDING_TCP;
  if (protocol === PROTOCOL_UDP) return BINDING_UDP;
  return protocol === PROTOCOL_ICMP ? BINDING_ICMP : NO_SATELLITE;
}

/** The protocol of a binding's flows. */
export function boundProtocol(binding: number): number {
  if (binding === BINDING_TCP) return PROTOCOL_TCP;
  return binding === BINDING_UDP ? PROTOCOL_UDP : PROTOCOL_ICMP;
}

/** The pseudo protocol of an expectation of a flow of a protocol, or NO_SATELLITE. */
export function expectationProtocol(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return EXPECTATION_TCP;
  return protocol === PROTOCOL_UDP ? EXPECTATION_UDP : NO_SATELLITE;
}

/** The pseudo protocol of a pointer to a flow or a binding of a protocol, or NO_SATELLITE. */
export function pointerProtocol(protocol: number): number {
  if (protocol === PROTOCOL_TCP || protocol === BINDING_TCP) return POINTER_TCP;
  if (protocol === PROTOCOL_UDP || protocol === BINDING_UDP) return POINTER_UDP;
  return protocol === PROTOCOL_ICMP || protocol === BINDING_ICMP ? POINTER_ICMP : NO_SATELLITE;
}

/** What a pointer points to: the protocol of a flow. */
export function pointedProtocol(pointer: number): number {
  if (pointer === POINTER_TCP) return PROTOCOL_TCP;
  return pointer === POINTER_UDP ? PROTOCOL_UDP : PROTOCOL_ICMP;
}
