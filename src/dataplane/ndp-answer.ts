/**
 * NDP answers: neighbour discovery on a zone's wire (RFC 4861): learns who has which address, answers for the cluster's addresses
 * with virtual MACs, and answers router solicitations. Who answers is the rule of arp-answer.ts: the owner of the asking host's
 * slot. Nothing of it is ever forwarded.
 */
import { ADDRESS_WORDS, copyAddress, isSameAddress, isUnspecified } from "../base/address.ts";
import { setI32, setU16 } from "../packet/bytes.ts";
import { ETHERNET_BYTES, MAC_BYTES, setMac } from "../packet/ethernet.ts";
import { ICMP_CHECKSUM } from "../packet/icmp.ts";
import * as icmpv6 from "../packet/icmpv6.ts";
import * as ipv6 from "../packet/ipv6.ts";
import { isExclusive, NO_SLOT, slotAsked } from "./arp-answer.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { Egress } from "./egress.ts";
import { groupMac, ND_HOP_LIMIT } from "./neighbour-probe.ts";
import { P_DESTINATION, P_SOURCE, type Packet } from "./packet.ts";
import { isGoodIcmp } from "./rewrite.ts";
import type { RouterAdvertiser } from "./router-advertiser.ts";
import { dropVerdict, VERDICT_ANSWERED } from "./verdict.ts";
import { virtualMac } from "./virtual-mac.ts";

const DROP_ND = dropVerdict("neighbour_discovery");
const DROP_BAD_CHECKSUM = dropVerdict("bad_checksum");
const DROP_TX_FULL = dropVerdict("tx_full");
const ADVERTISEMENT_BYTES = icmpv6.ND_OPTIONS + 8;

/** Sender and target of the message in hand, and ff02::1. */
const asked = new Int32Array(2 * ADDRESS_WORDS);
const SENDER = 0;
const TARGET = ADDRESS_WORDS;
const ALL_NODES = Int32Array.of(0xff020000 | 0, 0, 0, 1);

/** Serves the neighbour discovery packet in hand, which came from a zone's wire: a verdict. The frame is used or freed. */
export function serveNdp(
  context: EngineContext,
  egress: Egress,
  advertiser: RouterAdvertiser,
  packet: Packet,
): number {
  const bytes = context.frames.bytes;
  const { ipAt, l4At } = packet;
  const end = l4At + packet.l4Bytes;
  // RFC 4861 section 7.1: hop limit 255, code 0, whole, and no option of length 0; no extension headers (RFC 6980).
  const isWhole = packet.ipBytes === ipv6.IPV6_BYTES && packet.icmpCode === 0;
  if (!isWhole || ipv6.hopLimit(bytes, ipAt) !== ND_HOP_LIMIT) return drop(context, packet, DROP_ND);
  if (!isGoodIcmp(packet, bytes)) return drop(context, packet, DROP_BAD_CHECKSUM);
  switch (packet.icmpType) {
    case icmpv6.ICMPV6_NEIGHBOUR_SOLICITATION:
      return isOf(packet, bytes, end)
        ? solicited(context, egress, packet, end)
        : drop(context, packet, DROP_ND);
    case icmpv6.ICMPV6_NEIGHBOUR_ADVERTISEMENT:
      if (isOf(packet, bytes, end)) advertised(context, egress, packet, end);
      return drop(context, packet, DROP_ND);
    case icmpv6.ICMPV6_ROUTER_SOLICITATION:
      if (isExclusive(context, advertiser.slotOf(packet.zone))) advertiser.answer(packet.zone);
      return drop(context, packet, DROP_ND);
    default:
      // Advertisements of other routers and redirects are for hosts.
      return drop(context, packet, DROP_ND);
  }
}

/** Whether a message about a target is well formed; reads the target. */
function isOf(packet: Packet, bytes: Uint8Array, end: number): boolean {
  const { l4At } = packet;
  if (packet.l4Bytes < icmpv6.ND_OPTIONS || !icmpv6.hasGoodOptions(bytes, l4At + icmpv6.ND_OPTIONS, end)) {
    return false;
  }
  copyAddress(asked, SENDER, packet.words, P_SOURCE);
  ipv6.readIpv6(bytes, l4At + icmpv6.ND_TARGET, asked, TARGET);
  return !ipv6.isMulticast(asked, TARGET);
}

