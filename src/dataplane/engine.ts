/**
 * Engine: the way of a packet, from top to bottom. A pure, synchronous core: frames, slot states, time and randomness come
 * in; frames and records go out. It allocates nothing per packet.
 *
 *   process -> #fromZone / #fromCluster -> #packet -> #hit  -> #owned | #shared | elsewhere -> #leave
 *                                                  -> #miss -> #turn  -> #create ----------^
 *
 * Does not own parsing (packet.ts), translation (rewrite.ts), flow state (trackers.ts), or who owns a slot (the view).
 */

import { i32, u16 } from "../packet/bytes.ts";
import * as ethernet from "../packet/ethernet.ts";
import * as geneve from "../packet/geneve.ts";
import * as icmp from "../packet/icmp.ts";
import * as ipv4 from "../packet/ipv4.ts";
import * as tcp from "../packet/tcp.ts";
import * as udp from "../packet/udp.ts";
import { Announcer } from "./announcer.ts";
import { isExclusive, serveArp } from "./arp-answer.ts";
import {
  type ClusterView,
  PEER_ALIVE,
  PEER_ON_CLUSTER_LINK,
  SLOT_HANDOVER,
  SLOT_OWNED,
  SLOT_REMOTE,
} from "./cluster-view.ts";
import { CompiledPolicy, NO_DNAT, NO_ROUTE, NO_SNAT } from "./compiled-policy.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import { Egress } from "./egress.ts";
import { DEFAULT_LIMITS, type EngineLimits, type EngineOptions } from "./engine-options.ts";
import { Exporter } from "./exporter.ts";
import { FlowBook } from "./flow-book.ts";
import {
  D_BYTES,
  D_CREATED_AT,
  D_DEADLINE,
  D_PACKETS,
  D_PUBLISHED_AT,
  F_DESTINATION,
  F_META,
  F_PLACE,
  F_PORTS,
  F_PUBLISHED_END,
  F_RULE,
  F_SOURCE,
  F_TRACKED_EPOCH,
  F_WINDOW,
  FAMILY_IPV4,
  FLAG_DNAT,
  FLAG_NAT,
  FLAG_REPLICA,
  FLAG_RESEED,
  FLAG_SNAT,
  NONE,
  REPLY_TUPLE,
  ROW_DOUBLES,
  ROW_WORDS,
  W_END,
  WINDOW_WORDS,
} from "./flow-layout.ts";
import { buildIcmpError, ErrorLimit, ICMP_ERROR_OFFSET } from "./icmp-error.ts";
import { NatAllocator } from "./nat.ts";
import {
  DIRECT,
  KIND_ECHO,
  KIND_ECHO_REPLY,
  KIND_ICMP_ERROR,
  KIND_OTHER,
  KIND_TCP,
  PARSED,
  Packet,
  REDIRECTED_CLUSTER,
  REDIRECTED_ZONE,
} from "./packet.ts";
import { ACTION_ACCEPT, COMMIT_ASYNC, COMMIT_DEFAULT, COMMIT_SYNC } from "./policy-model.ts";
import { encapsulate, isFromPeer, peerByClusterIp, REDIRECT_BYTES, readdress } from "./redirect.ts";
import { Replicas } from "./replica.ts";
import { translate, turnEchoRound } from "./rewrite.ts";
import { NO_RULE, RuleTable } from "./rules.ts";
import { isUnroutable } from "./sanity.ts";
import { slotByFlow, slotBySource, slotOfAddress, slotOfPoolPort } from "./slot.ts";
import {
  hasBadFlags,
  isOpening,
  TRACK_CHANGED,
  TRACK_IGNORED,
  TRACK_INVALID,
  TRACK_NEW,
  TRACK_OUT_OF_WINDOW,
  TRACK_RESEEDED,
} from "./tcp-tracker.ts";
import { beginTracking, lifeOf, track } from "./trackers.ts";
import {
  dropVerdict,
  VERDICT_ANSWERED,
  VERDICT_FORWARDED,
  VERDICT_FORWARDED_SHARED,
  VERDICT_LOCAL,
  VERDICT_REDIRECTED,
} from "./verdict.ts";
import { virtualSlot } from "./virtual-mac.ts";
import { LIST_HANDOVER, LIST_NEIGHBOURS, LIST_TAKEOVER, Waiting } from "./waiting.ts";

/** BFD and leases on the cluster link. */
const HEARTBEAT_UDP_PORT = 3784;
/** A refresh is published when a side's sequence numbers moved this far: what a backup's windows may lack. */
const PUBLISH_SPAN = 262_144;
/** A replica whose time seems over, or a flow that a fenced node may not end, is looked at again after this. */
const RECHECK_MS = 10_000;
const ECHO_TTL = 64;
/** #turn() when this node decides the slot now. */
const OURS = -1;
/** #route() when the packet must not go on. */
const NO_EGRESS = -1;

