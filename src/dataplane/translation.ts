/**
 * Translation: which addresses and ports a packet of no known flow has behind the firewall. Owns the order of the kinds of NAT;
 * the kinds themselves are nat-policy.ts, static-nat.ts, nat64-prefix.ts, bindings.ts, and a port's choice is nat.ts.
 *
 *   inbound()    before the slot and the rules: where is it really going?      DNAT, static, NAT64, binding
 *   outbound()   after the rules: what does it leave with?                     static, SNAT with or without a binding
 *
 * Hairpin (RFC 4787 REQ-9, RFC 5382 REQ-8, RFC 6146 section 3.8): a packet to an address that NAT takes in elsewhere is a packet to
 * that zone (`isLoop`). It is translated as all that goes there, and comes back at once as what it is then (engine.ts), so each
 * leg has a flow of its own, and rules and filters hold as for everybody.
 */
import { ADDRESS_WORDS, copyAddress, isIpv4, isSameAddress } from "../base/address.ts";
import * as tcp from "../packet/tcp.ts";
import type { Bindings } from "./bindings.ts";
import { type Borrowed, NOT_BORROWED } from "./borrowed.ts";
import { NO_ROUTE } from "./compiled-policy.ts";
import type { EngineContext } from "./context.ts";
import { FLAG_DNAT, FLAG_SNAT, NONE } from "./flow-layout.ts";
import type { Expectations } from "./helpers/expectations.ts";
import type { NatAllocator } from "./nat.ts";
import { NO_DNAT, NO_SNAT } from "./nat-policy.ts";
import { NO_NAT64 } from "./nat64-prefix.ts";
import { KIND_ECHO, KIND_TCP, KIND_UDP, P_DESTINATION, P_SOURCE, PARSED, type Packet } from "./packet.ts";
import { isUnroutable } from "./sanity.ts";
import { hasPorts } from "./satellites.ts";
import { NO_STATIC } from "./static-nat.ts";
import { isOpening } from "./tcp-tracker.ts";
import { dropVerdict } from "./verdict.ts";

const DROP_NAT_PORTS = dropVerdict("nat_port_exhausted");
const DROP_BAD_DESTINATION = dropVerdict("bad_destination");
const DROP_BAD_SOURCE = dropVerdict("bad_source");
const DROP_UNTRANSLATABLE = dropVerdict("untranslatable");

