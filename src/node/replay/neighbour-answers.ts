/**
 * Neighbour answers: the hosts and routers of a world without wires. Whoever the engine asks for is there: ARP requests
 * (RFC 826) and neighbour solicitations (RFC 4861) become their answers, in place of the frame. Owns the answers and the made-up
 * MACs; that it is asked again and again is the engine's business.
 */
import type { Address } from "../../base/address.ts";
import { i32, setI32, setU16, u16 } from "../../packet/bytes.ts";
import { addBytes, addWord32, fold } from "../../packet/checksum.ts";

const ETHERNET_BYTES = 14;
const IPV6_BYTES = 40;
const ETHER_ARP = 0x0806;
const ETHER_RARP = 0x8035;
const ETHER_IPV6 = 0x86dd;
const ARP_REQUEST = 1;
const ARP_REPLY = 2;
const ARP_BYTES = 28;
const ICMPV6 = 58;
const ROUTER_SOLICITATION = 133;
const SOLICITATION = 135;
const ADVERTISEMENT = 136;
const REDIRECT = 137;
const HOPS = 255;
const SOLICITED_OVERRIDE = 0x60;
const OPTION_TARGET_MAC = 2;
/** Target address and the option with the MAC. */
const ADVERTISEMENT_BYTES = 8 + 16 + 8;
const ALL_NODES = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

/** What the engine does on its own account: frames that no packet made it send. */
export function isHousekeeping(frame: Uint8Array): boolean {
  const type = u16(frame, 12);
  if (type === ETHER_ARP || type === ETHER_RARP) return true;
  const icmp = ETHERNET_BYTES + IPV6_BYTES;
  if (type !== ETHER_IPV6 || frame.length <= icmp || frame[ETHERNET_BYTES + 6] !== ICMPV6) return false;
  return frame[icmp]! >= ROUTER_SOLICITATION && frame[icmp]! <= REDIRECT;
}

/** The address that a frame asks for, or undefined when it asks for none. */
export function askedAddress(frame: Uint8Array): Address | undefined {
  const type = u16(frame, 12);
  if (type === ETHER_ARP) {
    const isRequest =
      frame.length >= ETHERNET_BYTES + ARP_BYTES && u16(frame, ETHERNET_BYTES + 6) === ARP_REQUEST;
    return isRequest ? i32(frame, ETHERNET_BYTES + 24) >>> 0 : undefined;
  }
  const icmp = ETHERNET_BYTES + IPV6_BYTES;
  if (!isHousekeeping(frame) || frame.length < icmp + 24 || frame[icmp] !== SOLICITATION) return undefined;
  let address = 0n;
  for (let i = 0; i < 16; i++) address = (address << 8n) | BigInt(frame[icmp + 8 + i]!);
  return address;
}

/** The answer to a frame with an askedAddress(), as the asked host sends it. */
export function answerFor(frame: Uint8Array): Uint8Array {
  return u16(frame, 12) === ETHER_ARP ? answerArp(frame) : answerSolicitation(frame);
}

/** The MAC of a host with an address: made up, locally administered, the same every time. */
function writeHostMac(out: Uint8Array, at: number, address: Uint8Array): void {
  out[at] = 0x02;
  out[at + 1] = 0x4e;
  out.set(address.subarray(-4), at + 2);
}

function answerArp(frame: Uint8Array): Uint8Array {
  const answer = new Uint8Array(ETHERNET_BYTES + ARP_BYTES);
  const asked = frame.subarray(ETHERNET_BYTES + 24, ETHERNET_BYTES + 28);
  answer.set(frame.subarray(6, 12));
  writeHostMac(answer, 6, asked);
  setU16(answer, 12, ETHER_ARP);
  answer.set(frame.subarray(ETHERNET_BYTES, ETHERNET_BYTES + 6), ETHERNET_BYTES);
  setU16(answer, ETHERNET_BYTES + 6, ARP_REPLY);
  writeHostMac(answer, ETHERNET_BYTES + 8, asked);
  answer.set(asked, ETHERNET_BYTES + 14);
  // The asking end's MAC and address become the target's.
  answer.set(frame.subarray(ETHERNET_BYTES + 8, ETHERNET_BYTES + 18), ETHERNET_BYTES + 18);
  return answer;
}

function answerSolicitation(frame: Uint8Array): Uint8Array {
  const ip = ETHERNET_BYTES;
  const icmp = ip + IPV6_BYTES;
  const answer = new Uint8Array(icmp + ADVERTISEMENT_BYTES);
  const target = frame.subarray(icmp + 8, icmp + 24);
  const asker = frame.subarray(ip + 8, ip + 24);
  answer.set(frame.subarray(6, 12));
  writeHostMac(answer, 6, target);
  setU16(answer, 12, ETHER_IPV6);
  answer[ip] = 0x60;
  setU16(answer, ip + 4, ADVERTISEMENT_BYTES);
  answer[ip + 6] = ICMPV6;
  answer[ip + 7] = HOPS;
  answer.set(target, ip + 8);
  // RFC 4861 section 7.2.4: without an asker's address the answer goes to all nodes.
  answer.set(asker.every((byte) => byte === 0) ? ALL_NODES : asker, ip + 24);
  answer[icmp] = ADVERTISEMENT;
  setI32(answer, icmp + 4, SOLICITED_OVERRIDE << 24);
  answer.set(target, icmp + 8);
  answer[icmp + 24] = OPTION_TARGET_MAC;
  answer[icmp + 25] = 1;
  writeHostMac(answer, icmp + 26, target);
  // Pseudo header of RFC 8200 section 8.1.
  const pseudo = addWord32(addBytes(0, answer, ip + 8, 32), ADVERTISEMENT_BYTES) + ICMPV6;
  setU16(answer, icmp + 2, fold(addBytes(pseudo, answer, icmp, ADVERTISEMENT_BYTES)));
  return answer;
}
