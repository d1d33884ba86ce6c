/**
 * Helper context: the packet of a helped flow as a helper sees it: a payload, who speaks to whom on either side of NAT, and what
 * it may ask for. One instance, filled anew for every packet. Owns the editing of the payload in place with lengths and
 * checksums (RFC 791, 8200, 9293, 768); knows no protocol's text.
 *
 *   sender ---- sourceIn ----> [ firewall ] ---- sourceOut ----> receiver       `in` is what the sender's side sees,
 *          -- destinationIn ->              -- destinationOut ->                `out` what the receiver's side sees
 *
 * The payload is seen and edited before addresses are translated.
 */
import { isSameAddress } from "../../base/address.ts";
import { setU16, u16 } from "../../packet/bytes.ts";
import { addBytes, adjust16, fold } from "../../packet/checksum.ts";
import { IPV4_CHECKSUM, PROTOCOL_TCP, PROTOCOL_UDP } from "../../packet/ipv4.ts";
import * as tcp from "../../packet/tcp.ts";
import { UDP_BYTES, UDP_CHECKSUM } from "../../packet/udp.ts";
import { NONE } from "../flow-layout.ts";
import { portsOf, readTuple, TUPLE_WORDS } from "./satellite.ts";

/** Where the four addresses stand in `words`. */
export const SOURCE_IN = 0;
export const DESTINATION_IN = 4;
/** The other tuple is of the way back: its destination is what the sender becomes. */
export const DESTINATION_OUT = 8;
export const SOURCE_OUT = 12;

const IPV6_BYTES = 40;
const URG = 0x20;

/** What helpers need of a parsed packet (packet.ts); the two lengths change with the payload. */
export interface HelperPacket {
  readonly ipAt: number;
  readonly l4At: number;
  l4Bytes: number;
  totalBytes: number;
  readonly protocol: number;
  readonly isIpv6: boolean;
  /** The first fragment of a datagram: its text is not whole. */
  readonly isFragment: boolean;
}

export class HelperContext {
  /** SOURCE_IN, DESTINATION_IN, DESTINATION_OUT, SOURCE_OUT: the tuple of the packet, and that of the way back. */
  readonly words = new Int32Array(2 * TUPLE_WORDS);
  sourcePortIn = 0;
  destinationPortIn = 0;
  sourcePortOut = 0;
  destinationPortOut = 0;
  bytes: Uint8Array = new Uint8Array(0);
  payloadAt = 0;
  payloadBytes = 0;
  /** Row of the flow, and which way the packet goes in it. */
  master = NONE;
  direction = 0;
  /** TCP: number of the first payload byte, as the sender counts. */
  sequence = 0;
  /** TCP: SYN or RST is set: its data is no text yet, or no more. */
  isSpecial = false;
  /** TCP: the segment points into its text (URG), which must not move. */
  isUrgent = false;
  /** This node decides the flow: it may make and end expectations and note changes. */
  isOwner = false;
  /** The sender's side is trusted less than the receiver's. */
  isSenderOuter = false;
  /** The largest IP packet that may leave, and that fits the frame's memory. */
  totalBytesMax = 0;
  /** The payload was changed. */
  isEdited = false;
  #packet: HelperPacket | null = null;

  /** Takes a packet of `direction` of the flow in `row`. False: there is no payload to look at. */
  begin(
    packet: HelperPacket,
    bytes: Uint8Array,
    words: Int32Array,
    row: number,
    direction: number,
    totalBytesMax: number,
  ): boolean {
    this.#packet = packet;
    this.bytes = bytes;
    this.master = row;
    this.direction = direction;
    this.totalBytesMax = totalBytesMax;
    this.isEdited = false;
    readTuple(words, row, direction, this.words, 0);
    readTuple(words, row, 1 - direction, this.words, TUPLE_WORDS);
    const ports = portsOf(words, row, direction);
    const back = portsOf(words, row, 1 - direction);
    this.sourcePortIn = ports >>> 16;
    this.destinationPortIn = ports & 0xffff;
    this.destinationPortOut = back >>> 16;
    this.sourcePortOut = back & 0xffff;
    const { l4At, l4Bytes } = packet;
    if (packet.protocol === PROTOCOL_TCP) {
      const header = tcp.headerBytes(bytes, l4At);
      this.payloadAt = l4At + header;
      this.payloadBytes = l4Bytes - header;
      this.sequence = tcp.sequence(bytes, l4At);
      this.isSpecial = (tcp.flags(bytes, l4At) & (tcp.SYN | tcp.RST)) !== 0;
      this.isUrgent = (tcp.flags(bytes, l4At) & URG) !== 0;
    } else {
      this.payloadAt = l4At + UDP_BYTES;
      this.payloadBytes = u16(bytes, l4At + 4) - UDP_BYTES;
      this.isSpecial = false;
      this.isUrgent = false;
    }
    return packet.protocol === PROTOCOL_TCP || packet.protocol === PROTOCOL_UDP
      ? this.payloadBytes > 0 && this.payloadBytes <= l4Bytes
      : false;
  }

