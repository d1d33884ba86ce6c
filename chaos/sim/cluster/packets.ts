/**
 * Packets of simulated hosts: whole Ethernet frames from fields, and fields from frames. Checksums are computed whole on both
 * sides, so whatever a firewall adjusted wrongly on the way is seen. Layouts are src/packet's.
 */
import * as arp from "../../../src/packet/arp.ts";
import { setI32, setU16, u16 } from "../../../src/packet/bytes.ts";
import { addBytes, checksum, fold, pseudoHeaderSum } from "../../../src/packet/checksum.ts";
import * as ethernet from "../../../src/packet/ethernet.ts";
import * as ipv4 from "../../../src/packet/ipv4.ts";
import * as tcp from "../../../src/packet/tcp.ts";
import * as udp from "../../../src/packet/udp.ts";

const { ETHERNET_BYTES, FRAME_BYTES_MIN } = ethernet;
const IP_AT = ETHERNET_BYTES;
const BODY_AT = IP_AT + ipv4.IPV4_BYTES;
const TTL = 64;

export interface Ends {
  readonly source: number;
  readonly destination: number;
}

export interface Datagram extends Ends {
  readonly protocol: number;
  /** Behind the IPv4 header. A view into the frame. */
  readonly body: Uint8Array;
}

export interface Segment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly payload: Uint8Array;
}

/** A frame around an IPv4 datagram; both MACs are still to be written. */
function ipFrame({ source, destination }: Ends, protocol: number, bodyBytes: number): Buffer {
  const frame = Buffer.allocUnsafe(Math.max(FRAME_BYTES_MIN, BODY_AT + bodyBytes));
  if (BODY_AT + bodyBytes < FRAME_BYTES_MIN) frame.fill(0, BODY_AT + bodyBytes);
  ethernet.setEtherType(frame, 0, ethernet.ETHER_IPV4);
  ipv4.writeHeader(frame, IP_AT, ipv4.IPV4_BYTES + bodyBytes, TTL, protocol, source, destination);
  return frame;
}

function transportChecksum({ source, destination }: Ends, protocol: number, body: Uint8Array): number {
  const sum = pseudoHeaderSum(source, destination, protocol, body.length);
  return fold(addBytes(sum, body, 0, body.length));
}

export function tcpFrame(ends: Ends, segment: Segment): Buffer {
  const { sourcePort, destinationPort, seq, ack, flags, payload } = segment;
  const frame = ipFrame(ends, ipv4.PROTOCOL_TCP, tcp.TCP_BYTES + payload.length);
  const body = frame.subarray(BODY_AT, BODY_AT + tcp.TCP_BYTES + payload.length);
  setU16(body, 0, sourcePort);
  setU16(body, 2, destinationPort);
  setI32(body, 4, seq);
  setI32(body, 8, ack);
  body[12] = (tcp.TCP_BYTES / 4) << 4;
  body[13] = flags;
  setU16(body, 14, 0xffff);
  // Checksum, and no urgent data.
  setI32(body, tcp.TCP_CHECKSUM, 0);
  body.set(payload, tcp.TCP_BYTES);
  setU16(body, tcp.TCP_CHECKSUM, transportChecksum(ends, ipv4.PROTOCOL_TCP, body));
  return frame;
}

export function udpFrame(
  ends: Ends,
  ports: { readonly source: number; readonly destination: number },
  payload: Uint8Array,
): Buffer {
  const lengthBytes = udp.UDP_BYTES + payload.length;
  const frame = ipFrame(ends, ipv4.PROTOCOL_UDP, lengthBytes);
  const body = frame.subarray(BODY_AT, BODY_AT + lengthBytes);
  udp.writeHeader(body, 0, ports.source, ports.destination, lengthBytes);
  body.set(payload, udp.UDP_BYTES);
  // 0 would mean "none" (RFC 768).
  setU16(body, udp.UDP_CHECKSUM, transportChecksum(ends, ipv4.PROTOCOL_UDP, body) || 0xffff);
  return frame;
}