const DROP_TRUNCATED = dropVerdict("truncated");
const DROP_NOT_IP = dropVerdict("not_ip");
const DROP_BAD_HEADER = dropVerdict("bad_header");
const DROP_BAD_CHECKSUM = dropVerdict("bad_checksum");
const DROP_BAD_SOURCE = dropVerdict("bad_source");
const DROP_BAD_DESTINATION = dropVerdict("bad_destination");
const DROP_SPOOFED = dropVerdict("spoofed");
const DROP_TTL = dropVerdict("ttl");
const DROP_TOO_BIG = dropVerdict("too_big");
const DROP_NO_ROUTE = dropVerdict("no_route");
const DROP_DENIED = dropVerdict("denied");
const DROP_INVALID_STATE = dropVerdict("invalid_state");
const DROP_OUT_OF_WINDOW = dropVerdict("out_of_window");
const DROP_ICMP_UNRELATED = dropVerdict("icmp_unrelated");
const DROP_NAT_PORTS = dropVerdict("nat_port_exhausted");
const DROP_TABLE_FULL = dropVerdict("table_full");
const DROP_FENCED = dropVerdict("fenced");
const DROP_NO_OWNER = dropVerdict("no_owner");
const DROP_TWICE = dropVerdict("redirected_twice");
const DROP_HOLD_TIMEOUT = dropVerdict("hold_timeout");
const DROP_TX_FULL = dropVerdict("tx_full");
const DROP_UNKNOWN_PROTOCOL = dropVerdict("unknown_protocol");
const DROP_LINK_CONTROL = dropVerdict("stp_or_lldp");
const DROP_NOT_FOR_US = dropVerdict("not_for_us");

export class Engine {
  /** Published records, dirty slots: see FlowBook. */
  readonly book: FlowBook;
  readonly #context: EngineContext;
  readonly #bytes: Uint8Array;
  readonly #view: ClusterView;
  readonly #policy: CompiledPolicy;
  readonly #rules: RuleTable;
  readonly #packet = new Packet();
  readonly #waiting: Waiting;
  readonly #egress: Egress;
  readonly #nat: NatAllocator;
  readonly #replicas: Replicas;
  readonly #exporter: Exporter;
  readonly #announcer: Announcer;
  readonly #errors: ErrorLimit;
  readonly #limits: EngineLimits;
  readonly #portZone: Int16Array;
  readonly #zoneMtu = new Int32Array(256);
  readonly #clusterPort: number;
  readonly #scratch = new Float64Array(1);
  /** The frame in hand waited until its deadline: it is decided now, one way or the other. */
  #isLate = false;
  /** Set by #route(). */
  #egressZone = 0;
  #nextHop = 0;

  constructor(options: EngineOptions) {
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#policy = new CompiledPolicy(options.policy);
    this.#context = {
      policy: this.#policy,
      view: options.view,
      frames: options.frames,
      output: options.output,
      ports: options.ports,
      table: options.table,
      counters: options.counters,
      key: options.key,
      clock: new Float64Array(1),
      random: options.random,
    };
    this.#bytes = options.frames.bytes;
    this.#view = options.view;
    this.#rules = new RuleTable(options.policy, options.ruleHits);
    this.book = new FlowBook(this.#context, options.changes);
    this.#waiting = new Waiting(this.#context, this.#limits);
    this.#egress = new Egress(this.#context, this.#waiting.hold, LIST_NEIGHBOURS, this.#limits.neighboursMax);
    this.#waiting.attach(this.#egress);
    this.#nat = new NatAllocator(this.#context);
    this.#replicas = new Replicas(this.#context, this.book);
    this.#exporter = new Exporter(this.#context, this.book);
    this.#announcer = new Announcer(this.#context, this.#egress);
    this.#errors = new ErrorLimit(this.#limits.icmpErrorsPerSecond);
    this.#portZone = Int16Array.from(options.ports, (port) => port.zone);
    this.#clusterPort = options.ports.findIndex((port) => port.zone < 0);
    for (const port of options.ports) {
      if (port.zone < 0) continue;
      const before = this.#zoneMtu[port.zone]!;
      this.#zoneMtu[port.zone] = before === 0 ? port.mtuBytes : Math.min(before, port.mtuBytes);
    }
  }

  /**
   * Takes a received frame: a verdict (verdict.ts). The engine owns the frame from here on, except with VERDICT_LOCAL:
   * then the caller keeps it.
   */
  process(portIndex: number, at: number, lengthBytes: number, nowMs: number): number {
    const { counters, clock } = this.#context;
    clock[0] = nowMs;
    counters[COUNT.rxFrames] = counters[COUNT.rxFrames]! + 1;
    counters[COUNT.rxBytes] = counters[COUNT.rxBytes]! + lengthBytes;
    const zone = this.#portZone[portIndex]!;
    const verdict =
      zone < 0 ? this.#fromCluster(at, lengthBytes) : this.#fromZone(portIndex, zone, at, lengthBytes);
    counters[verdict] = counters[verdict]! + 1;
    return verdict;
  }

