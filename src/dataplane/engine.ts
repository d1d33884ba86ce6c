/**
 * Engine: the way of a packet, from top to bottom. A pure, synchronous core: frames, slot states, time and randomness come
 * in; frames and records go out. It allocates nothing per packet.
 *
 *   process -> #fromZone    -> #take: parse, look up -> Decider.hit | miss -> Forwarder -> Egress
 *           -> #fromCluster -> #fromRedirect -^
 *
 * Owns ingress, timers and the doors to the shell. What becomes of a packet is decider.ts, how it leaves forwarder.ts.
 */
import { i32, u16 } from "../packet/bytes.ts";
import * as ethernet from "../packet/ethernet.ts";
import * as geneve from "../packet/geneve.ts";
import * as ipv4 from "../packet/ipv4.ts";
import * as udp from "../packet/udp.ts";
import { Adjuncts } from "./adjuncts.ts";
import { Announcer } from "./announcer.ts";
import { isExclusive, serveArp } from "./arp-answer.ts";
import { Bindings } from "./bindings.ts";
import { Borrowed } from "./borrowed.ts";
import { CompiledPolicy } from "./compiled-policy.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import { Decider } from "./decider.ts";
import type { Defence } from "./defence/defence.ts";
import { defenceOf } from "./defence/defence-of.ts";
import { SynCookies } from "./defence/syn-cookie.ts";
import { CAUTIOUS_PROMISE, SynProxy } from "./defence/syn-proxy.ts";
import { Egress } from "./egress.ts";
import { DEFAULT_LIMITS, type EngineLimits, type EngineOptions } from "./engine-options.ts";
import { Exporter } from "./exporter.ts";
import { FlowBook } from "./flow-book.ts";
import { D_DEADLINE, NONE, ROW_DOUBLES } from "./flow-layout.ts";
import { FlowMaker } from "./flow-maker.ts";
import { Forwarder, LOOP } from "./forwarder.ts";
import { fragmentLimits } from "./fragment-limits.ts";
import { FragmentWay } from "./fragment-way.ts";
import { HoldPool } from "./hold.ts";
import { NatAllocator } from "./nat.ts";
import { NatUsage } from "./nat-usage.ts";
import { serveNdp } from "./ndp-answer.ts";
import {
  DIRECT,
  KIND_NEIGHBOUR,
  LOOPED,
  PARSED,
  Packet,
  REDIRECTED_CLUSTER,
  REDIRECTED_TO_MEET,
  REDIRECTED_ZONE,
} from "./packet.ts";
import type { PolicyModel } from "./policy-model.ts";
import { isFromPeer, NOT_OPENED, REDIRECT_COUNT_CELLS, Redirect } from "./redirect.ts";
import { Replaced } from "./replaced.ts";
import { Replicas } from "./replica.ts";
import { RouterAdvertiser } from "./router-advertiser.ts";
import { RuleLog } from "./rule-log.ts";
import { compileRules } from "./rules/compile.ts";
import { RuleTable } from "./rules.ts";
import { Tenures } from "./tenures.ts";
import { Translation } from "./translation.ts";
import { Undelivered } from "./undelivered.ts";
import { dropVerdict, VERDICT_LOCAL } from "./verdict.ts";
import { virtualSlot } from "./virtual-mac.ts";
import { LIST_HANDOVER, LIST_NEIGHBOURS, LIST_TAKEOVER, LIST_UNDELIVERED, Waiting } from "./waiting.ts";

/** Records of snapshots between two ticks, when nobody calls exportStep(). */
const EXPORTS_PER_TICK = 64;
/** A replica whose time seems over, or a flow that a fenced node may not end, is looked at again after this. */
const RECHECK_MS = 10_000;
const DROP_TRUNCATED = dropVerdict("truncated");
const DROP_NOT_IP = dropVerdict("not_ip");
const DROP_BAD_HEADER = dropVerdict("bad_header");
const DROP_BAD_DESTINATION = dropVerdict("bad_destination");
const DROP_FRAGMENT = dropVerdict("fragment");
const DROP_UNKNOWN_PROTOCOL = dropVerdict("unknown_protocol");
const DROP_LINK_CONTROL = dropVerdict("stp_or_lldp");
const DROP_NOT_FOR_US = dropVerdict("not_for_us");
const DROP_ND = dropVerdict("neighbour_discovery");

