/**
 * Translation: which addresses and ports a packet of no known flow has behind the firewall. Owns the order of the kinds of NAT;
 * the kinds themselves are nat-policy.ts, static-nat.ts, nat64-prefix.ts, bindings.ts, and a port's choice is nat.ts.
 *
 *   inbound()    before the slot and the rules: where is it really going?      expectation, DNAT, static, NAT64, binding
 *   outbound()   after the rules: what does it leave with?                     static, SNAT with or without a binding
 */
import { ADDRESS_WORDS, copyAddress, isIpv4, isSameAddress } from "../base/address.ts";
import * as tcp from "../packet/tcp.ts";
import type { Bindings } from "./bindings.ts";
import type { EngineContext } from "./context.ts";
import { FLAG_DNAT, FLAG_SNAT, NONE } from "./flow-layout.ts";
import type { Expectations } from "./helpers/expectations.ts";
import type { NatAllocator } from "./nat.ts";
import { NO_DNAT, NO_SNAT } from "./nat-policy.ts";
import { NO_NAT64 } from "./nat64-prefix.ts";
import {
  KIND_ECHO,
  KIND_OTHER,
  KIND_TCP,
  KIND_UDP,
  P_DESTINATION,
  P_SOURCE,
  PARSED,
  type Packet,
} from "./packet.ts";
import { NO_STATIC } from "./static-nat.ts";
import { isOpening } from "./tcp-tracker.ts";
import { dropVerdict } from "./verdict.ts";

const DROP_NAT_PORTS = dropVerdict("nat_port_exhausted");
const DROP_BAD_DESTINATION = dropVerdict("bad_destination");
const DROP_BAD_SOURCE = dropVerdict("bad_source");

export class Translation {
  /** Set by inbound(): the real destination. */
  readonly destination = new Int32Array(ADDRESS_WORDS);
  destinationPort = 0;
  /** Set by outbound(): what the far end will see. */
  readonly source = new Int32Array(ADDRESS_WORDS);
  sourcePort = 0;
  /** FLAG_DNAT, FLAG_SNAT: what happened so far. */
  flags = 0;
  /** A DNAT entry, a static prefix or a binding gave the packet its destination. */
  isTranslated = false;
  /** The binding whose filter lets the packet in without a rule, or NONE. */
  binding = NONE;
  /** The expectation that lets the packet in without a rule, or NONE. */
  expectation = NONE;
  /** It went to a pool address, and nothing here explains it. */
  isToPool = false;
  #static = NO_STATIC;
  readonly #context: EngineContext;
  readonly #packet: Packet;
  readonly #nat: NatAllocator;
  readonly #bindings: Bindings;
  readonly #expectations: Expectations;

  constructor(
    context: EngineContext,
    packet: Packet,
    nat: NatAllocator,
    bindings: Bindings,
    expectations: Expectations,
  ) {
    this.#context = context;
    this.#packet = packet;
    this.#nat = nat;
    this.#bindings = bindings;
    this.#expectations = expectations;
  }

  /** Finds the packet's real destination: PARSED, or the verdict of what is wrong with it. */
  inbound(): number {
    const packet = this.#packet;
    const { words } = packet;
    const { policy, key } = this.#context;
    const { nat } = policy;
    copyAddress(this.destination, 0, words, P_DESTINATION);
    this.destinationPort = packet.destinationPort;
    this.flags = 0;
    this.isTranslated = false;
    this.isToPool = false;
    this.binding = NONE;
    this.#static = NO_STATIC;
    this.expectation = this.#findExpected();
    if (this.expectation !== NONE) return this.#asExpected();
    const dnat = nat.dnatOf(packet.zone, words, P_DESTINATION, packet.protocol, packet.destinationPort);
    if (dnat !== NO_DNAT) {
      nat.targetOf(dnat, key, words, P_SOURCE, this.destination, 0);
      this.destinationPort = packet.destinationPort - nat.dnatPortFrom[dnat]! + nat.dnatToPort[dnat]!;
      return this.#translated();
    }
    this.#static = nat.statics.ofOuter(words, P_DESTINATION);
    if (this.#static !== NO_STATIC) {
      const isMet = nat.statics.inward(this.#static, words, P_DESTINATION, this.destination, 0);
      return isMet ? this.#translated() : DROP_BAD_DESTINATION;
    }
    const nat64 = nat.nat64.of(packet.zone, words, P_DESTINATION);
    if (nat64 !== NO_NAT64) {
      nat.nat64.extract(nat64, words, P_DESTINATION, this.destination, 0);
      this.flags = FLAG_DNAT;
      return PARSED;
    }
    if (packet.kind !== KIND_ECHO && nat.pools.get(words, P_DESTINATION) >= 0) this.#toPool();
    return PARSED;
  }

  /** An expectation of the packet in hand; of TCP only its first segment is expected. */
  #findExpected(): number {
    const packet = this.#packet;
    const isFirst =
      packet.kind === KIND_UDP ||
      (packet.kind === KIND_TCP && isOpening(tcp.flags(this.#context.frames.bytes, packet.l4At)));
    if (!isFirst) return NONE;
    return this.#expectations.find(
      packet.protocol,
      packet.words,
      P_SOURCE,
      packet.destinationPort,
      packet.zone,
    );
  }

  #asExpected(): number {
    const packet = this.#packet;
    const expectations = this.#expectations;
    expectations.resolve(this.expectation, packet.sourcePort);
    copyAddress(this.destination, 0, expectations.resolved, 0);
    this.destinationPort = expectations.resolvedPort;
    const isSame =
      isSameAddress(this.destination, 0, packet.words, P_DESTINATION) &&
      this.destinationPort === packet.destinationPort;
    this.flags = isSame ? 0 : FLAG_DNAT;
    this.isTranslated = !isSame;
    return PARSED;
  }

  /** The source of an expected packet: as its sender appears in the flow that announced it. */
  #expectedSource(slot: number): number {
    const expectations = this.#expectations;
    if (!expectations.isSourceResolved) return PARSED;
    const { resolvedSourcePort } = expectations;
    copyAddress(this.source, 0, expectations.resolved, ADDRESS_WORDS);
    this.flags |= FLAG_SNAT;
    this.sourcePort =
      resolvedSourcePort === NONE
        ? this.#nat.allocateOn(this.source, slot, this.#packet, this.destination, this.destinationPort)
        : resolvedSourcePort;
    return this.sourcePort === NONE ? DROP_NAT_PORTS : PARSED;
  }