/** A neighbour asks: for us, or for its own address before it takes it. */
function solicited(context: EngineContext, egress: Egress, packet: Packet, end: number): number {
  const { policy, frames } = context;
  const bytes = frames.bytes;
  const { zone, port, l4At } = packet;
  const isProbe = isUnspecified(asked, SENDER);
  if (!isProbe && !isNeighbour(context, zone)) return drop(context, packet, DROP_ND);
  const slot = isSameAddress(asked, SENDER, asked, TARGET)
    ? NO_SLOT
    : slotAsked(context, zone, asked, SENDER, TARGET);
  const link = icmpv6.linkOption(bytes, l4At + icmpv6.ND_OPTIONS, end, icmpv6.OPTION_SOURCE_LINK);
  if (link >= 0 && isProbe) return drop(context, packet, DROP_ND);
  if (link >= 0) egress.learn(zone, asked, SENDER, port, link, slot !== NO_SLOT);
  if (slot === NO_SLOT || !isExclusive(context, slot)) return drop(context, packet, DROP_ND);
  const isRouter = policy.answered.get(asked, TARGET) < 0;
  const flags = (isRouter ? icmpv6.NA_ROUTER : 0) | (isProbe ? 0 : icmpv6.NA_SOLICITED) | icmpv6.NA_OVERRIDE;
  if (isProbe) groupMac(ALL_NODES, 0, bytes, packet.at);
  else setMac(bytes, packet.at, bytes, packet.at + MAC_BYTES);
  virtualMac(zone, slot, bytes, packet.at + MAC_BYTES);
  const length = writeAdvertisement(packet, bytes, zone, slot, flags, isProbe);
  if (!egress.emit(port, packet.at, length)) return DROP_TX_FULL;
  count(context.counters, COUNT.neighbourAnswered);
  return VERDICT_ANSWERED;
}

/** Writes the advertisement that answers the solicitation over it (section 4.4); returns the frame's length. */
function writeAdvertisement(
  packet: Packet,
  bytes: Uint8Array,
  zone: number,
  slot: number,
  flags: number,
  isProbe: boolean,
): number {
  const ip = packet.at + ETHERNET_BYTES;
  const icmp = ip + ipv6.IPV6_BYTES;
  const to = isProbe ? ALL_NODES : asked;
  ipv6.writeIpv6Header(
    bytes,
    ip,
    ADVERTISEMENT_BYTES,
    ipv6.PROTOCOL_ICMPV6,
    ND_HOP_LIMIT,
    asked,
    TARGET,
    to,
    0,
  );
  bytes[icmp] = icmpv6.ICMPV6_NEIGHBOUR_ADVERTISEMENT;
  bytes[icmp + 1] = 0;
  setU16(bytes, icmp + ICMP_CHECKSUM, 0);
  setI32(bytes, icmp + 4, flags);
  ipv6.writeIpv6(bytes, icmp + icmpv6.ND_TARGET, asked, TARGET);
  bytes[icmp + icmpv6.ND_OPTIONS] = icmpv6.OPTION_TARGET_LINK;
  bytes[icmp + icmpv6.ND_OPTIONS + 1] = 1;
  virtualMac(zone, slot, bytes, icmp + icmpv6.ND_OPTIONS + 2);
  setU16(bytes, icmp + ICMP_CHECKSUM, icmpv6.icmpChecksumV6(bytes, ip, icmp, ADVERTISEMENT_BYTES));
  return ETHERNET_BYTES + ipv6.IPV6_BYTES + ADVERTISEMENT_BYTES;
}

/** A neighbour says which address is its own. */
function advertised(context: EngineContext, egress: Egress, packet: Packet, end: number): void {
  const { policy, frames } = context;
  const { zone, port, l4At } = packet;
  copyAddress(asked, SENDER, asked, TARGET);
  if (!isNeighbour(context, zone) || policy.isOwn(asked, SENDER)) return;
  const link = icmpv6.linkOption(frames.bytes, l4At + icmpv6.ND_OPTIONS, end, icmpv6.OPTION_TARGET_LINK);
  if (link >= 0) egress.learn(zone, asked, SENDER, port, link, false);
  else if (ipv6.isMulticast(packet.words, P_DESTINATION)) return;
  // RFC 4861 section 7.2.5: the answer to a unicast solicitation may leave the option out; the frame's source is it then.
  else egress.learn(zone, asked, SENDER, port, packet.at + MAC_BYTES, false);
}

/** Whether the sender can be a host on the zone's own wire, and is not the cluster. */
function isNeighbour(context: EngineContext, zone: number): boolean {
  const { policy } = context;
  if (isSameAddress(asked, SENDER, policy.linkLocal, zone * ADDRESS_WORDS)) return false;
  if (ipv6.isLinkLocal(asked, SENDER)) return true;
  return policy.isOnLink(zone, asked, SENDER) && !policy.isOwn(asked, SENDER);
}

function drop(context: EngineContext, packet: Packet, verdict: number): number {
  context.frames.free(packet.at);
  return verdict;
}
