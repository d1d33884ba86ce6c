/**
 * Segment: TCP segments without data that the firewall itself sends, written over the IP header of the frame that caused them. Owns
 * their form (RFC 9293, RFC 7323, RFC 2018; RFC 791 or RFC 8200 around them), not what they say.
 *
 *   | room for Ethernet | IPv4 20 or IPv6 40 | TCP 20 | MSS 4 | NOP, scale 4 | NOP, NOP, SACK permitted 4 |
 *                       ^ ipAt: the addresses that stand there are kept, or turned round first
 */
import { i32, setI32, setU16, u16 } from "../../packet/bytes.ts";
import { addBytes, fold } from "../../packet/checksum.ts";
import { IPV4_BYTES, IPV4_DESTINATION, IPV4_SOURCE, PROTOCOL_TCP, writeHeader } from "../../packet/ipv4.ts";
import { NO_SCALE, TCP_BYTES, TCP_CHECKSUM } from "../../packet/tcp.ts";

const IPV6_BYTES = 40;
const IPV6_SOURCE = 8;
const IPV6_ADDRESSES_BYTES = 32;
const IPV4_ADDRESSES_BYTES = 8;
const HOPS = 64;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const OPTION_SCALE = 3;
const OPTION_SACK_PERMITTED = 4;
const OPTION_SCALE_MAX = 14;

/** What a segment says; one instance is filled anew for each. */
export class Segment {
  sourcePort = 0;
  destinationPort = 0;
  sequence = 0;
  acknowledgement = 0;
  flags = 0;
  window = 0;
  /** Options: 0, NO_SCALE and false leave them out. */
  mss = 0;
  scale = NO_SCALE;
  isSackPermitted = false;

  /** Leaves all options out. */
  clearOptions(): void {
    this.mss = 0;
    this.scale = NO_SCALE;
    this.isSackPermitted = false;
  }

  /** Reads ports, numbers, flags and window of the header at `at`, and the options that a SYN has. */
  read(bytes: Uint8Array, at: number): void {
    this.sourcePort = u16(bytes, at);
    this.destinationPort = u16(bytes, at + 2);
    this.sequence = i32(bytes, at + 4);
    this.acknowledgement = i32(bytes, at + 8);
    this.flags = bytes[at + 13]! & 0x3f;
    this.window = u16(bytes, at + 14);
    this.clearOptions();
    const end = at + ((bytes[at + 12]! >>> 4) << 2);
    let option = at + TCP_BYTES;
    while (option < end) {
      const kind = bytes[option]!;
      if (kind === OPTION_END) return;
      if (kind === OPTION_NOP) {
        option++;
        continue;
      }
      const length = option + 1 < end ? bytes[option + 1]! : 0;
      if (length < 2 || option + length > end) return;
      if (kind === OPTION_MSS && length === 4) this.mss = u16(bytes, option + 2);
      else if (kind === OPTION_SCALE && length === 3) {
        this.scale = Math.min(bytes[option + 2]!, OPTION_SCALE_MAX);
      } else if (kind === OPTION_SACK_PERMITTED && length === 2) this.isSackPermitted = true;
      option += length;
    }
  }

  /** Turns ports round. */
  turn(): void {
    const port = this.sourcePort;
    this.sourcePort = this.destinationPort;
    this.destinationPort = port;
  }

  /** Writes the segment behind the IP header at `ipAt`, and that header anew around its addresses; total bytes. */
  write(bytes: Uint8Array, ipAt: number, isIpv6: boolean): number {
    const at = ipAt + (isIpv6 ? IPV6_BYTES : IPV4_BYTES);
    const tcpBytes = this.#writeOptions(bytes, at + TCP_BYTES) - at;
    setU16(bytes, at, this.sourcePort);
    setU16(bytes, at + 2, this.destinationPort);
    setI32(bytes, at + 4, this.sequence);
    setI32(bytes, at + 8, this.acknowledgement);
    bytes[at + 12] = (tcpBytes >>> 2) << 4;
    bytes[at + 13] = this.flags;
    setU16(bytes, at + 14, this.window);
    setI32(bytes, at + TCP_CHECKSUM, 0);
    const addressesAt = ipAt + (isIpv6 ? IPV6_SOURCE : IPV4_SOURCE);
    const addressesBytes = isIpv6 ? IPV6_ADDRESSES_BYTES : IPV4_ADDRESSES_BYTES;
    const pseudo = addBytes(PROTOCOL_TCP + tcpBytes, bytes, addressesAt, addressesBytes);
    setU16(bytes, at + TCP_CHECKSUM, fold(addBytes(pseudo, bytes, at, tcpBytes)));
    if (isIpv6) writeIpv6(bytes, ipAt, tcpBytes);
    else {
      const from = i32(bytes, ipAt + IPV4_SOURCE);
      const to = i32(bytes, ipAt + IPV4_DESTINATION);
      writeHeader(bytes, ipAt, IPV4_BYTES + tcpBytes, HOPS, PROTOCOL_TCP, from, to);
    }
    return at - ipAt + tcpBytes;
  }

  #writeOptions(bytes: Uint8Array, from: number): number {
    let at = from;
    if (this.mss !== 0) {
      setU16(bytes, at, (OPTION_MSS << 8) | 4);
      setU16(bytes, at + 2, this.mss);
      at += 4;
    }
    if (this.scale !== NO_SCALE) {
      setU16(bytes, at, (OPTION_NOP << 8) | OPTION_SCALE);
      setU16(bytes, at + 2, (3 << 8) | this.scale);
      at += 4;
    }
    if (this.isSackPermitted) {
      setU16(bytes, at, (OPTION_NOP << 8) | OPTION_NOP);
      setU16(bytes, at + 2, (OPTION_SACK_PERMITTED << 8) | 2);
      at += 4;
    }
    return at;
  }
}

/** Turns the addresses of the IP header at `ipAt` round, in place. */
export function turnAddresses(bytes: Uint8Array, ipAt: number, isIpv6: boolean): void {
  const half = isIpv6 ? IPV6_ADDRESSES_BYTES / 2 : IPV4_ADDRESSES_BYTES / 2;
  const from = ipAt + (isIpv6 ? IPV6_SOURCE : IPV4_SOURCE);
  for (let at = from; at < from + half; at += 4) {
    const word = i32(bytes, at);
    setI32(bytes, at, i32(bytes, at + half));
    setI32(bytes, at + half, word);
  }
}

/** Copies the addresses of one IP header to where another one will be written, turned round. */
export function copyTurned(bytes: Uint8Array, fromIpAt: number, toIpAt: number, isIpv6: boolean): void {
  const half = isIpv6 ? IPV6_ADDRESSES_BYTES / 2 : IPV4_ADDRESSES_BYTES / 2;
  const offset = isIpv6 ? IPV6_SOURCE : IPV4_SOURCE;
  for (let at = offset; at < offset + half; at += 4) {
    setI32(bytes, toIpAt + at, i32(bytes, fromIpAt + at + half));
    setI32(bytes, toIpAt + at + half, i32(bytes, fromIpAt + at));
  }
}

/** An IPv6 header without extensions around the addresses that stand there (RFC 8200 section 3). */
function writeIpv6(bytes: Uint8Array, ipAt: number, payloadBytes: number): void {
  setI32(bytes, ipAt, 0x60000000);
  setU16(bytes, ipAt + 4, payloadBytes);
  bytes[ipAt + 6] = PROTOCOL_TCP;
  bytes[ipAt + 7] = HOPS;
}