  /** First byte behind the payload. */
  get end(): number {
    return this.payloadAt + this.payloadBytes;
  }

  /** The sender's address is another on the receiver's side. */
  get isSourceTranslated(): boolean {
    return !isSameAddress(this.words, SOURCE_IN, this.words, SOURCE_OUT);
  }

  /** Whether a payload of `payloadBytes` fits the way out and the frame. */
  fits(payloadBytes: number): boolean {
    return this.#packet!.totalBytes + payloadBytes - this.payloadBytes <= this.totalBytesMax;
  }

  /**
   * The payload may be edited: it reaches to the packet's end, and the transport checksum is right, so that a new one hides
   * nothing. An IPv4 sender may have computed none (RFC 768). Bytes behind a datagram's own end would not move with its text:
   * what is in the frame's memory would leave in their place.
   */
  isIntact(): boolean {
    const { l4At, l4Bytes } = this.#packet!;
    if (this.end !== l4At + l4Bytes) return false;
    return this.#isUnsummed() || this.#sum(l4Bytes) === 0;
  }

  /** Replaces `removeBytes` of the payload from `offset` on by the first `insertBytes` of `insert`. False: it does not fit. */
  edit(offset: number, removeBytes: number, insert: Uint8Array, insertBytes: number): boolean {
    const after = this.payloadBytes - removeBytes + insertBytes;
    const isInside = offset >= 0 && removeBytes >= 0 && offset + removeBytes <= this.payloadBytes;
    if (!isInside || insertBytes > insert.length || !this.fits(after)) return false;
    const bytes = this.bytes;
    const at = this.payloadAt + offset;
    bytes.copyWithin(at + insertBytes, at + removeBytes, this.end);
    for (let i = 0; i < insertBytes; i++) bytes[at + i] = insert[i]!;
    this.#resize(after);
    return true;
  }

  #resize(payloadBytes: number): void {
    const bytes = this.bytes;
    const packet = this.#packet!;
    const grown = payloadBytes - this.payloadBytes;
    const isUnsummed = this.#isUnsummed();
    packet.totalBytes += grown;
    packet.l4Bytes += grown;
    this.payloadBytes = payloadBytes;
    this.isEdited = true;
    if (packet.isIpv6) {
      setU16(bytes, packet.ipAt + 4, packet.totalBytes - IPV6_BYTES);
    } else if (grown !== 0) {
      const before = u16(bytes, packet.ipAt + 2);
      setU16(bytes, packet.ipAt + 2, packet.totalBytes);
      adjust16(bytes, packet.ipAt + IPV4_CHECKSUM, before, packet.totalBytes);
    }
    if (packet.protocol === PROTOCOL_UDP) {
      const length = payloadBytes + UDP_BYTES;
      setU16(bytes, packet.l4At + 4, length);
      if (isUnsummed) return;
      setU16(bytes, packet.l4At + UDP_CHECKSUM, 0);
      const check = this.#sum(length);
      setU16(bytes, packet.l4At + UDP_CHECKSUM, check === 0 ? 0xffff : check);
    } else {
      setU16(bytes, packet.l4At + tcp.TCP_CHECKSUM, 0);
      setU16(bytes, packet.l4At + tcp.TCP_CHECKSUM, this.#sum(packet.l4Bytes));
    }
  }

  #isUnsummed(): boolean {
    const { protocol, l4At } = this.#packet!;
    return protocol === PROTOCOL_UDP && u16(this.bytes, l4At + UDP_CHECKSUM) === 0;
  }

  /** Checksum of the transport part with the pseudo header of what the packet carries now. */
  #sum(length: number): number {
    const { ipAt, l4At, isIpv6, protocol } = this.#packet!;
    const addresses = isIpv6 ? addBytes(0, this.bytes, ipAt + 8, 32) : addBytes(0, this.bytes, ipAt + 12, 8);
    return fold(addBytes(addresses + protocol + length, this.bytes, l4At, length));
  }
}
