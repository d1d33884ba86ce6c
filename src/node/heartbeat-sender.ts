/**
 * Heartbeat sender: who sent a datagram, as one number that fits a Float64 cell of shared memory: an IPv4 address on the cluster link,
 * a MAC address on a zone's wire. Nothing of it is proven; it is for the log.
 */
import { ETHERNET_BYTES, MAC_BYTES } from "../packet/ethernet.ts";
import { source } from "../packet/ipv4.ts";
import { formatIpv4, parseIpv4 } from "../policy/address.ts";

/** Added to a MAC address, so that none looks like an IPv4 address. */
const MAC_MARK = 2 ** 48;

/** Of a frame that was found to hold a datagram (heartbeat-frames.ts). */
export function senderOf(bytes: Uint8Array, at: number, isCluster: boolean): number {
  if (isCluster) return source(bytes, at + ETHERNET_BYTES) >>> 0;
  let mac = 0;
  for (let i = 0; i < MAC_BYTES; i++) mac = mac * 256 + bytes[at + MAC_BYTES + i]!;
  return MAC_MARK + mac;
}

/** Of a datagram that a socket received; 0 when the address is no IPv4 address. */
export function senderAt(address: string): number {
  return parseIpv4(address) ?? 0;
}

export function formatSender(sender: number): string {
  if (sender === 0) return "an unknown address";
  if (sender < MAC_MARK) return formatIpv4(sender);
  const digits = (sender - MAC_MARK).toString(16).padStart(12, "0");
  return digits.replace(/..(?!$)/g, "$&:");
}