export class Engine {
  /** Published records, dirty slots: see FlowBook. */
  readonly book: FlowBook;
  readonly #context: EngineContext;
  readonly #bytes: Uint8Array;
  readonly #packet = new Packet();
  readonly #tenures: Tenures;
  readonly #waiting: Waiting;
  readonly egress: Egress;
  readonly #nat: NatAllocator;
  readonly #redirect: Redirect;
  readonly #forwarder: Forwarder;
  readonly #decider: Decider;
  readonly #replicas: Replicas;
  readonly #exporter: Exporter;
  readonly #announcer: Announcer;
  readonly #advertiser: RouterAdvertiser;
  readonly #maker: FlowMaker;
  readonly #adjuncts: Adjuncts;
  readonly #fragmentWay: FragmentWay;
  readonly #undelivered: Undelivered;
  readonly #cookies: SynCookies;
  #defence: Defence;
  #rules: RuleTable;
  /** Minutes since 1970; negative before the time of day was told. */
  #minutes = -1;
  readonly #limits: EngineLimits;
  readonly #portZone: Int16Array;
  readonly #scratch = new Float64Array(1);

  constructor(options: EngineOptions) {
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    const clock = new Float64Array(1);
    const context: EngineContext = {
      policy: new CompiledPolicy(options.policy),
      view: options.view,
      frames: options.frames,
      output: options.output,
      ports: options.ports,
      table: options.table,
      counters: options.counters,
      natUsage: new NatUsage(options.natUsage),
      key: options.key,
      clock,
      nowMs: options.nowMs ?? (() => clock[0]!),
      random: options.random,
    };
    context.natUsage.usePolicy(context.policy.nat);
    const hold = new HoldPool(limits.heldFramesMax, LIST_NEIGHBOURS + limits.neighboursMax);
    this.#limits = limits;
    this.#context = context;
    this.#bytes = options.frames.bytes;
    this.#portZone = Int16Array.from(options.ports, (port) => port.zone);
    this.book = new FlowBook(context, options.changes);
    this.egress = new Egress(context, hold, LIST_NEIGHBOURS, LIST_UNDELIVERED, limits);
    this.#tenures = new Tenures(options.view);
    this.#waiting = new Waiting(context, limits, hold, this.egress);
    this.#nat = new NatAllocator(context);
    const redirectCounts = options.redirectCounts ?? new Float64Array(REDIRECT_COUNT_CELLS);
    this.#redirect = new Redirect(context, options.seal ?? null, redirectCounts);
    this.#forwarder = new Forwarder(
      context,
      this.#packet,
      this.#waiting,
      this.egress,
      this.#redirect,
      this.book.sequence,
      limits,
    );
    this.#rules = new RuleTable(options.compiled ?? compileRules(options.policy.rules), options.ruleHits);
    this.#cookies = new SynCookies(options.cookieKey ?? options.key);
    const shared = {
      context,
      packet: this.#packet,
      book: this.book,
      waiting: this.#waiting,
      forwarder: this.#forwarder,
      proxy: new SynProxy(this.#cookies, CAUTIOUS_PROMISE, options.counters),
    };
    const borrowed = new Borrowed(context, this.book);
    const bindings = new Bindings(context, this.book, this.#nat, borrowed);
    this.#adjuncts = new Adjuncts({
      ...shared,
      allocatePort: (master, _protocol, words, at, wanted) =>
        this.#nat.announce(words, at, options.table.slotOf(master), wanted),
    });
    const { expectations } = this.#adjuncts.helpers;
    const translation = new Translation(context, this.#packet, this.#nat, bindings, expectations, borrowed);
    const parts = {
      ...shared,
      tenures: this.#tenures,
      translation,
      bindings,
      borrowed,
      adjuncts: this.#adjuncts,
      replaced: new Replaced(context, this.book),
    };
    this.#defence = defenceOf(context, options.policy);
    this.book.defence = this.#defence;
    this.#maker = new FlowMaker({
      ...parts,
      defence: this.#defence,
      rules: this.#rules,
      ruleLog: new RuleLog(context, options.ruleLog, limits.ruleLogsPerSecond),
    });
    this.#decider = new Decider({ ...parts, maker: this.#maker });
    this.#fragmentWay = new FragmentWay(
      context,
      this.#packet,
      this.#decider,
      this.#forwarder,
      this.#waiting,
      fragmentLimits(options.frames.available(), options.policy.fragments),
    );
    this.#undelivered = new Undelivered(shared, hold, this.egress);
    this.#replicas = new Replicas(context, this.book);
    this.#exporter = new Exporter(context, this.book);
    this.#announcer = new Announcer(context, this.egress);
    this.#advertiser = new RouterAdvertiser(context, this.egress);
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

  /**
   * Timers: ends flows, gives up waiting frames, asks neighbours, announces. About every millisecond while isBusy or packets come, else
   * at dueMs() and a few dozen times a second.
   */
  tick(nowMs: number): void {
    const { counters, clock, frames } = this.#context;
    clock[0] = nowMs;
    this.#expire();
    this.#waiting.release();
    this.#again(LIST_HANDOVER, true);
    this.#again(LIST_TAKEOVER, true);
    this.egress.tick();
    while (this.#undelivered.next()) {
      const { port, zone, at, lengthBytes } = this.#undelivered;
      count(counters, this.#take(port, zone, at, lengthBytes, LOOPED, 0));
    }
    this.#announcer.tick();
    this.#advertiser.tick();
    this.#nat.refill();
    this.#fragmentWay.tick();
    this.#defence.report();
    if (this.book.dirtyCount > 0 && this.book.hasRoom()) this.#exporter.addDirty();
    if (this.#exporter.pending > 0) this.#exporter.step(EXPORTS_PER_TICK);
    counters[COUNT.poolAvailableNow] = frames.available();
  }

  /** Something waits for its moment, or is done bit by bit. */
  get isBusy(): boolean {
    return (
      this.#waiting.isBusy ||
      this.egress.isBusy ||
      this.#announcer.isBusy ||
      this.#fragmentWay.isBusy ||
      this.#exporter.pending > 0 ||
      this.book.dirtyCount > 0
    );
  }

  /** When flows may be due next; Infinity: not soon. */
  dueMs(): number {
    return this.#context.table.wheel.dueMs();
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

  /**
   * Another policy holds from now on, with the same zones and ports. Flows that it does not allow end at their next packet; the
   * others never notice. `ruleHits` has a cell per rule of it and one more. `compiled`: its rules, when somebody compiled them
   * already, since that takes long for many of them.
   */
  usePolicy(policy: PolicyModel, ruleHits: Float64Array, compiled = compileRules(policy.rules)): void {
    const rules = new RuleTable(compiled, ruleHits);
    this.#rules = rules;
    this.#tellMinute();
    this.#context.policy = new CompiledPolicy(policy);
    this.#context.natUsage.usePolicy(this.#context.policy.nat);
    this.#defence = defenceOf(this.#context, policy);
    this.book.defence = this.#defence;
    this.#maker.useRules(rules, this.#defence);
    this.book.useTimeouts(policy.timeoutsMs);
  }

  /**
   * Tells the time of day: `wallMs[0]` milliseconds since 1970 on a clock on which the nodes agree within a minute. For schedules of
   * rules and for SYN cookies; about once a second.
   */
  setWallTime(wallMs: Float64Array): void {
    this.#cookies.advance(wallMs);
    const minutes = Math.floor(wallMs[0]! / 60_000);
    if (minutes === this.#minutes) return;
    this.#minutes = minutes;
    this.#tellMinute();
  }

  /** The day of the week and the minute of the day, UTC: 1970 began on a Thursday. */
  #tellMinute(): void {
    if (this.#minutes < 0) return;
    this.#rules.setMinute(1 << ((Math.floor(this.#minutes / 1440) + 4) % 7), this.#minutes % 1440);
  }

  /** Applies a record of another node: REPLICA_* (replica.ts). */
  applyReplica(bytes: Uint8Array, at: number, nowMs: number): number {
    this.#context.clock[0] = nowMs;
    return this.#replicas.apply(bytes, at);
  }

  /** Others may have forwarded packets of these slots: their flows' next segments tell where they are. */
  slotsUnseen(slots: readonly number[]): void {
    for (const slot of slots) this.#tenures.interrupt(slot);
  }

  /**
   * Announces the slots' virtual MACs on all zone ports, so that the switches move them here; what exceeds one step's bound
   * leaves with the next ticks. Others may have forwarded the slots' packets until now.
   */
  announceSlots(slots: readonly number[]): void {
    for (const slot of slots) this.#announcer.add(slot);
    this.slotsUnseen(slots);
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

  /** Publishes that nothing of a slot follows in `epoch`. False: not all before it had room yet, try again. */
  publishBarrier(slot: number, epoch: number): boolean {
    return this.#exporter.barrier(slot, epoch);
  }

  #fromZone(port: number, zone: number, at: number, lengthBytes: number): number {
    const bytes = this.#bytes;
    if (lengthBytes < ethernet.ETHERNET_BYTES) return this.#forwarder.drop(at, DROP_TRUNCATED);
    const type = ethernet.etherType(bytes, at);
    if (type === ethernet.ETHER_HEARTBEAT) return VERDICT_LOCAL;
    let way = DIRECT;
    if (ethernet.isGroup(bytes, at)) {
      if (i32(bytes, at) === 0x0180c200) return this.#forwarder.drop(at, DROP_LINK_CONTROL);
      if (type === ethernet.ETHER_IPV6) return this.#fromGroup(port, zone, at, lengthBytes);
      if (!ethernet.isBroadcast(bytes, at)) return this.#forwarder.drop(at, DROP_NOT_FOR_US);
      // RFC 1812 section 5.3.4: what was broadcast on the link is never forwarded.
      if (type === ethernet.ETHER_IPV4) return this.#forwarder.drop(at, DROP_BAD_DESTINATION);
      if (type !== ethernet.ETHER_ARP) return this.#forwarder.drop(at, DROP_NOT_FOR_US);
    } else if (ethernet.isMac(bytes, at, this.#context.ports[port]!.mac, 0)) {
      if (isFromPeer(this.#context, port, at)) {
        way = REDIRECTED_ZONE;
        count(this.#context.counters, COUNT.redirectsZoneIn);
      }
    } else if (virtualSlot(zone, bytes, at) < 0) {
      return this.#forwarder.drop(at, DROP_NOT_FOR_US);
    }
    if (type === ethernet.ETHER_IPV4 || type === ethernet.ETHER_IPV6) {
      return this.#take(port, zone, at, lengthBytes, way, 0);
    }
    if (type === ethernet.ETHER_ARP) {
      return serveArp(this.#context, this.egress, zone, port, at, lengthBytes);
    }
    return this.#forwarder.drop(at, DROP_NOT_IP);
  }

  /** An IPv6 packet to a group: neighbour discovery is for us, multicast is not carried. */
  #fromGroup(port: number, zone: number, at: number, lengthBytes: number): number {
    const packet = this.#packet;
    packet.port = port;
    packet.zone = zone;
    packet.way = DIRECT;
    const isRead = packet.parse(this.#bytes, at, lengthBytes) === PARSED;
    if (!isRead || packet.kind !== KIND_NEIGHBOUR) return this.#forwarder.drop(at, DROP_NOT_FOR_US);
    return serveNdp(this.#context, this.egress, this.#advertiser, packet);
  }

  /** The cluster link carries heartbeats for the shell and redirected frames for us. */
  #fromCluster(at: number, lengthBytes: number): number {
    const bytes = this.#bytes;
    const ip = at + ethernet.ETHERNET_BYTES;
    if (lengthBytes < ethernet.ETHERNET_BYTES + ipv4.IPV4_BYTES + udp.UDP_BYTES) {
      return this.#forwarder.drop(at, DROP_TRUNCATED);
    }
    // The port's filter leaves all other ARP to the kernel.
    if (ethernet.etherType(bytes, at) === ethernet.ETHER_ARP) return VERDICT_LOCAL;
    if (ethernet.etherType(bytes, at) !== ethernet.ETHER_IPV4) return this.#forwarder.drop(at, DROP_NOT_IP);
    if (bytes[ip] !== 0x45 || ipv4.protocol(bytes, ip) !== ipv4.PROTOCOL_UDP) {
      return this.#forwarder.drop(at, DROP_UNKNOWN_PROTOCOL);
    }
    const datagram = ip + ipv4.IPV4_BYTES;
    const port = u16(bytes, datagram + 2);
    if (port === udp.HEARTBEAT_PORT) return VERDICT_LOCAL;
    if (port !== geneve.GENEVE_PORT) return this.#forwarder.drop(at, DROP_UNKNOWN_PROTOCOL);
    return this.#fromRedirect(at, lengthBytes, ip);
  }

  /** A frame that another node redirected: goes on as if it had arrived at the port where it entered the cluster. */
  #fromRedirect(at: number, lengthBytes: number, ip: number): number {
    const bytes = this.#bytes;
    const redirect = this.#redirect;
    const inner = redirect.unwrap(at, lengthBytes, ip);
    if (inner === NOT_OPENED) return this.#forwarder.drop(at, redirect.verdict);
    const header = redirect.at;
    const zone = geneve.zone(bytes, header);
    if (this.egress.portOf(zone) < 0) return this.#forwarder.drop(at, DROP_BAD_HEADER);
    // Members may number their ports differently; the zone is what they agree on.
    const port = this.egress.ingressOf(zone, geneve.port(bytes, header));
    const type = ethernet.etherType(bytes, inner);
    if (type !== ethernet.ETHER_IPV4 && type !== ethernet.ETHER_IPV6) {
      return this.#forwarder.drop(at, DROP_NOT_IP);
    }
    count(this.#context.counters, COUNT.redirectsIn);
    const way = geneve.isToMeet(bytes, header) ? REDIRECTED_TO_MEET : REDIRECTED_CLUSTER;
    return this.#take(port, zone, inner, redirect.lengthBytes, way, geneve.epoch(bytes, header));
  }

  /** An IP frame with its origin, whether it came by itself or was redirected. */
  #take(port: number, zone: number, at: number, lengthBytes: number, way: number, wayEpoch: number): number {
    const packet = this.#packet;
    packet.port = port;
    packet.zone = zone;
    packet.way = way;
    packet.wayEpoch = wayEpoch;
    const wrong = packet.parse(this.#bytes, at, lengthBytes);
    if (wrong === DROP_FRAGMENT) return this.#fragmentWay.arrive();
    if (wrong !== PARSED) return this.#forwarder.drop(at, wrong);
    if (packet.kind === KIND_NEIGHBOUR) {
      if (way !== DIRECT) return this.#forwarder.drop(at, DROP_ND);
      return serveNdp(this.#context, this.egress, this.#advertiser, packet);
    }
    const verdict = this.#decider.decide();
    return verdict === LOOP ? this.#back() : verdict;
  }

  /** The packet in hand left for an address of ours: it comes back from there, once. */
  #back(): number {
    const packet = this.#packet;
    const { at, totalBytes } = packet;
    if (packet.way === LOOPED) return this.#forwarder.drop(at, DROP_BAD_DESTINATION);
    const zone = this.#forwarder.egressZone;
    return this.#take(this.egress.portOf(zone), zone, at, ethernet.ETHERNET_BYTES + totalBytes, LOOPED, 0);
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
      if (isExclusive(this.#context, table.slotOf(row))) this.#decider.expire(row);
    }
  }

  /** Processes waiting frames of a slot list again, from the top and in order: all, or those past their deadline. */
  #again(list: number, isLate: boolean): void {
    const { counters } = this.#context;
    const { hold } = this.#waiting;
    const before = hold.count(list);
    if (before === 0) return;
    this.#decider.isLate = isLate;
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
    this.#decider.isLate = false;
    this.#waiting.done();
  }
}