  /** Timers: ends flows, gives up waiting frames, asks neighbours, announces. About every millisecond; cheap when idle. */
  tick(nowMs: number): void {
    const { counters, clock, frames } = this.#context;
    clock[0] = nowMs;
    this.#expire();
    this.#waiting.release();
    this.#again(LIST_HANDOVER, true);
    this.#again(LIST_TAKEOVER, true);
    this.#egress.tick();
    this.#announcer.tick();
    this.#nat.refill();
    counters[COUNT.poolAvailableNow] = frames.available();
  }

  /** The peers' acknowledgements in the view moved: frames that waited for them leave, in order. */
  acknowledged(nowMs: number): void {
    this.#context.clock[0] = nowMs;
    this.#waiting.release();
  }

  /** Slot states in the view changed: frames that waited for that are processed again, in order. */
  slotsChanged(nowMs: number): void {
    this.#context.clock[0] = nowMs;
    this.#again(LIST_HANDOVER, false);
    this.#again(LIST_TAKEOVER, false);
  }

  /** Applies a record of another node: REPLICA_* (replica.ts). */
  applyReplica(bytes: Uint8Array, at: number, nowMs: number): number {
    this.#context.clock[0] = nowMs;
    return this.#replicas.apply(bytes, at);
  }

  /** Announces a slot's virtual MACs on all zone ports, so that the switches move them here. */
  announce(slot: number): void {
    this.#announcer.add(slot);
    this.#announcer.step();
  }

  /** announce() for many; what exceeds one step's bound leaves with the next ticks. */
  announceSlots(slots: readonly number[]): void {
    for (const slot of slots) this.#announcer.add(slot);
    this.#announcer.step();
  }

  /** Queues a slot to be sent whole; exportStep() does the work. */
  exportSlot(slot: number): void {
    this.#exporter.add(slot);
  }

  /** Writes at most `maxRecords` records of queued slots. True while something is left. */
  exportStep(maxRecords: number, nowMs: number): boolean {
    this.#context.clock[0] = nowMs;
    return this.#exporter.step(maxRecords);
  }

  /** Publishes the slot's digest at this point of the stream. False: no room, try again. */
  publishDigest(slot: number): boolean {
    return this.book.digest(slot);
  }

  /** Publishes that nothing of a slot follows in `epoch`. False: no room, try again. */
  publishBarrier(slot: number, epoch: number): boolean {
    return this.book.barrier(slot, epoch);
  }

