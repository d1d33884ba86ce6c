/**
 * Router advertiser: tells the hosts of each zone that the cluster is their router (RFC 4861 section 6.2). Owns when
 * advertisements leave and what they say. One slot of each zone speaks for it, so exactly one node does; the link-layer address
 * is left out, so that every host asks for it and is answered by the owner of its own slot.
 */
import { ADDRESS_WORDS, addressWords } from "../base/address.ts";
import { setI32, setU16 } from "../packet/bytes.ts";
import { ETHER_IPV6, ETHERNET_BYTES, MAC_BYTES, setEtherType } from "../packet/ethernet.ts";
import { ICMP_CHECKSUM } from "../packet/icmp.ts";
import * as icmpv6 from "../packet/icmpv6.ts";
import { IPV6_BYTES, PROTOCOL_ICMPV6, writeIpv6, writeIpv6Header } from "../packet/ipv6.ts";
import { isExclusive } from "./arp-answer.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { Egress } from "./egress.ts";
import { groupMac, ND_HOP_LIMIT } from "./neighbour-probe.ts";
import type { RouterAdvertisementModel, ZoneModel } from "./policy-model.ts";
import { virtualMac } from "./virtual-mac.ts";

const ZONES_MAX = 256;
/** RFC 4861 section 10: MIN_DELAY_BETWEEN_RAS. */
const BETWEEN_MS = 3000;
/** Current hop limit that hosts should use. */
const HOPS = 64;
const FLAG_MANAGED = 0x80;
const FLAG_OTHER = 0x40;
const PREFIX_ON_LINK = 0x80;
const PREFIX_AUTONOMOUS = 0x40;
const HEADER_BYTES = 16;
const MTU_BYTES = 8;
const PREFIX_BYTES = 32;
const ALL_NODES = Int32Array.of(0xff020000 | 0, 0, 0, 1);

export class RouterAdvertiser {
  readonly #context: EngineContext;
  readonly #egress: Egress;
  /** By zone: when the next one leaves, and the last one left. */
  readonly #nextAtMs = new Float64Array(ZONES_MAX);
  readonly #lastAtMs = new Float64Array(ZONES_MAX).fill(-BETWEEN_MS);

  constructor(context: EngineContext, egress: Egress) {
    this.#context = context;
    this.#egress = egress;
  }

  /** The slot whose owner speaks for a zone. */
  slotOf(zone: number): number {
    return zone & (this.#context.view.slots - 1);
  }

  /** What is due; once a tick. */
  tick(): void {
    const { policy, clock } = this.#context;
    const { zones } = policy.model;
    for (let i = 0; i < zones.length; i++) {
      const zone = zones[i]!;
      const advertise = zone.ipv6?.advertise;
      if (advertise === undefined || this.#nextAtMs[zone.id]! > clock[0]!) continue;
      this.#nextAtMs[zone.id] = clock[0]! + advertise.intervalMs;
      if (isExclusive(this.#context, this.slotOf(zone.id))) this.#send(zone, advertise);
    }
  }

  /** A host of the zone asked. All are told, at most every three seconds. */
  answer(zone: number): void {
    const { clock } = this.#context;
    const earliest = this.#lastAtMs[zone]! + BETWEEN_MS;
    this.#nextAtMs[zone] = Math.min(this.#nextAtMs[zone]!, Math.max(clock[0]!, earliest));
  }

  #send(zone: ZoneModel, advertise: RouterAdvertisementModel): void {
    const { frames, ports, counters, clock } = this.#context;
    this.#lastAtMs[zone.id] = clock[0]!;
    for (let port = 0; port < ports.length; port++) {
      if (ports[port]!.zone !== zone.id) continue;
      const at = frames.alloc();
      if (at < 0) return;
      const lengthBytes = this.#write(at, zone, advertise, ports[port]!.mtuBytes);
      if (this.#egress.emit(port, at, lengthBytes)) count(counters, COUNT.routerAdvertisements);
    }
  }

  /** Section 4.2: header, MTU, prefix, and the DNS servers of RFC 8106. */
  #write(at: number, zone: ZoneModel, advertise: RouterAdvertisementModel, mtuBytes: number): number {
    const { frames, policy } = this.#context;
    const bytes = frames.bytes;
    const ip = at + ETHERNET_BYTES;
    const icmp = ip + IPV6_BYTES;
    const { dns } = advertise;
    const dnsBytes = dns.length === 0 ? 0 : 8 + dns.length * 16;
    const length = HEADER_BYTES + MTU_BYTES + PREFIX_BYTES + dnsBytes;
    groupMac(ALL_NODES, 0, bytes, at);
    virtualMac(zone.id, this.slotOf(zone.id), bytes, at + MAC_BYTES);
    setEtherType(bytes, at, ETHER_IPV6);
    const from = zone.id * ADDRESS_WORDS;
    writeIpv6Header(bytes, ip, length, PROTOCOL_ICMPV6, ND_HOP_LIMIT, policy.linkLocal, from, ALL_NODES, 0);
    bytes.fill(0, icmp, icmp + length);
    bytes[icmp] = icmpv6.ICMPV6_ROUTER_ADVERTISEMENT;
    bytes[icmp + 4] = HOPS;
    bytes[icmp + 5] = (advertise.isManaged ? FLAG_MANAGED : 0) | (advertise.isOtherConfig ? FLAG_OTHER : 0);
    setU16(bytes, icmp + 6, advertise.lifetimeSeconds);
    const mtu = icmp + HEADER_BYTES;
    bytes[mtu] = icmpv6.OPTION_MTU;
    bytes[mtu + 1] = 1;
    setI32(bytes, mtu + 4, mtuBytes);
    const prefix = mtu + MTU_BYTES;
    bytes[prefix] = icmpv6.OPTION_PREFIX;
    bytes[prefix + 1] = PREFIX_BYTES / 8;
    bytes[prefix + 2] = zone.ipv6!.prefix.bits;
    bytes[prefix + 3] = PREFIX_ON_LINK | (advertise.isAutonomous ? PREFIX_AUTONOMOUS : 0);
    setI32(bytes, prefix + 4, advertise.prefixValidSeconds);
    setI32(bytes, prefix + 8, advertise.prefixPreferredSeconds);
    writeIpv6(bytes, prefix + 16, addressWords(zone.ipv6!.prefix.address), 0);
    if (dnsBytes > 0) writeDns(bytes, prefix + PREFIX_BYTES, dns, advertise.lifetimeSeconds);
    setU16(bytes, icmp + ICMP_CHECKSUM, icmpv6.icmpChecksumV6(bytes, ip, icmp, length));
    return ETHERNET_BYTES + IPV6_BYTES + length;
  }
}

function writeDns(bytes: Uint8Array, at: number, servers: readonly bigint[], lifetimeSeconds: number): void {
  bytes[at] = icmpv6.OPTION_RDNSS;
  bytes[at + 1] = 1 + servers.length * 2;
  setI32(bytes, at + 4, lifetimeSeconds);
  servers.forEach((server, i) => {
    writeIpv6(bytes, at + 8 + i * 16, addressWords(server), 0);
  });
}