  #translated(): number {
    this.flags = FLAG_DNAT;
    this.isTranslated = true;
    return PARSED;
  }

  /** A reply to a binding that no flow accounts for: an endpoint-independent one may take it from anybody. */
  #toPool(): void {
    this.isToPool = true;
    const binding = this.#bindings.findOuter(this.#packet);
    if (binding === NONE || !this.#bindings.isOpenToAll(binding)) return;
    this.binding = binding;
    this.isToPool = false;
    this.destinationPort = this.#bindings.inner(binding, this.destination);
    this.#translated();
  }

  /** Finds what the packet leaves with, on its way to `toZone` in a slot that is ours: PARSED, or a verdict. */
  outbound(slot: number, toZone: number): number {
    const packet = this.#packet;
    const { words } = packet;
    const { nat } = this.#context.policy;
    copyAddress(this.source, 0, words, P_SOURCE);
    this.sourcePort = packet.sourcePort;
    if (this.expectation !== NONE) return this.#expectedSource(slot);
    // Inside hosts that call each other by their outer addresses see each other's outer addresses (RFC 4787 REQ-9).
    const isHairpin = this.#static !== NO_STATIC && nat.statics.innerZone[this.#static] === packet.zone;
    const outerZone = isHairpin ? nat.statics.outerZone[this.#static]! : toZone;
    const fixed = nat.statics.ofInner(packet.zone, outerZone, words, P_SOURCE);
    if (fixed !== NO_STATIC) {
      this.flags |= FLAG_SNAT;
      return nat.statics.outward(fixed, words, P_SOURCE, this.source, 0) ? PARSED : DROP_BAD_SOURCE;
    }
    const isIpv6 = !isIpv4(this.destination, 0);
    const snat = nat.snatOf(packet.zone, toZone, words, P_SOURCE, isIpv6, packet.isIpv6);
    if (snat === NO_SNAT) {
      // NAT64 without an address to leave with has nowhere to go.
      return packet.isIpv6 === isIpv6 ? PARSED : DROP_NAT_PORTS;
    }
    this.flags |= FLAG_SNAT;
    const port = this.#bind(snat, slot);
    if (port === NONE) return DROP_NAT_PORTS;
    this.sourcePort = port;
    return PARSED;
  }

  /** Whether a packet without ports is translated on this way: then its slot is its far end's. */
  isBareSnat(toZone: number): boolean {
    const packet = this.#packet;
    if (packet.kind !== KIND_OTHER) return false;
    const { nat } = this.#context.policy;
    if (nat.statics.ofInner(packet.zone, toZone, packet.words, P_SOURCE) !== NO_STATIC) return false;
    const isIpv6 = !isIpv4(this.destination, 0);
    return nat.snatOf(packet.zone, toZone, packet.words, P_SOURCE, isIpv6, packet.isIpv6) !== NO_SNAT;
  }

  /** A pool address (in `source`) and its port for the packet, or NONE. */
  #bind(snat: number, slot: number): number {
    const packet = this.#packet;
    const { nat } = this.#context.policy;
    if (nat.isMappingIndependent[snat] === 1 && packet.kind !== KIND_OTHER) {
      return this.#bindings.bind(packet, snat, slot, this.destination, this.source);
    }
    const port =
      packet.kind === KIND_OTHER
        ? this.#nat.allocateBare(snat, packet.protocol, this.destination)
        : this.#nat.allocate(
            snat,
            slot,
            packet.protocol,
            packet.words,
            P_SOURCE,
            packet.sourcePort,
            this.destination,
            this.destinationPort,
          );
    copyAddress(this.source, 0, this.#nat.address, 0);
    return port;
  }
}
