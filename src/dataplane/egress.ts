/**
 * Egress: the last step of every frame that leaves by a zone: neighbour, Ethernet header, port. Owns the neighbour cache's
 * traffic (probes, answers, frames that wait for an address). Decides nothing about flows.
 */
import { ADDRESS_WORDS, isIpv4 } from "../base/address.ts";
import { ETHER_IPV4, ETHER_IPV6, MAC_BYTES, padFrame, setEtherType, setMac } from "../packet/ethernet.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { EngineLimits } from "./engine-options.ts";
import { NONE } from "./flow-layout.ts";
import type { HoldPool } from "./hold.ts";
import { writeArpProbe, writeSolicitation } from "./neighbour-probe.ts";
import { Neighbours } from "./neighbours.ts";
import { UNKNOWN_PORT } from "./packet.ts";
import { dropVerdict, VERDICT_FORWARDED, VERDICT_HELD } from "./verdict.ts";

/** Frames that may wait for one neighbour: a node that just gained its slots knows nobody, and a whole burst may wait for the
 * one router that all of it goes to. */
const WAITING_MAX = 512;

/** Frames without a neighbour whose senders the next tick tells; more would be more than errors may be sent. */
const UNDELIVERED_MAX = 16;

const DROP_NO_NEIGHBOUR = dropVerdict("no_neighbour");
const DROP_HOLD_FULL = dropVerdict("hold_full");
const DROP_TX_FULL = dropVerdict("tx_full");

export class Egress {
  readonly neighbours: Neighbours;
  readonly #context: EngineContext;
  readonly #hold: HoldPool;
  /** List of the first neighbour's waiting frames. */
  readonly #firstList: number;
  readonly #undeliveredList: number;
  readonly #freeFramesMin: number;
  /** By zone: its first port, and all of them. */
  readonly #zonePorts: readonly (readonly number[])[];
  #waiting = 0;

  constructor(
    context: EngineContext,
    hold: HoldPool,
    firstList: number,
    undeliveredList: number,
    limits: EngineLimits,
  ) {
    this.#context = context;
    this.#hold = hold;
    this.#firstList = firstList;
    this.#undeliveredList = undeliveredList;
    this.#freeFramesMin = limits.freeFramesMin;
    this.neighbours = new Neighbours(limits.neighboursMax, context.clock);
    const zones: number[][] = Array.from({ length: 256 }, () => []);
    context.ports.forEach((port, index) => {
      if (port.zone >= 0) zones[port.zone]!.push(index);
    });
    this.#zonePorts = zones;
  }

  /** The port of a zone that another node means by an index; UNKNOWN_PORT if its ports have another order. */
  ingressOf(zone: number, index: number): number {
    return this.#context.ports[index]?.zone === zone ? index : UNKNOWN_PORT;
  }

  /** First port of a zone, or NONE. */
  portOf(zone: number): number {
    const ports = this.#zonePorts[zone]!;
    return ports.length === 0 ? NONE : ports[0]!;
  }

