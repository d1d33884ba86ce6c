/**
 * Undelivered: tells senders that the neighbour to whom their packet had to go does not answer (RFC 1812 section 5.2.7.1, RFC 4443
 * section 3.1). Owns the making of the error. The packet was translated long ago, so the error is made as a router in that zone would
 * make it, and comes in from there: the engine finds its flow and translates it back like any other's.
 */
import { ADDRESS_WORDS, isUnspecified } from "../base/address.ts";
import { ETHER_IPV4, ETHER_IPV6, setEtherType } from "../packet/ethernet.ts";
import { CODE_HOST_UNREACHABLE, ICMP_UNREACHABLE } from "../packet/icmp.ts";
import { CODE_V6_ADDRESS, ICMPV6_UNREACHABLE } from "../packet/icmpv6.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { Egress } from "./egress.ts";
import { NONE } from "./flow-layout.ts";
import type { Forwarder } from "./forwarder.ts";
import type { HoldPool } from "./hold.ts";
import { buildIcmpError, icmpErrorAt } from "./icmp-error.ts";
import { KIND_ICMP_ERROR, PARSED, type Packet } from "./packet.ts";

export class Undelivered {
  /** Set by next(): the error, and where it comes in. */
  port = 0;
  zone = 0;
  at = 0;
  lengthBytes = 0;
  readonly #context: EngineContext;
  readonly #packet: Packet;
  readonly #hold: HoldPool;
  readonly #egress: Egress;
  readonly #forwarder: Forwarder;

  constructor(
    parts: { readonly context: EngineContext; readonly packet: Packet; readonly forwarder: Forwarder },
    hold: HoldPool,
    egress: Egress,
  ) {
    this.#context = parts.context;
    this.#packet = parts.packet;
    this.#forwarder = parts.forwarder;
    this.#hold = hold;
    this.#egress = egress;
  }

  /** Makes the next error that is due. False: there is none. */
  next(): boolean {
    for (;;) {
      const entry = this.#egress.takeUndelivered();
      if (entry === NONE) return false;
      const at = this.#hold.at[entry]!;
      this.zone = this.#hold.egressZone[entry]!;
      if (this.#make(at, this.#hold.lengthBytes[entry]!)) return true;
      this.#context.frames.free(at);
    }
  }

  /** Around the packet in the frame at `at`. False: nobody is to be told of this one, or of no more now. */
  #make(at: number, lengthBytes: number): boolean {
    const { frames, policy, counters } = this.#context;
    const packet = this.#packet;
    packet.zone = this.zone;
    // Never about an ICMP error (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e).
    if (packet.parse(frames.bytes, at, lengthBytes) !== PARSED || packet.kind === KIND_ICMP_ERROR)
      return false;
    const gateways = packet.isIpv6 ? policy.gateway6 : policy.gateway4;
    const from = this.zone * ADDRESS_WORDS;
    if (isUnspecified(gateways, from) || !this.#forwarder.takeError()) return false;
    const type = packet.isIpv6 ? ICMPV6_UNREACHABLE : ICMP_UNREACHABLE;
    const code = packet.isIpv6 ? CODE_V6_ADDRESS : CODE_HOST_UNREACHABLE;
    this.port = this.#egress.portOf(this.zone);
    this.at = icmpErrorAt(packet);
    this.lengthBytes = buildIcmpError(packet, frames.bytes, gateways, from, type, code, 0);
    setEtherType(frames.bytes, this.at, packet.isIpv6 ? ETHER_IPV6 : ETHER_IPV4);
    count(counters, COUNT.icmpErrorsSent);
    return true;
  }
}
