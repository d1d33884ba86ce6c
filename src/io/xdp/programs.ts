/**
 * XDP programs: what the kernel does with each frame before its own stack sees it. They say the same as isForUs() in
 * ../filter.ts, which they are tested against.
 */
import type { PortFilter } from "../port.ts";
import { Assembler } from "./assembler.ts";

const XDP_DROP = 1;
const XDP_PASS = 2;
const HELPER_REDIRECT_MAP = 51;

// struct xdp_md
const DATA = 0;
const DATA_END = 4;
const RX_QUEUE_INDEX = 16;

// Frame layout: Ethernet, IPv4 without options, UDP.
const ETHERTYPE_AT = 12;
const IP_VERSION_AT = 14;
const FRAGMENT_AT = 20;
const PROTOCOL_AT = 23;
const UDP_DESTINATION_AT = 36;
const ARP_OPERATION_AT = 20;
const ARP_TARGET_AT = 38;
const HEADERS_BYTES = 42;

/** The program of a filter; `socketMapFd` is an XSKMAP with one socket for each receive queue. */
export function programOf(filter: PortFilter, socketMapFd: number): Uint8Array {
  return filter.kind === "all" ? redirectAll(socketMapFd) : redirectCluster(socketMapFd, filter.udpPorts);
}

/** Every frame to the socket of its queue: six instructions. A queue without socket drops: nothing goes around us. */
function redirectAll(socketMapFd: number): Uint8Array {
  return new Assembler()
    .load(4, 2, 1, RX_QUEUE_INDEX)
    .loadMap(1, socketMapFd)
    .moveImmediate(3, XDP_DROP)
    .call(HELPER_REDIRECT_MAP)
    .exit()
    .assemble();
}

/** IPv4 UDP, whole and without options, to one of the ports, and ARP replies to 0.0.0.0: to the socket. All else: to the kernel. */
function redirectCluster(socketMapFd: number, udpPorts: readonly number[]): Uint8Array {
  const program = new Assembler()
    .load(4, 2, 1, DATA)
    .load(4, 3, 1, DATA_END)
    .moveRegister(4, 2)
    .addImmediate(4, HEADERS_BYTES)
    // The verifier lets us read only what this comparison has proven to be there.
    .jumpIfGreater(4, 3, "pass")
    .load(2, 4, 2, ETHERTYPE_AT)
    .jumpIfEqual(4, networkOrder(0x0806), "arp")
    .jumpIfNotEqual(4, networkOrder(0x0800), "pass")
    .load(1, 4, 2, IP_VERSION_AT)
    .jumpIfNotEqual(4, 0x45, "pass")
    .load(2, 4, 2, FRAGMENT_AT)
    .andImmediate(4, networkOrder(0x3fff))
    .jumpIfNotEqual(4, 0, "pass")
    .load(1, 4, 2, PROTOCOL_AT)
    .jumpIfNotEqual(4, 17, "pass")
    .load(2, 4, 2, UDP_DESTINATION_AT);
  for (const port of udpPorts) program.jumpIfEqual(4, networkOrder(port), "take");
  return program
    .jump("pass")
    .label("arp")
    .load(2, 4, 2, ARP_OPERATION_AT)
    .jumpIfNotEqual(4, networkOrder(2), "pass")
    .load(2, 4, 2, ARP_TARGET_AT)
    .jumpIfNotEqual(4, 0, "pass")
    .load(2, 4, 2, ARP_TARGET_AT + 2)
    .jumpIfNotEqual(4, 0, "pass")
    .label("take")
    .load(4, 2, 1, RX_QUEUE_INDEX)
    .loadMap(1, socketMapFd)
    .moveImmediate(3, XDP_PASS)
    .call(HELPER_REDIRECT_MAP)
    .exit()
    .label("pass")
    .moveImmediate(0, XDP_PASS)
    .exit()
    .assemble();
}

/** A 16-bit field as a little-endian machine loads it. Our rings are little-endian anyway: see open.ts. */
function networkOrder(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}
