/**
 * Link types of captures: where the IP packet begins in what was captured, and what the link header tells. Owns the layouts;
 * VLAN tags are stepped over. Numbers are LINKTYPE_* of the tcpdump group's list.
 */
import { u16 } from "../../packet/bytes.ts";

const LINK_ETHERNET = 1;
/** Raw IP; 12 and 14 are what BSD systems call it, 228 and 229 say the version too. */
const LINK_RAW = [101, 12, 14, 228, 229];
/** Linux "any" captures: cooked headers of 16 and of 20 bytes. */
const LINK_COOKED = 113;
const LINK_COOKED_2 = 276;
const COOKED_BYTES = 16;
const COOKED_2_BYTES = 20;
const ETHERNET_BYTES = 14;
const TAG_BYTES = 4;
const TAGS_MAX = 2;
const TAG_TYPES = [0x8100, 0x88a8, 0x9100];

const ETHER_IPV4 = 0x0800;
const ETHER_IPV6 = 0x86dd;

/** What a captured frame holds. */
export interface LinkPayload {
  /** Offset of the IP packet; -1 when there is none. */
  readonly at: number;
  /** Of the Ethernet header: where its destination stands, or -1 without one. */
  readonly destinationMacAt: number;
}

const NOTHING: LinkPayload = { at: -1, destinationMacAt: -1 };

export function isKnownLink(linkType: number): boolean {
  return (
    linkType === LINK_ETHERNET ||
    linkType === LINK_COOKED ||
    linkType === LINK_COOKED_2 ||
    LINK_RAW.includes(linkType)
  );
}

/** Finds the IP packet in a frame of a known link type. */
export function findPacket(linkType: number, bytes: Uint8Array): LinkPayload {
  if (LINK_RAW.includes(linkType)) {
    return bytes.length > 0 ? { at: 0, destinationMacAt: -1 } : NOTHING;
  }
  if (linkType === LINK_ETHERNET) {
    if (bytes.length < ETHERNET_BYTES) return NOTHING;
    return { at: behindTags(bytes, 12), destinationMacAt: 0 };
  }
  if (linkType === LINK_COOKED) {
    return bytes.length < COOKED_BYTES ? NOTHING : { at: behindTags(bytes, 14), destinationMacAt: -1 };
  }
  if (linkType === LINK_COOKED_2) {
    if (bytes.length < COOKED_2_BYTES || !isIp(u16(bytes, 0))) return NOTHING;
    return { at: COOKED_2_BYTES, destinationMacAt: -1 };
  }
  return NOTHING;
}

/** Offset behind the protocol field at `at` and the VLAN tags that follow it, or -1 when IP does not follow. */
function behindTags(bytes: Uint8Array, at: number): number {
  let type = at;
  for (let tags = 0; tags < TAGS_MAX && TAG_TYPES.includes(u16(bytes, type)); tags++) {
    type += TAG_BYTES;
    if (type + 2 > bytes.length) return -1;
  }
  return isIp(u16(bytes, type)) ? type + 2 : -1;
}

function isIp(type: number): boolean {
  return type === ETHER_IPV4 || type === ETHER_IPV6;
}