/** anchor(): what tells a flow's slot when the trust of its ends does not (slot.ts). */
export const ANCHOR_TRUST = 0;
/** One end has an endpoint-independent mapping: it is in one slot with all its flows. */
export const ANCHOR_SOURCE = 1;
export const ANCHOR_DESTINATION = 2;
/** Without ports, through SNAT: the far end is all that both directions know. */
export const ANCHOR_FAR_SOURCE = 3;
export const ANCHOR_FAR_DESTINATION = 4;

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
  /** It goes to an address that NAT takes in when it comes from there. */
  isLoop = false;
  #static = NO_STATIC;
  readonly #context: EngineContext;
  readonly #packet: Packet;
  readonly #nat: NatAllocator;
  readonly #bindings: Bindings;
  readonly #expectations: Expectations;
  readonly #borrowed: Borrowed;
  /** Reply tuple of a flow with a borrowed port. */
  readonly #reply = new Int32Array(2 * ADDRESS_WORDS);

  constructor(
    context: EngineContext,
    packet: Packet,
    nat: NatAllocator,
    bindings: Bindings,
    expectations: Expectations,
    borrowed: Borrowed,
  ) {
    this.#context = context;
    this.#packet = packet;
    this.#nat = nat;
    this.#bindings = bindings;
    this.#expectations = expectations;
    this.#borrowed = borrowed;
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
    this.isLoop = false;
    this.binding = NONE;
    this.#static = NO_STATIC;
    // RFC 6146 section 3.5: addresses of a prefix are nobody's; they would come back for ever.
    if (packet.isIpv6 && nat.nat64.isOf(words, P_SOURCE)) return DROP_BAD_SOURCE;
    this.expectation = this.#findExpected();
    if (this.expectation !== NONE) return this.#asExpected();
    const dnat = nat.dnatOf(packet.zone, words, P_DESTINATION, packet.protocol, packet.destinationPort);
    if (dnat !== NO_DNAT) {
      nat.targetOf(dnat, key, words, P_SOURCE, this.destination, 0);
      this.destinationPort = packet.destinationPort - nat.dnatPortFrom[dnat]! + nat.dnatToPort[dnat]!;
      return this.#translated();
    }
    const outer = nat.statics.ofOuter(words, P_DESTINATION);
    if (outer !== NO_STATIC) return this.#toStatic(outer);
    const nat64 = nat.nat64.of(packet.zone, words, P_DESTINATION);
    if (nat64 !== NO_NAT64) return this.#toNat64(nat64);
    if (packet.kind !== KIND_ECHO && nat.isTakenIn(words, P_DESTINATION)) this.#toOwn();
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

  /**
   * Inside hosts that call each other by their static addresses see each other's static addresses, in one flow; any other inside
   * host has to go out first, to have an address that the called one does not answer directly.
   */
  #toStatic(entry: number): number {
    const { nat } = this.#context.policy;
    const { zone, words } = this.#packet;
    const outerZone = nat.statics.outerZone[entry]!;
    const isInside = nat.statics.innerZone[entry] === zone && zone !== outerZone;
    if (isInside && nat.statics.ofInner(zone, outerZone, words, P_SOURCE) === NO_STATIC && this.#canLoop()) {
      this.isLoop = true;
      return PARSED;
    }
    this.#static = entry;
    const isMet = nat.statics.inward(entry, words, P_DESTINATION, this.destination, 0);
    return isMet ? this.#translated() : DROP_BAD_DESTINATION;
  }

  /** To an IPv4 address by its address of a NAT64 prefix. */
  #toNat64(entry: number): number {
    const packet = this.#packet;
    const { policy } = this.#context;
    const { nat } = policy;
    nat.nat64.extract(entry, packet.words, P_DESTINATION, this.destination, 0);
    this.flags = FLAG_DNAT;
    if (!hasPorts(packet.protocol)) return DROP_UNTRANSLATABLE;
    if (nat.nat64.isExcluded(entry, this.destination, 0)) return DROP_BAD_DESTINATION;
    if (isUnroutable(this.destination, 0) || policy.isDirectedBroadcast(this.destination, 0)) {
      return DROP_BAD_DESTINATION;
    }
    if (nat.isTakenIn(this.destination, 0) && packet.kind !== KIND_ECHO) this.isLoop = true;
    else if (policy.isOwn(this.destination, 0)) return DROP_BAD_DESTINATION;
    return PARSED;
  }

  /** To an address that NAT takes in: a reply where replies come from, from elsewhere a packet that goes out and comes back. */
  #toOwn(): void {
    const packet = this.#packet;
    const { nat } = this.#context.policy;
    const pool = nat.pools.get(packet.words, P_DESTINATION);
    if (pool >= 0 && nat.isReplyZone(pool, packet.zone)) this.#toPool();
    else if (this.#canLoop()) this.isLoop = true;
    else this.isToPool = pool >= 0;
  }

  /** A reply to a binding that no flow accounts for: an endpoint-independent one may take it from anybody. */
  #toPool(): void {
    this.isToPool = true;
    if (!this.#context.policy.nat.hasBindings) return;
    const binding = this.#bindings.findOpen(this.#packet);
    if (binding === NONE) return;
    this.binding = binding;
    this.isToPool = false;
    this.destinationPort = this.#bindings.inner(binding, this.destination);
    this.#translated();
  }

  /** Whether the packet would be translated on its way to the zone of its destination: only then does the answer come back. */
  #canLoop(): boolean {
    const { policy } = this.#context;
    const route = policy.routeTo(this.destination, 0);
    if (route === NO_ROUTE) return false;
    const home = policy.routeZone[route]!;
    const { zone, words } = this.#packet;
    if (home === zone) return false;
    return (
      policy.nat.statics.ofInner(zone, home, words, P_SOURCE) !== NO_STATIC || this.#snat(home) !== NO_SNAT
    );
  }

  /** The SNAT entry for the packet on its way to a zone, or NO_SNAT. */
  #snat(toZone: number): number {
    const { zone, words, isIpv6 } = this.#packet;
    return this.#context.policy.nat.snatOf(
      zone,
      toZone,
      words,
      P_SOURCE,
      !isIpv4(this.destination, 0),
      isIpv6,
    );
  }

  /** Finds what the packet leaves with, on its way to `toZone` in a slot that is ours: PARSED, or a verdict. */
  outbound(slot: number, toZone: number): number {
    const packet = this.#packet;
    const { words } = packet;
    const { nat } = this.#context.policy;
    copyAddress(this.source, 0, words, P_SOURCE);
    this.sourcePort = packet.sourcePort;
    if (this.expectation !== NONE) return this.#expectedSource(slot);
    const isIpv6 = !isIpv4(this.destination, 0);
    if (this.binding !== NONE) return packet.isIpv6 === isIpv6 ? PARSED : this.#embed(toZone);
    // Inside hosts that call each other by their static addresses: the caller's is of the same zone.
    const isHairpin = this.#static !== NO_STATIC && nat.statics.innerZone[this.#static] === packet.zone;
    const outerZone = isHairpin ? nat.statics.outerZone[this.#static]! : toZone;
    // A static prefix stays in its family: what leaves it through NAT64 needs an address of NAT64's pool.
    const isKept = packet.isIpv6 === isIpv6;
    const fixed = isKept ? nat.statics.ofInner(packet.zone, outerZone, words, P_SOURCE) : NO_STATIC;
    if (fixed !== NO_STATIC) {
      this.flags |= FLAG_SNAT;
      return nat.statics.outward(fixed, words, P_SOURCE, this.source, 0) ? PARSED : DROP_BAD_SOURCE;
    }
    const snat = this.#snat(toZone);
    if (snat === NO_SNAT) {
      // NAT64 without an address to leave with has nowhere to go.
      return isKept ? PARSED : DROP_NAT_PORTS;
    }
    this.flags |= FLAG_SNAT;
    const port = this.#bind(snat, slot, toZone);
    if (port === NONE) return DROP_NAT_PORTS;
    this.sourcePort = port;
    return PARSED;
  }

  /** Somebody in IPv4 found an IPv6 host by its binding: he has an address of the host's prefix (RFC 6146 section 3.5.1.2). */
  #embed(toZone: number): number {
    const { nat64 } = this.#context.policy.nat;
    const { zone, words } = this.#packet;
    const entry = nat64.between(toZone, zone);
    if (entry === NO_NAT64 || nat64.isExcluded(entry, words, P_SOURCE)) return DROP_BAD_SOURCE;
    nat64.embed(entry, words[P_SOURCE + 3]!, this.source, 0);
    this.flags |= FLAG_SNAT;
    return PARSED;
  }

  /** What tells the packet's slot on its way to `toZone`: ANCHOR_*. Both directions of a flow give the same. */
  anchor(toZone: number): number {
    const { zone, words, protocol, isIpv6 } = this.#packet;
    const { nat } = this.#context.policy;
    const isBare = !hasPorts(protocol);
    if (!isBare && !nat.hasBindings) return ANCHOR_TRUST;
    const isTo6 = !isIpv4(this.destination, 0);
    if (isTo6 !== isIpv6 || nat.statics.ofInner(zone, toZone, words, P_SOURCE) === NO_STATIC) {
      const snat = nat.snatOf(zone, toZone, words, P_SOURCE, isTo6, isIpv6);
      if (snat !== NO_SNAT && isBare) return ANCHOR_FAR_DESTINATION;
      if (snat !== NO_SNAT && nat.isMappingIndependent[snat] === 1) return ANCHOR_SOURCE;
    }
    // Seen from its other end.
    if (isTo6 === isIpv6 && nat.statics.ofInner(toZone, zone, this.destination, 0) !== NO_STATIC) {
      return ANCHOR_TRUST;
    }
    const back = nat.snatOf(toZone, zone, this.destination, 0, isIpv6, isTo6);
    if (back === NO_SNAT) return ANCHOR_TRUST;
    if (isBare) return ANCHOR_FAR_SOURCE;
    return nat.isMappingIndependent[back] === 1 ? ANCHOR_DESTINATION : ANCHOR_TRUST;
  }

  /** A pool address (in `source`) and its port for the packet, or NONE. */
  #bind(snat: number, slot: number, toZone: number): number {
    const packet = this.#packet;
    const { nat } = this.#context.policy;
    if (!hasPorts(packet.protocol)) {
      const ports = (this.destinationPort << 16) | packet.sourcePort;
      if (!this.#nat.allocateBare(snat, packet.protocol, this.destination, ports)) return NONE;
      copyAddress(this.source, 0, this.#nat.address, 0);
      return packet.sourcePort;
    }
    if (nat.isMappingIndependent[snat] === 1) {
      const { destination, destinationPort } = this;
      return this.#bindings.bind(packet, snat, slot, toZone, destination, destinationPort, this.source);
    }
    const { words, protocol, sourcePort } = packet;
    const far = this.destination;
    const farPort = this.destinationPort;
    const port = this.#nat.allocate(snat, slot, protocol, words, P_SOURCE, sourcePort, far, farPort);
    if (port === NONE) return NONE;
    copyAddress(this.source, 0, this.#nat.address, 0);
    return this.#nat.borrowedFrom === NOT_BORROWED || this.#lend(slot, toZone, port) ? port : NONE;
  }

  /** Leads replies to a borrowed port to the flow that is about to be. False: no room. */
  #lend(slot: number, toZone: number, port: number): boolean {
    const { words, protocol, ports, zone } = this.#packet;
    copyAddress(this.#reply, 0, this.destination, 0);
    copyAddress(this.#reply, ADDRESS_WORDS, this.source, 0);
    const replyPorts = (this.destinationPort << 16) | port;
    const zones = (zone << 16) | (toZone << 24);
    const from = this.#nat.borrowedFrom;
    return this.#borrowed.lend(protocol, words, ports, this.#reply, replyPorts, zones, slot, from);
  }

  /** The flow is there, or it will not be: then what it would have needed is given back. */
  settle(isThere: boolean): void {
    if (isThere) this.#borrowed.settle();
    else this.#borrowed.takeBack();
  }
}
