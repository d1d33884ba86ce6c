/**
 * What a port lets through, said once in TypeScript: the memory driver decides by it, and it is the oracle that the
 * eBPF program (xdp/filter-program.ts) and the libpcap expression (cap) are tested against.
 */
import type { PortFilter } from "./port.ts";

const ETHERTYPE_AT = 12;
const IP_AT = 14;
const FRAGMENT_AT = IP_AT + 6;
const PROTOCOL_AT = IP_AT + 9;
const UDP_DESTINATION_AT = IP_AT + 22;
const ARP_OPERATION_AT = 14 + 6;
const ARP_TARGET_AT = 14 + 24;
/** Ethernet, IPv4 without options, UDP. */
const HEADERS_BYTES = 42;

/** True when a port with `filter` takes the frame; false when the kernel's own stack keeps it. */
export function isForUs(filter: PortFilter, bytes: Uint8Array, at: number, lengthBytes: number): boolean {
  if (filter.kind === "all") return true;
  if (lengthBytes < HEADERS_BYTES) return false;
  if (bytes[at + ETHERTYPE_AT] === 0x08 && bytes[at + ETHERTYPE_AT + 1] === 0x06)
    return isProbeAnswer(bytes, at);
  if (bytes[at + ETHERTYPE_AT] !== 0x08 || bytes[at + ETHERTYPE_AT + 1] !== 0x00) return false;
  if (bytes[at + IP_AT] !== 0x45) return false;
  // More fragments, or an offset: the kernel reassembles what is its own.
  if ((bytes[at + FRAGMENT_AT]! & 0x3f) !== 0 || bytes[at + FRAGMENT_AT + 1] !== 0) return false;
  if (bytes[at + PROTOCOL_AT] !== 17) return false;
  const port = (bytes[at + UDP_DESTINATION_AT]! << 8) | bytes[at + UDP_DESTINATION_AT + 1]!;
  return filter.udpPorts.includes(port);
}

/** An ARP reply to nobody's address: the answer to a probe (RFC 5227) of our own. The kernel has no use for it. */
function isProbeAnswer(bytes: Uint8Array, at: number): boolean {
  if (bytes[at + ARP_OPERATION_AT] !== 0 || bytes[at + ARP_OPERATION_AT + 1] !== 2) return false;
  for (let i = 0; i < 4; i++) if (bytes[at + ARP_TARGET_AT + i] !== 0) return false;
  return true;
}
