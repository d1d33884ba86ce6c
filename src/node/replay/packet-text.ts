/**
 * Packets in words: "tcp 10.10.0.5:40000 > 198.51.100.100:80 SYN". Owns the notation of packets and their ends; addresses are
 * policy/address.ts.
 */
import type { Address } from "../../base/address.ts";
import { formatAddress, formatEnd, parseAddress } from "../../policy/address.ts";
import { formatProtocol } from "../../policy/protocols.ts";
import type { PacketView } from "./packet-view.ts";

const PROTOCOL_ICMPV6 = 58;

export function protocolText(protocol: number): string {
  return protocol === PROTOCOL_ICMPV6 ? "icmpv6" : formatProtocol(protocol);
}

/** "192.0.2.1:80", "[2001:db8::1]:80", or the address alone without a port. */
export function endText(address: Address, port: number | undefined): string {
  return port === undefined ? formatAddress(address) : formatEnd(address, port);
}

export interface EndpointText {
  readonly address: Address;
  readonly port: number | undefined;
}

/** Reads what endText() writes; undefined when it is something else. */
export function parseEnd(text: string): EndpointText | undefined {
  const match = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text) ?? /^([^:[\]]+)(?::(\d{1,5}))?$/.exec(text);
  const address = parseAddress(match?.[1] ?? text);
  const port = match?.[2] === undefined ? undefined : Number(match[2]);
  if (address === undefined || (port !== undefined && port > 65_535)) return undefined;
  return { address, port };
}

export function sourceText(view: PacketView): string {
  return endText(view.source, view.sourcePort);
}

export function destinationText(view: PacketView): string {
  return endText(view.destination, view.destinationPort);
}

/** Both ends, and the id of an echo. */
export function endsText(view: PacketView): string {
  return `${sourceText(view)} > ${destinationText(view)}`;
}

/** What the packet is besides its ends: flags, or ICMP type and code. */
export function kindText(view: PacketView): string {
  const { tcpFlags, icmpType, icmpCode, icmpId, inner, isFragment } = view;
  const parts: string[] = [];
  if (tcpFlags !== undefined) parts.push(tcpFlags === "" ? "no flags" : tcpFlags);
  if (icmpId !== undefined) parts.push(`${isReply(view) ? "echo reply" : "echo"} id ${icmpId}`);
  else if (icmpType !== undefined) parts.push(`type ${icmpType} code ${icmpCode}`);
  if (inner !== undefined) parts.push(`about (${packetText(inner)})`);
  if (isFragment) parts.push("fragment");
  return parts.join(" ");
}

export function packetText(view: PacketView): string {
  const kind = kindText(view);
  return `${protocolText(view.protocol)} ${endsText(view)}${kind === "" ? "" : ` ${kind}`}`;
}

function isReply({ icmpType }: PacketView): boolean {
  return icmpType === 0 || icmpType === 129;
}