  #fromZone(port: number, zone: number, at: number, lengthBytes: number): number {
    const bytes = this.#bytes;
    if (lengthBytes < ethernet.ETHERNET_BYTES) return this.#drop(at, DROP_TRUNCATED);
    const type = ethernet.etherType(bytes, at);
    if (type === ethernet.ETHER_HEARTBEAT) return VERDICT_LOCAL;
    let way = DIRECT;
    if (ethernet.isGroup(bytes, at)) {
      if (i32(bytes, at) === 0x0180c200) return this.#drop(at, DROP_LINK_CONTROL);
      if (!ethernet.isBroadcast(bytes, at)) return this.#drop(at, DROP_NOT_FOR_US);
      // RFC 1812 section 5.3.4: what was broadcast on the link is never forwarded.
      if (type === ethernet.ETHER_IPV4) return this.#drop(at, DROP_BAD_DESTINATION);
      if (type !== ethernet.ETHER_ARP) return this.#drop(at, DROP_NOT_FOR_US);
    } else if (ethernet.isMac(bytes, at, this.#context.ports[port]!.mac, 0)) {
      if (isFromPeer(this.#context, port, at)) {
        way = REDIRECTED_ZONE;
        count(this.#context.counters, COUNT.redirectsZoneIn);
      }
    } else if (virtualSlot(zone, bytes, at) < 0) {
      return this.#drop(at, DROP_NOT_FOR_US);
    }
    if (type === ethernet.ETHER_IPV4) return this.#take(port, zone, at, lengthBytes, way, 0);
    if (type === ethernet.ETHER_ARP) {
      return serveArp(this.#context, this.#egress, zone, port, at, lengthBytes);
    }
    return this.#drop(at, DROP_NOT_IP);
  }

  /** The cluster link carries heartbeats for the shell and redirected frames for us. */
  #fromCluster(at: number, lengthBytes: number): number {
    const bytes = this.#bytes;
    const ip = at + ethernet.ETHERNET_BYTES;
    if (lengthBytes < ethernet.ETHERNET_BYTES + ipv4.IPV4_BYTES + udp.UDP_BYTES) {
      return this.#drop(at, DROP_TRUNCATED);
    }
    if (ethernet.etherType(bytes, at) !== ethernet.ETHER_IPV4) return this.#drop(at, DROP_NOT_IP);
    if (bytes[ip] !== 0x45 || ipv4.protocol(bytes, ip) !== ipv4.PROTOCOL_UDP) {
      return this.#drop(at, DROP_UNKNOWN_PROTOCOL);
    }
    const datagram = ip + ipv4.IPV4_BYTES;
    const port = u16(bytes, datagram + 2);
    if (port === HEARTBEAT_UDP_PORT) return VERDICT_LOCAL;
    if (port !== geneve.GENEVE_PORT) return this.#drop(at, DROP_UNKNOWN_PROTOCOL);
    return this.#fromRedirect(at, lengthBytes, ip, datagram + udp.UDP_BYTES);
  }

  /** A frame that another node redirected: goes on as if it had arrived at the port where it entered the cluster. */
  #fromRedirect(at: number, lengthBytes: number, ip: number, header: number): number {
    const bytes = this.#bytes;
    const inner = header + geneve.GENEVE_HEADER_BYTES;
    const end = ip + ipv4.totalBytes(bytes, ip);
    if (end > at + lengthBytes || inner + ethernet.ETHERNET_BYTES > end)
      return this.#drop(at, DROP_TRUNCATED);
    if (ipv4.destination(bytes, ip) !== (this.#view.clusterIp | 0)) return this.#drop(at, DROP_NOT_FOR_US);
    if (peerByClusterIp(this.#context, ipv4.source(bytes, ip)) === 0) return this.#drop(at, DROP_BAD_SOURCE);
    if (!geneve.isRedirect(bytes, header)) return this.#drop(at, DROP_BAD_HEADER);
    const zone = geneve.zone(bytes, header);
    let port = geneve.port(bytes, header);
    // Members may number their ports differently; the zone is what they agree on.
    if (port >= this.#portZone.length || this.#portZone[port] !== zone) port = this.#egress.portOf(zone);
    if (port < 0) return this.#drop(at, DROP_BAD_HEADER);
    if (ethernet.etherType(bytes, inner) !== ethernet.ETHER_IPV4) return this.#drop(at, DROP_NOT_IP);
    count(this.#context.counters, COUNT.redirectsIn);
    return this.#take(port, zone, inner, end - inner, REDIRECTED_CLUSTER, geneve.epoch(bytes, header));
  }

  /** An IPv4 frame with its origin, whether it came by itself or was redirected. */
  #take(port: number, zone: number, at: number, lengthBytes: number, way: number, wayEpoch: number): number {
    const packet = this.#packet;
    packet.port = port;
    packet.zone = zone;
    packet.way = way;
    packet.wayEpoch = wayEpoch;
    const wrong = packet.parse(this.#bytes, at, lengthBytes);
    if (wrong !== PARSED) return this.#drop(at, wrong);
    const entry = this.#context.table.find(packet.protocol, packet.source, packet.destination, packet.ports);
    return entry === NONE ? this.#miss() : this.#hit(entry);
  }

  /** A packet of a known flow: the row's slot decides whose turn it is. */
  #hit(entry: number): number {
    const { table, clock } = this.#context;
    const packet = this.#packet;
    const row = entry >> 1;
    const direction = entry & 1;
    const place = table.words[row * ROW_WORDS + F_PLACE]!;
    if (((place >> (16 + direction * 8)) & 0xff) !== packet.zone) return this.#drop(packet.at, DROP_SPOOFED);
    const slot = place & 0xffff;
    const state = this.#view.state[slot]!;
    if (state === SLOT_OWNED) {
      if (clock[0]! >= this.#view.leaseUntilMs[0]!) return this.#shared(row, direction);
      if (table.doubles[row * ROW_DOUBLES + D_DEADLINE]! <= clock[0]!) {
        this.#expireRow(row);
        return this.#miss();
      }
      return this.#owned(row, direction, slot);
    }
    if (state === SLOT_HANDOVER && !this.#isLate) return this.#waiting.forSlot(packet, LIST_HANDOVER);
    if (state === SLOT_REMOTE && packet.way === DIRECT) {
      const verdict = this.#redirect(slot);
      if (verdict !== OURS) return verdict;
    }
    return this.#shared(row, direction);
  }

  /** The shared action: forwards a packet of a replicated flow and decides nothing, so two nodes doing it do no harm. */
  #shared(row: number, direction: number): number {
    const verdict = this.#routeFlow(row, direction);
    if (verdict !== NO_EGRESS) return verdict;
    const left = this.#leave(row, direction);
    return left === VERDICT_FORWARDED ? VERDICT_FORWARDED_SHARED : left;
  }

  /** A packet of a flow that this node decides. */
  #owned(row: number, direction: number, slot: number): number {
    const { table, clock, counters } = this.#context;
    const { words, doubles } = table;
    const packet = this.#packet;
    const base = row * ROW_WORDS;
    const wide = row * ROW_DOUBLES;
    const verdict = this.#routeFlow(row, direction);
    if (verdict !== NO_EGRESS) return verdict;
    if (packet.kind === KIND_ICMP_ERROR) return this.#leave(row, direction);
    if (packet.kind === (direction === 0 ? KIND_ECHO_REPLY : KIND_ECHO)) {
      return this.#drop(packet.at, DROP_INVALID_STATE);
    }
    if (
      (words[base + F_META]! & FLAG_REPLICA) !== 0 ||
      words[base + F_TRACKED_EPOCH]! < this.#view.gainedEpoch[slot]!
    ) {
      // Another node tracked it until now: windows are as old as its last record.
      words[base + F_META] = (words[base + F_META]! & ~FLAG_REPLICA) | FLAG_RESEED;
    }
    words[base + F_TRACKED_EPOCH] = this.#view.epoch;
    const result = track(table, row, direction, packet, this.#bytes);
    if (result === TRACK_NEW) {
      this.book.end(row);
      return this.#miss();
    }
    if (result === TRACK_INVALID) return this.#drop(packet.at, DROP_INVALID_STATE);
    if (result === TRACK_OUT_OF_WINDOW) return this.#drop(packet.at, DROP_OUT_OF_WINDOW);
    doubles[wide + D_PACKETS + direction] = doubles[wide + D_PACKETS + direction]! + 1;
    doubles[wide + D_BYTES + direction] = doubles[wide + D_BYTES + direction]! + packet.totalBytes;
    if (result !== TRACK_IGNORED) {
      const life = this.book.lifeMs[lifeOf(words, row)]!;
      doubles[wide + D_DEADLINE] = clock[0]! + life;
      if (result === TRACK_CHANGED) {
        table.rearm(row);
        this.book.change(row);
      } else if (result === TRACK_RESEEDED) {
        count(counters, COUNT.windowReseeded);
        this.book.change(row);
      } else if (clock[0]! - doubles[wide + D_PUBLISHED_AT]! > life / 4 || this.#movedFar(base, direction)) {
        this.book.change(row);
      }
    }
    return this.#leave(row, direction);
  }

  #movedFar(base: number, direction: number): boolean {
    const words = this.#context.table.words;
    const end = words[base + F_WINDOW + direction * WINDOW_WORDS + W_END]!;
    return ((end - words[base + F_PUBLISHED_END + direction]!) | 0) > PUBLISH_SPAN;
  }

  /** Rewrites a packet of a flow and lets it go; #routeFlow() has set where to. */
  #leave(row: number, direction: number): number {
    const packet = this.#packet;
    const words = this.#context.table.words;
    if ((words[row * ROW_WORDS + F_META]! & FLAG_NAT) !== 0) {
      if (!translate(packet, this.#bytes, words, row, direction)) {
        return this.#drop(packet.at, DROP_BAD_CHECKSUM);
      }
    }
    ipv4.decrementTtl(this.#bytes, packet.ipAt);
    const lengthBytes = ethernet.ETHERNET_BYTES + packet.totalBytes;
    const backup = this.#waiting.committingFor(row);
    if (backup === 0) return this.#egress.transmit(packet.at, lengthBytes, this.#egressZone, this.#nextHop);
    return this.#waiting.forCommit(
      backup,
      row,
      this.book.sequence,
      packet.at,
      lengthBytes,
      this.#egressZone,
      this.#nextHop,
    );
  }

  /** Where a packet of a flow goes, before anything of it is changed. NO_EGRESS: all is well, else a final verdict. */
  #routeFlow(row: number, direction: number): number {
    const words = this.#context.table.words;
    const base = row * ROW_WORDS;
    const destination = words[base + (1 - direction) * REPLY_TUPLE + F_SOURCE]!;
    const verdict = this.#route(destination);
    if (verdict !== NO_EGRESS) return verdict;
    // A route that moved to another zone: the rules never let this flow go there.
    const zone = (words[base + F_PLACE]! >> (24 - direction * 8)) & 0xff;
    return zone === this.#egressZone ? NO_EGRESS : this.#drop(this.#packet.at, DROP_NO_ROUTE);
  }

  /** Route, TTL and size: sets the egress and answers NO_EGRESS, or drops, with an ICMP error where one is due. */
  #route(destination: number): number {
    const packet = this.#packet;
    const policy = this.#policy;
    const route = policy.routeTo(destination);
    if (route === NO_ROUTE) return this.#drop(packet.at, DROP_NO_ROUTE);
    const zone = policy.routeZone[route]!;
    const via = policy.routeVia[route]!;
    if (ipv4.ttl(this.#bytes, packet.ipAt) < 2) {
      return this.#answerError(DROP_TTL, icmp.ICMP_TIME_EXCEEDED, 0, 0);
    }
    const mtu = this.#zoneMtu[zone]!;
    if (packet.totalBytes > mtu) {
      // RFC 1191 section 4. Without DF the packet would have to be fragmented, which is not carried yet.
      if (!ipv4.isDontFragment(this.#bytes, packet.ipAt)) return this.#drop(packet.at, DROP_TOO_BIG);
      return this.#answerError(DROP_TOO_BIG, icmp.ICMP_UNREACHABLE, icmp.CODE_FRAGMENTATION_NEEDED, mtu);
    }
    this.#egressZone = zone;
    this.#nextHop = via === 0 ? destination : via;
    return NO_EGRESS;
  }

  /** Turns the packet into an ICMP error to its sender, from the gateway of its zone; limited. The verdict is a drop. */
  #answerError(verdict: number, type: number, code: number, word: number): number {
    const { counters, clock } = this.#context;
    const packet = this.#packet;
    // Never about an ICMP error (RFC 1122 section 3.2.2).
    if (packet.kind === KIND_ICMP_ERROR) return this.#drop(packet.at, verdict);
    if (!this.#errors.take(clock)) {
      count(counters, COUNT.icmpErrorsLimited);
      return this.#drop(packet.at, verdict);
    }
    const route = this.#policy.routeTo(packet.outerSource);
    if (route === NO_ROUTE || this.#policy.routeZone[route] !== packet.zone) {
      return this.#drop(packet.at, verdict);
    }
    const via = this.#policy.routeVia[route]!;
    const gateway = this.#policy.gateway[packet.zone]!;
    const lengthBytes = buildIcmpError(packet, this.#bytes, gateway, type, code, word);
    const at = packet.ipAt + ICMP_ERROR_OFFSET;
    ethernet.setEtherType(this.#bytes, at, ethernet.ETHER_IPV4);
    count(counters, COUNT.icmpErrorsSent);
    this.#egress.transmit(at, lengthBytes, packet.zone, via === 0 ? packet.outerSource : via);
    return verdict;
  }

  /** A packet of no known flow: finds its slot from packet and policy, and decides it if that is ours. */
  #miss(): number {
    const packet = this.#packet;
    const policy = this.#policy;
    const { key } = this.#context;
    const slots = this.#view.slots;
    const wrong = this.#judgeAddresses();
    if (wrong !== PARSED) return this.#drop(packet.at, wrong);
    const dnat = policy.dnatOf(packet.zone, packet.destination, packet.protocol, packet.destinationPort);
    if (dnat === NO_DNAT) {
      const isEcho = packet.kind === KIND_ECHO;
      if (!isEcho && policy.pools.get(packet.destination) >= 0) {
        // A reply to a binding: its port tells the slot. Here nobody knows the binding any more.
        const turn = this.#turn(slotOfPoolPort(key, slots, packet.destinationPort));
        return turn === OURS ? this.#drop(packet.at, this.#unexpected(DROP_BAD_DESTINATION)) : turn;
      }
      if (policy.isOwn(packet.destination)) return this.#own();
    }
    const destination = dnat === NO_DNAT ? packet.destination : policy.dnatTo[dnat]!;
    const destinationPort =
      dnat === NO_DNAT
        ? packet.destinationPort
        : packet.destinationPort - policy.dnatPortFrom[dnat]! + policy.dnatToPort[dnat]!;
    const route = policy.routeTo(destination);
    if (route === NO_ROUTE) return this.#drop(packet.at, DROP_NO_ROUTE);
    const zone = policy.routeZone[route]!;
    const slot = policy.isBySource
      ? slotBySource(key, slots, packet.source, destination, policy.trust[packet.zone]!, policy.trust[zone]!)
      : slotByFlow(key, slots, packet.source, destination, packet.sourcePort, destinationPort);
    const turn = this.#turn(slot);
    if (turn !== OURS) return turn;
    return this.#create(slot, dnat !== NO_DNAT, destination, destinationPort);
  }

  /** Addresses that a forwarded packet may have: PARSED, or the verdict. */
  #judgeAddresses(): number {
    const packet = this.#packet;
    const policy = this.#policy;
    const { outerSource, outerDestination } = packet;
    if (isUnroutable(outerSource) || policy.isOwn(outerSource) || policy.isDirectedBroadcast(outerSource)) {
      return DROP_BAD_SOURCE;
    }
    if (isUnroutable(outerDestination) || policy.isDirectedBroadcast(outerDestination)) {
      return DROP_BAD_DESTINATION;
    }
    // Strict reverse path by zone (RFC 3704): an answer would have to leave by the zone that the packet came from.
    const back = policy.routeTo(outerSource);
    return back === NO_ROUTE || policy.routeZone[back] !== packet.zone ? DROP_SPOOFED : PARSED;
  }

  /** The drop reason of a packet that only a known flow could explain; else `otherwise`. */
  #unexpected(otherwise: number): number {
    const kind = this.#packet.kind;
    if (kind === KIND_ICMP_ERROR) return DROP_ICMP_UNRELATED;
    if (kind === KIND_ECHO_REPLY) return DROP_INVALID_STATE;
    return kind === KIND_TCP && !isOpening(tcp.flags(this.#bytes, this.#packet.l4At))
      ? DROP_INVALID_STATE
      : otherwise;
  }

  /** Whether this node decides a packet without a flow in `slot` now: OURS, or what became of the packet. */
  #turn(slot: number): number {
    const packet = this.#packet;
    const state = this.#view.state[slot]!;
    if (state === SLOT_OWNED) {
      return isExclusive(this.#context, slot) ? OURS : this.#drop(packet.at, DROP_FENCED);
    }
    if (state === SLOT_HANDOVER) {
      if (this.#isLate) return this.#drop(packet.at, DROP_HOLD_TIMEOUT);
      return this.#waiting.forSlot(packet, LIST_HANDOVER);
    }
    if (state === SLOT_REMOTE) {
      if (packet.way !== DIRECT) {
        // The other node may know a table that has not reached this one yet.
        const isAhead = packet.wayEpoch > this.#view.epoch;
        if (!isAhead || this.#isLate) return this.#drop(packet.at, DROP_TWICE);
        return this.#waiting.forSlot(packet, LIST_HANDOVER);
      }
      const verdict = this.#redirect(slot);
      if (verdict !== OURS) return verdict;
    }
    // The owner is dead or being replaced: the decision is a matter of milliseconds.
    if (this.#isLate) return this.#drop(packet.at, DROP_NO_OWNER);
    return this.#waiting.forSlot(packet, LIST_TAKEOVER);
  }

  /** Sends the packet in hand to its slot's owner: a verdict, or OURS when no link leads there. */
  #redirect(slot: number): number {
    const { counters, ports } = this.#context;
    const view = this.#view;
    const packet = this.#packet;
    const owner = view.owner[slot]!;
    const peer = view.peers[owner];
    if (peer === undefined || owner === view.selfId) return OURS;
    const flags = view.peerFlags[owner]!;
    if ((flags & PEER_ON_CLUSTER_LINK) !== 0 && this.#clusterPort >= 0) {
      // Trailing padding stays behind; the inner packet is what counts.
      packet.lengthBytes = ethernet.ETHERNET_BYTES + packet.totalBytes;
      const mtu = ports[this.#clusterPort]!.mtuBytes;
      if (packet.lengthBytes + REDIRECT_BYTES - ethernet.ETHERNET_BYTES > mtu) {
        return this.#drop(packet.at, DROP_TOO_BIG);
      }
      const lengthBytes = encapsulate(this.#context, packet, peer, this.#clusterPort, slot);
      if (!this.#egress.emit(this.#clusterPort, packet.at - REDIRECT_BYTES, lengthBytes)) return DROP_TX_FULL;
      count(counters, COUNT.redirectsOut);
      return VERDICT_REDIRECTED;
    }
    if ((flags & PEER_ALIVE) !== 0 && readdress(this.#context, packet, peer)) {
      if (!this.#egress.emit(packet.port, packet.at, packet.lengthBytes)) return DROP_TX_FULL;
      count(counters, COUNT.redirectsZoneOut);
      return VERDICT_REDIRECTED;
    }
    return OURS;
  }

  /** A packet to an address of the cluster itself: echo requests are answered, nothing else is spoken here. */
  #own(): number {
    const { key } = this.#context;
    const packet = this.#packet;
    const policy = this.#policy;
    if (packet.kind !== KIND_ECHO) return this.#drop(packet.at, this.#unexpected(DROP_BAD_DESTINATION));
    const slots = this.#view.slots;
    const gateway = policy.gateways.get(packet.destination);
    const answered = policy.answered.get(packet.destination);
    const home = gateway >= 0 ? gateway : policy.answeredZone[answered]!;
    // The far side of the firewall is nobody's business from a less trusted zone.
    if (policy.trust[packet.zone]! < policy.trust[home]!) return this.#drop(packet.at, DROP_DENIED);
    const slot = gateway >= 0 ? slotOfAddress(key, slots, packet.source) : answered & (slots - 1);
    const turn = this.#turn(slot);
    if (turn !== OURS) return turn;
    const route = policy.routeTo(packet.source);
    const via = policy.routeVia[route]!;
    turnEchoRound(packet, this.#bytes, ECHO_TTL);
    const lengthBytes = ethernet.ETHERNET_BYTES + packet.totalBytes;
    const sent = this.#egress.transmit(packet.at, lengthBytes, packet.zone, via === 0 ? packet.source : via);
    return sent === VERDICT_FORWARDED ? VERDICT_ANSWERED : sent;
  }

  /** A new flow in a slot that is ours: rules, NAT, row, record, and then the packet itself. */
  #create(slot: number, isDnat: boolean, destination: number, destinationPort: number): number {
    const packet = this.#packet;
    const policy = this.#policy;
    const unexpected = this.#unexpected(PARSED);
    if (unexpected !== PARSED) return this.#drop(packet.at, unexpected);
    if (packet.kind === KIND_TCP && hasBadFlags(tcp.flags(this.#bytes, packet.l4At))) {
      return this.#drop(packet.at, DROP_INVALID_STATE);
    }
    const verdict = this.#route(destination);
    if (verdict !== NO_EGRESS) return verdict;
    const rule = this.#rules.match(
      packet.zone,
      this.#egressZone,
      packet.protocol,
      packet.source,
      destination,
      packet.sourcePort,
      destinationPort,
      packet.icmpType,
      packet.icmpCode,
      isDnat,
    );
    if (rule === NO_RULE || this.#rules.action[rule] !== ACTION_ACCEPT) {
      return this.#drop(packet.at, DROP_DENIED);
    }
    const snat = policy.snatOf(packet.zone, this.#egressZone, packet.source);
    let source = packet.source;
    let sourcePort = packet.sourcePort;
    if (snat !== NO_SNAT) {
      // Without a port there is nothing by which a reply could be told apart.
      if (packet.kind === KIND_OTHER) return this.#drop(packet.at, DROP_UNKNOWN_PROTOCOL);
      sourcePort = this.#nat.allocate(
        snat,
        slot,
        packet.protocol,
        packet.source,
        destination,
        destinationPort,
      );
      if (sourcePort === NONE) return this.#drop(packet.at, DROP_NAT_PORTS);
      source = this.#nat.address;
    }
    const flags = (snat === NO_SNAT ? 0 : FLAG_SNAT) | (isDnat ? FLAG_DNAT : 0);
    const replyPorts = (destinationPort << 16) | sourcePort;
    if (this.#context.table.find(packet.protocol, destination, source, replyPorts) !== NONE) {
      // Another flow's replies look like this one's: there is no way to tell them apart.
      return this.#drop(packet.at, DROP_INVALID_STATE);
    }
    const row = this.#fill(slot, flags, destination, source, replyPorts, rule);
    if (row === NONE) return this.#drop(packet.at, DROP_TABLE_FULL);
    const isHeard = this.book.change(row);
    this.#commit(row, slot, this.#rules.commit[rule]!, flags, isHeard);
    return this.#leave(row, 0);
  }

  /** Makes the row of a new flow and enters it; NONE when the table is full. */
  #fill(
    slot: number,
    flags: number,
    destination: number,
    source: number,
    replyPorts: number,
    rule: number,
  ): number {
    const { table, clock, counters } = this.#context;
    const packet = this.#packet;
    const row = table.alloc();
    if (row === NONE) return NONE;
    const { words, doubles } = table;
    const base = row * ROW_WORDS;
    const wide = row * ROW_DOUBLES;
    words[base + F_SOURCE] = packet.source;
    words[base + F_DESTINATION] = packet.destination;
    words[base + F_PORTS] = packet.ports;
    words[base + REPLY_TUPLE + F_SOURCE] = destination;
    words[base + REPLY_TUPLE + F_DESTINATION] = source;
    words[base + REPLY_TUPLE + F_PORTS] = replyPorts;
    words[base + F_META] = packet.protocol | (FAMILY_IPV4 << 8) | flags;
    words[base + F_PLACE] = slot | (packet.zone << 16) | (this.#egressZone << 24);
    words[base + F_RULE] = rule;
    words[base + F_TRACKED_EPOCH] = this.#view.epoch;
    beginTracking(table, row, packet, this.#bytes);
    doubles[wide + D_CREATED_AT] = clock[0]!;
    doubles[wide + D_PACKETS] = 1;
    doubles[wide + D_BYTES] = packet.totalBytes;
    doubles[wide + D_DEADLINE] = clock[0]! + this.book.lifeMs[lifeOf(words, row)]!;
    this.book.enter(row);
    count(counters, COUNT.flowsCreated);
    return row;
  }

  /** Decides whether the first packet waits for the backup, and marks the row if so: #leave() then holds it. */
  #commit(row: number, slot: number, commit: number, flags: number, isHeard: boolean): void {
    const { counters } = this.#context;
    if (commit === COMMIT_ASYNC) return;
    const isByDefault = commit === COMMIT_DEFAULT;
    const isSync =
      commit === COMMIT_SYNC || (isByDefault && ((flags & FLAG_NAT) !== 0 || this.#packet.kind === KIND_TCP));
    if (!isSync) return;
    const backup = this.#view.backup[slot]!;
    if (!isHeard || (this.#view.peerFlags[backup]! & PEER_ALIVE) === 0) {
      count(counters, COUNT.unprotectedNoPeer);
      return;
    }
    this.#waiting.expect(row, backup);
  }

  /** Ends flows whose time is over, a bounded number at a time. */
  #expire(): void {
    const { table, clock } = this.#context;
    table.wheel.advance(clock);
    for (let i = 0; i < this.#limits.expiriesPerTick; i++) {
      const row = table.wheel.takeDue();
      if (row === NONE) return;
      const deadline = row * ROW_DOUBLES + D_DEADLINE;
      if (table.doubles[deadline]! > clock[0]!) {
        table.wheel.add(row, table.doubles, deadline);
        continue;
      }
      // Filed again first, because ending a flow takes it out of the wheel.
      this.#scratch[0] = clock[0]! + RECHECK_MS;
      table.wheel.add(row, this.#scratch, 0);
      if (isExclusive(this.#context, table.slotOf(row))) this.#expireRow(row);
    }
  }

  #expireRow(row: number): void {
    count(this.#context.counters, COUNT.flowsExpired);
    this.book.end(row);
  }

  /** Processes waiting frames of a slot list again, from the top and in order: all, or those past their deadline. */
  #again(list: number, isLate: boolean): void {
    const { counters } = this.#context;
    const { hold } = this.#waiting;
    const before = hold.count(list);
    if (before === 0) return;
    this.#isLate = isLate;
    for (let i = 0; i < before; i++) {
      const entry = this.#waiting.take(list, isLate);
      if (entry === NONE) break;
      const verdict = this.#take(
        hold.port[entry]!,
        hold.zone[entry]!,
        hold.at[entry]!,
        hold.lengthBytes[entry]!,
        hold.way[entry]!,
        hold.wayEpoch[entry]!,
      );
      counters[verdict] = counters[verdict]! + 1;
    }
    this.#isLate = false;
    this.#waiting.done();
  }

  #drop(at: number, verdict: number): number {
    this.#context.frames.free(at);
    return verdict;
  }
}