  /**
   * Sends a frame whose IP packet is finished to the next hop at `hop[hopAt]` in a zone, or lets it wait for the neighbour's
   * address. The frame's ether type is set here: it follows the next hop's family.
   */
  transmit(at: number, lengthBytes: number, zone: number, hop: Int32Array, hopAt: number): number {
    const neighbours = this.neighbours;
    setEtherType(this.#context.frames.bytes, at, isIpv4(hop, hopAt) ? ETHER_IPV4 : ETHER_IPV6);
    let entry = neighbours.find(zone, hop, hopAt);
    if (entry !== NONE && neighbours.isUsable(entry)) return this.#send(at, lengthBytes, entry);
    if (entry === NONE) {
      entry = neighbours.create(zone, hop, hopAt);
      this.#report();
      if (entry === NONE) return this.#drop(at, DROP_NO_NEIGHBOUR);
    } else if (neighbours.isFailed(entry)) {
      return this.#undelivered(at, lengthBytes, zone);
    }
    const list = this.#firstList + entry;
    const isFull =
      this.#hold.count(list) >= WAITING_MAX || this.#context.frames.available() < this.#freeFramesMin;
    if (isFull) return this.#drop(at, DROP_HOLD_FULL);
    if (this.#hold.append(list, at, lengthBytes) === NONE) return this.#drop(at, DROP_HOLD_FULL);
    this.#setWaiting(this.#waiting + 1);
    // The first probe leaves at once; the others are tick()'s.
    if (this.#hold.count(list) === 1) this.tick();
    return VERDICT_HELD;
  }

  /**
   * The hop to take among `count` of equal cost from hop index `from` of `hops`: by the flow's hash, so that a flow keeps its
   * way, unless that neighbour is not there and another one is (RFC 2992). Index of the hop.
   */
  chooseHop(zone: number, hops: Int32Array, from: number, hopCount: number, hash: number): number {
    const first = from + ((hash >>> 1) % hopCount);
    if (hopCount === 1) return first;
    const neighbours = this.neighbours;
    for (let i = 0; i < hopCount; i++) {
      const hop = first + i < from + hopCount ? first + i : first + i - hopCount;
      const entry = neighbours.find(zone, hops, hop * ADDRESS_WORDS);
      if (entry !== NONE && neighbours.isResolved(entry)) return hop;
      // Asked for in the background: the packet goes where somebody answers.
      if (entry === NONE) neighbours.create(zone, hops, hop * ADDRESS_WORDS);
      else neighbours.isFailed(entry);
    }
    return first;
  }

  /** Learns from ARP or neighbour discovery (see Neighbours.learn), and lets go what waited for the address. */
  learn(zone: number, words: Int32Array, at: number, port: number, macAt: number, isWanted: boolean): void {
    const { frames, counters } = this.#context;
    const entry = this.neighbours.learn(zone, words, at, port, frames.bytes, macAt, isWanted);
    this.#report();
    if (entry === NONE) return;
    const list = this.#firstList + entry;
    while (this.#hold.head(list) !== NONE) {
      const held = this.#hold.shift(list);
      this.#setWaiting(this.#waiting - 1);
      count(counters, this.#send(this.#hold.at[held]!, this.#hold.lengthBytes[held]!, entry));
    }
  }

  /** Neighbours are asked for, or senders are to be told that they do not answer. */
  get isBusy(): boolean {
    return this.neighbours.pendingCount > 0 || this.#hold.count(this.#undeliveredList) > 0;
  }

  /** Probes that are due; neighbours that do not answer lose the frames that wait for them. */
  tick(): void {
    const neighbours = this.neighbours;
    while (neighbours.pendingCount > 0) {
      const entry = neighbours.takeProbe();
      if (neighbours.failed !== NONE) {
        this.#giveUp(neighbours.failed);
        neighbours.failed = NONE;
      } else if (entry === NONE) {
        break;
      } else {
        this.#probe(neighbours.zone[entry]!, entry * ADDRESS_WORDS);
      }
    }
    this.#report();
  }

  #giveUp(entry: number): void {
    const list = this.#firstList + entry;
    while (this.#hold.head(list) !== NONE) {
      const held = this.#hold.shift(list);
      this.#setWaiting(this.#waiting - 1);
      const { at, lengthBytes } = this.#hold;
      const zone = this.neighbours.zone[entry]!;
      count(this.#context.counters, this.#undelivered(at[held]!, lengthBytes[held]!, zone));
    }
  }

  /** A frame for a neighbour that does not answer: a few of them are kept, so that their senders are told (undelivered.ts). */
  #undelivered(at: number, lengthBytes: number, zone: number): number {
    const list = this.#undeliveredList;
    const isFull = this.#hold.count(list) >= UNDELIVERED_MAX;
    const entry = isFull ? NONE : this.#hold.append(list, at, lengthBytes);
    if (entry === NONE) return this.#drop(at, DROP_NO_NEIGHBOUR);
    this.#hold.egressZone[entry] = zone;
    this.#setWaiting(this.#waiting + 1);
    return DROP_NO_NEIGHBOUR;
  }

  /** The next frame that #undelivered() kept: its entry of the hold pool, or NONE. */
  takeUndelivered(): number {
    if (this.#hold.count(this.#undeliveredList) === 0) return NONE;
    this.#setWaiting(this.#waiting - 1);
    return this.#hold.shift(this.#undeliveredList);
  }

  /** Asks for the address of a neighbour on all ports of its zone. */
  #probe(zone: number, addressAt: number): void {
    const { frames, ports, counters } = this.#context;
    const address = this.neighbours.address;
    const isArp = isIpv4(address, addressAt);
    const list = this.#zonePorts[zone]!;
    for (let i = 0; i < list.length; i++) {
      const port = list[i]!;
      const at = frames.alloc();
      if (at < 0) return;
      const mac = ports[port]!.mac;
      const lengthBytes = isArp
        ? writeArpProbe(frames.bytes, at, mac, address[addressAt + 3]!)
        : writeSolicitation(frames.bytes, at, mac, address, addressAt);
      count(counters, isArp ? COUNT.arpRequests : COUNT.neighbourSolicitations);
      this.emit(port, at, lengthBytes);
    }
  }

  #send(at: number, lengthBytes: number, entry: number): number {
    const { frames, ports } = this.#context;
    const bytes = frames.bytes;
    const port = this.neighbours.port[entry]!;
    setMac(bytes, at, this.neighbours.mac, entry * 6);
    setMac(bytes, at + MAC_BYTES, ports[port]!.mac, 0);
    return this.emit(port, at, padFrame(bytes, at, lengthBytes)) ? VERDICT_FORWARDED : DROP_TX_FULL;
  }

  /** Hands a finished frame to a port and counts it. */
  emit(port: number, at: number, lengthBytes: number): boolean {
    const { output, counters } = this.#context;
    if (!output.send(port, at, lengthBytes)) {
      count(counters, COUNT.txFull);
      return false;
    }
    count(counters, COUNT.txFrames);
    counters[COUNT.txBytes] = counters[COUNT.txBytes]! + lengthBytes;
    return true;
  }

  #drop(at: number, verdict: number): number {
    this.#context.frames.free(at);
    return verdict;
  }

  #report(): void {
    const { counters } = this.#context;
    const { used, pendingCount, evicted, refused } = this.neighbours;
    counters[COUNT.neighboursNow] = used;
    counters[COUNT.neighboursPendingNow] = pendingCount;
    counters[COUNT.neighboursEvicted] = evicted;
    counters[COUNT.neighboursRefused] = refused;
  }

  #setWaiting(frames: number): void {
    this.#waiting = frames;
    this.#context.counters[COUNT.heldForNeighbourNow] = frames;
  }
}
