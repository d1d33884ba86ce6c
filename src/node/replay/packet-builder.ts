/**
 * Packet builder: the first packet of a flow that somebody asks about, with right checksums. Owns what such a packet looks
 * like: a SYN, a short datagram, an INIT, an echo request, or an
 * ICMP message of any type. Both families; not for the packet path.
 */
import { crc32c } from "../../../cluster/storage/crc32c.ts";
import { type Address, addressWords, isIpv4 } from "../../base/address.ts";
import { setI32, setU16 } from "../../packet/bytes.ts";
import { addBytes, addWord32, checksum, fold } from "../../packet/checksum.ts";

const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const TCP_BYTES = 20;
const UDP_BYTES = 8;
const ICMP_BYTES = 8;
const PROTOCOL_ICMP = 1;
const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;
const PROTOCOL_ICMPV6 = 58;
const HOPS = 64;
const DONT_FRAGMENT = 0x4000;
const SYN = 0x02;
const WINDOW = 65_535;
const PROTOCOL_SCTP = 132;
/** Common header and an INIT chunk (RFC 9260 sections 3.1 and 3.3.2). */
const SCTP_BYTES = 12 + 20;
const OTHER_BYTES = 8;

export interface PacketSpec {
  readonly source: Address;
  readonly destination: Address;
  /** As the last header says it: 58 for ICMPv6. */
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly icmpType: number;
  readonly icmpCode: number;
}

/** The whole IP packet. Both addresses are of one family. */
export function buildPacket(spec: PacketSpec): Uint8Array {
  const payload = buildPayload(spec);
  const source = addressWords(spec.source);
  const destination = addressWords(spec.destination);
  const isV4 = isIpv4(source, 0);
  const headerBytes = isV4 ? IPV4_BYTES : IPV6_BYTES;
  const packet = new Uint8Array(headerBytes + payload.length);
  packet.set(payload, headerBytes);
  if (isV4) {
    packet[0] = 0x45;
    setU16(packet, 2, packet.length);
    setU16(packet, 6, DONT_FRAGMENT);
    packet[8] = HOPS;
    packet[9] = spec.protocol;
    setI32(packet, 12, source[3]!);
    setI32(packet, 16, destination[3]!);
    setU16(packet, 10, checksum(packet, 0, IPV4_BYTES));
  } else {
    packet[0] = 0x60;
    setU16(packet, 4, payload.length);
    packet[6] = spec.protocol;
    packet[7] = HOPS;
    for (let i = 0; i < 4; i++) {
      setI32(packet, 8 + 4 * i, source[i]!);
      setI32(packet, 24 + 4 * i, destination[i]!);
    }
  }
  writeChecksum(packet, spec.protocol, headerBytes, isV4);
  return packet;
}

function buildPayload(spec: PacketSpec): Uint8Array {
  if (spec.protocol === PROTOCOL_ICMP || spec.protocol === PROTOCOL_ICMPV6) return buildIcmp(spec);
  if (spec.protocol === PROTOCOL_SCTP) return buildSctp(spec);
  if (spec.protocol !== PROTOCOL_TCP && spec.protocol !== PROTOCOL_UDP) return new Uint8Array(OTHER_BYTES);
  const payload = new Uint8Array(spec.protocol === PROTOCOL_TCP ? TCP_BYTES : UDP_BYTES);
  setU16(payload, 0, spec.sourcePort);
  setU16(payload, 2, spec.destinationPort);
  if (spec.protocol === PROTOCOL_UDP) {
    setU16(payload, 4, UDP_BYTES);
    return payload;
  }
  setI32(payload, 4, 1);
  payload[12] = (TCP_BYTES / 4) << 4;
  payload[13] = SYN;
  setU16(payload, 14, WINDOW);
  return payload;
}

function buildSctp(spec: PacketSpec): Uint8Array {
  const payload = new Uint8Array(SCTP_BYTES);
  setU16(payload, 0, spec.sourcePort);
  setU16(payload, 2, spec.destinationPort);
  payload[12] = 1;
  setU16(payload, 14, SCTP_BYTES - 12);
  setI32(payload, 16, 1);
  setI32(payload, 20, WINDOW);
  setU16(payload, 24, 1);
  setU16(payload, 26, 1);
  setI32(payload, 28, 1);
  // The checksum is sent with its first byte last (RFC 9260, appendix A).
  new DataView(payload.buffer).setUint32(8, crc32c(payload), true);
  return payload;
}

/** An error carries a datagram of the other direction, as it must (RFC 792, RFC 4443 section 3). */
function buildIcmp(spec: PacketSpec): Uint8Array {
  const isError =
    spec.protocol === PROTOCOL_ICMP ? [3, 4, 5, 11, 12].includes(spec.icmpType) : spec.icmpType < 128;
  const about = isError
    ? buildPacket({
        ...spec,
        source: spec.destination,
        destination: spec.source,
        protocol: PROTOCOL_UDP,
        sourcePort: spec.destinationPort,
        destinationPort: spec.sourcePort,
      })
    : new Uint8Array(0);
  const message = new Uint8Array(ICMP_BYTES + about.length);
  message[0] = spec.icmpType;
  message[1] = spec.icmpCode;
  if (!isError) setU16(message, 4, spec.sourcePort);
  message.set(about, ICMP_BYTES);
  return message;
}

function writeChecksum(packet: Uint8Array, protocol: number, at: number, isV4: boolean): void {
  const lengthBytes = packet.length - at;
  const addresses = isV4 ? addBytes(0, packet, 12, 8) : addBytes(0, packet, 8, 32);
  const pseudo = addWord32(addresses, lengthBytes) + protocol;
  if (protocol === PROTOCOL_ICMP) setU16(packet, at + 2, checksum(packet, at, lengthBytes));
  const field =
    protocol === PROTOCOL_TCP ? 16 : protocol === PROTOCOL_UDP ? 6 : protocol === PROTOCOL_ICMPV6 ? 2 : -1;
  if (field < 0) return;
  // RFC 768: a sum of zero is sent as all ones.
  setU16(packet, at + field, fold(addBytes(pseudo, packet, at, lengthBytes)) || 0xffff);
}
