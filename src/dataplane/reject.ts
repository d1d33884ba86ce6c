/**
 * Reject: answers a packet that a rule refuses, so that its sender need not wait: RST for TCP (RFC 9293 section 3.10.7.1), ICMP
 * "administratively prohibited" for the rest (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1). Owns the form of the answers; the
 * rate of ICMP errors limits both.
 */
import { i32, setI32, setU16, u16 } from "../packet/bytes.ts";
import { addBytes, fold, pseudoHeaderSum } from "../packet/checksum.ts";
import { ETHERNET_BYTES } from "../packet/ethernet.ts";
import * as icmpv6 from "../packet/icmpv6.ts";
import * as ipv4 from "../packet/ipv4.ts";
import * as ipv6 from "../packet/ipv6.ts";
import * as tcp from "../packet/tcp.ts";
import type { EngineContext } from "./context.ts";
import type { Forwarder } from "./forwarder.ts";
import { KIND_TCP, P_OUTER_DESTINATION, P_OUTER_SOURCE, type Packet } from "./packet.ts";
import { dropVerdict } from "./verdict.ts";

const DROP_DENIED = dropVerdict("denied");
const TTL = 64;

/** Answers and drops the packet in hand: the verdict of a denied one. */
export function refuse(
  forwarder: Forwarder,
  packet: Packet,
  bytes: Uint8Array,
  context: EngineContext,
): number {
  if (packet.kind === KIND_TCP) {
    // A reset is never answered, and the policy's own zone must lead back.
    const isReset = (tcp.flags(bytes, packet.l4At) & tcp.RST) !== 0;
    const route = context.policy.routeTo(packet.words, P_OUTER_SOURCE);
    if (isReset || route < 0 || !forwarder.mayAnswer()) return forwarder.drop(packet.at, DROP_DENIED);
    forwarder.reply(packet.at, turnIntoReset(packet, bytes), route);
    return DROP_DENIED;
  }
  return forwarder.prohibited(DROP_DENIED);
}

/** Writes the reset that answers the packet's segment over it; returns the frame's length. */
export function turnIntoReset(packet: Packet, bytes: Uint8Array): number {
  const { l4At, l4Bytes, words } = packet;
  const flags = tcp.flags(bytes, l4At);
  const payload = l4Bytes - tcp.headerBytes(bytes, l4At) + ((flags & tcp.SYN) >> 1) + (flags & tcp.FIN);
  const hasAck = (flags & tcp.ACK) !== 0;
  const sequence = hasAck ? tcp.acknowledgement(bytes, l4At) : 0;
  const acknowledgement = hasAck ? 0 : (i32(bytes, l4At + 4) + payload) | 0;
  const source = u16(bytes, l4At + 2);
  const destination = u16(bytes, l4At);
  const ip = packet.ipAt;
  const header = packet.isIpv6 ? ipv6.IPV6_BYTES : ipv4.IPV4_BYTES;
  const at = ip + header;
  if (packet.isIpv6) {
    ipv6.writeIpv6Header(
      bytes,
      ip,
      tcp.TCP_BYTES,
      ipv4.PROTOCOL_TCP,
      TTL,
      words,
      P_OUTER_DESTINATION,
      words,
      P_OUTER_SOURCE,
    );
  } else {
    const from = words[P_OUTER_DESTINATION + 3]!;
    const to = words[P_OUTER_SOURCE + 3]!;
    ipv4.writeHeader(bytes, ip, header + tcp.TCP_BYTES, TTL, ipv4.PROTOCOL_TCP, from, to);
  }
  setU16(bytes, at, source);
  setU16(bytes, at + 2, destination);
  setI32(bytes, at + 4, sequence);
  setI32(bytes, at + 8, acknowledgement);
  bytes[at + 12] = 5 << 4;
  bytes[at + 13] = hasAck ? tcp.RST : tcp.RST | tcp.ACK;
  setI32(bytes, at + 14, 0);
  setU16(bytes, at + 18, 0);
  setU16(bytes, at + tcp.TCP_CHECKSUM, tcpChecksum(packet, bytes, ip, at));
  return ETHERNET_BYTES + header + tcp.TCP_BYTES;
}

function tcpChecksum(packet: Packet, bytes: Uint8Array, ip: number, at: number): number {
  if (packet.isIpv6) return icmpv6.checksumV6(bytes, ip, ipv4.PROTOCOL_TCP, at, tcp.TCP_BYTES);
  const from = ipv4.source(bytes, ip);
  const to = ipv4.destination(bytes, ip);
  return fold(
    addBytes(pseudoHeaderSum(from, to, ipv4.PROTOCOL_TCP, tcp.TCP_BYTES), bytes, at, tcp.TCP_BYTES),
  );
}