/** `message` is an ICMP message whose checksum is still to be written. */
export function icmpFrame(ends: Ends, message: Uint8Array): Buffer {
  const frame = ipFrame(ends, ipv4.PROTOCOL_ICMP, message.length);
  frame.set(message, BODY_AT);
  setU16(frame, BODY_AT + 2, 0);
  setU16(frame, BODY_AT + 2, checksum(frame, BODY_AT, message.length));
  return frame;
}

export interface ArpFields {
  readonly operation: number;
  readonly senderMac: Uint8Array;
  readonly sender: number;
  readonly targetMac: Uint8Array;
  readonly target: number;
}

export function arpFrame(fields: ArpFields): Buffer {
  const frame = Buffer.alloc(FRAME_BYTES_MIN);
  ethernet.setEtherType(frame, 0, ethernet.ETHER_ARP);
  arp.writeArp(frame, IP_AT, fields.operation, fields.sender, fields.target);
  frame.set(fields.senderMac, IP_AT + arp.ARP_SENDER_MAC);
  frame.set(fields.targetMac, IP_AT + arp.ARP_TARGET_MAC);
  return frame;
}

export function writeMacs(frame: Uint8Array, destination: Uint8Array, source: Uint8Array): void {
  frame.set(destination, 0);
  frame.set(source, ethernet.MAC_BYTES);
}

/** Undefined for what is no ARP for Ethernet and IPv4. */
export function readArp(frame: Uint8Array): ArpFields | undefined {
  if (ethernet.etherType(frame, 0) !== ethernet.ETHER_ARP || !arp.isEthernetIpv4(frame, IP_AT))
    return undefined;
  const macAt = (at: number): Uint8Array => frame.slice(IP_AT + at, IP_AT + at + ethernet.MAC_BYTES);
  return {
    operation: arp.operation(frame, IP_AT),
    senderMac: macAt(arp.ARP_SENDER_MAC),
    sender: arp.senderIp(frame, IP_AT) >>> 0,
    targetMac: macAt(arp.ARP_TARGET_MAC),
    target: arp.targetIp(frame, IP_AT) >>> 0,
  };
}

/** Undefined for what is no whole IPv4 datagram with right checksums. */
export function readIp(frame: Uint8Array): Datagram | undefined {
  if (ethernet.etherType(frame, 0) !== ethernet.ETHER_IPV4 || frame[IP_AT] !== 0x45) return undefined;
  const total = ipv4.totalBytes(frame, IP_AT);
  if (total > frame.length - IP_AT || checksum(frame, IP_AT, ipv4.IPV4_BYTES) !== 0) return undefined;
  const protocol = ipv4.protocol(frame, IP_AT);
  const ends = { source: ipv4.source(frame, IP_AT) >>> 0, destination: ipv4.destination(frame, IP_AT) >>> 0 };
  const body = frame.subarray(BODY_AT, IP_AT + total);
  const isRight =
    protocol === ipv4.PROTOCOL_ICMP
      ? checksum(body, 0, body.length) === 0
      : transportChecksum(ends, protocol, body) === 0;
  return isRight ? { ...ends, protocol, body } : undefined;
}

export function readTcp(body: Uint8Array): Segment {
  return {
    sourcePort: u16(body, 0),
    destinationPort: u16(body, 2),
    seq: tcp.sequence(body, 0) >>> 0,
    ack: tcp.acknowledgement(body, 0) >>> 0,
    flags: tcp.flags(body, 0),
    payload: body.subarray(tcp.headerBytes(body, 0)),
  };
}

export function readUdp(body: Uint8Array): {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Buffer;
} {
  const payloadBytes = udp.lengthBytes(body, 0) - udp.UDP_BYTES;
  return {
    sourcePort: u16(body, 0),
    destinationPort: u16(body, 2),
    payload: Buffer.from(body.buffer, body.byteOffset + udp.UDP_BYTES, payloadBytes),
  };
}
