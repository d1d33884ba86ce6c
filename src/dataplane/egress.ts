/**
 * Egress: the last step of every frame that leaves by a zone: neighbour, Ethernet header, port. Owns the neighbour cache's
 * traffic (probes, answers, frames that wait for an address). Decides nothing about flows.
 */
import { ARP_BYTES, ARP_REQUEST, ARP_SENDER_MAC, ARP_TARGET_MAC, writeArp } from "../packet/arp.ts";
import {
  ETHER_ARP,
  ETHERNET_BYTES,
  fillMac,
  MAC_BYTES,
  padFrame,
  setEtherType,
  setMac,
} from "../packet/ethernet.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { EngineLimits } from "./engine-options.ts";
import { NONE } from "./flow-layout.ts";
import type { HoldPool } from "./hold.ts";
import { Neighbours } from "./neighbours.ts";
import { dropVerdict, VERDICT_FORWARDED, VERDICT_HELD } from "./verdict.ts";

/** Frames that may wait for one neighbour: a node that just gained its slots knows nobody, and a whole burst may wait for the
 * one router that all of it goes to. */
const WAITING_MAX = 512;

const DROP_NO_NEIGHBOUR = dropVerdict("no_neighbour");
const DROP_HOLD_FULL = dropVerdict("hold_full");
const DROP_TX_FULL = dropVerdict("tx_full");

export class Egress {
  readonly neighbours: Neighbours;
  readonly #context: EngineContext;
  readonly #hold: HoldPool;
  /** List of the first neighbour's waiting frames. */
  readonly #firstList: number;
  readonly #freeFramesMin: number;
  /** By zone: its first port, and all of them. */
  readonly #zonePorts: readonly (readonly number[])[];
  #waiting = 0;

  constructor(context: EngineContext, hold: HoldPool, firstList: number, limits: EngineLimits) {
    this.#context = context;
    this.#hold = hold;
    this.#firstList = firstList;
    this.#freeFramesMin = limits.freeFramesMin;
    this.neighbours = new Neighbours(limits.neighboursMax, context.clock);
    const zones: number[][] = Array.from({ length: 256 }, () => []);
    context.ports.forEach((port, index) => {
      if (port.zone >= 0) zones[port.zone]!.push(index);
    });
    this.#zonePorts = zones;
  }

  /** First port of a zone, or NONE. */
  portOf(zone: number): number {
    const ports = this.#zonePorts[zone]!;
    return ports.length === 0 ? NONE : ports[0]!;
  }

  /** Sends a frame whose IPv4 packet is finished to `nextHop` in a zone, or lets it wait for the neighbour's address. */
  transmit(at: number, lengthBytes: number, zone: number, nextHop: number): number {
    const neighbours = this.neighbours;
    let entry = neighbours.find(zone, nextHop);
    if (entry !== NONE && neighbours.isUsable(entry)) return this.#send(at, lengthBytes, entry);
    if (entry === NONE) {
      entry = neighbours.create(zone, nextHop);
      this.#report();
      if (entry === NONE) return this.#drop(at, DROP_NO_NEIGHBOUR);
    } else if (neighbours.isFailed(entry)) {
      return this.#drop(at, DROP_NO_NEIGHBOUR);
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

  /** Learns from ARP (see Neighbours.learn), and lets go what waited for the address. */
  learn(zone: number, address: number, port: number, macAt: number, isWanted: boolean): void {
    const { frames, counters } = this.#context;
    const entry = this.neighbours.learn(zone, address, port, frames.bytes, macAt, isWanted);
    this.#report();
    if (entry === NONE) return;
    const list = this.#firstList + entry;
    while (this.#hold.head(list) !== NONE) {
      const held = this.#hold.shift(list);
      this.#setWaiting(this.#waiting - 1);
      count(counters, this.#send(this.#hold.at[held]!, this.#hold.lengthBytes[held]!, entry));
    }
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
        this.#probe(neighbours.zone[entry]!, neighbours.address[entry]!);
      }
    }
    this.#report();
  }

  #giveUp(entry: number): void {
    const list = this.#firstList + entry;
    while (this.#hold.head(list) !== NONE) {
      const held = this.#hold.shift(list);
      this.#setWaiting(this.#waiting - 1);
      count(this.#context.counters, this.#drop(this.#hold.at[held]!, DROP_NO_NEIGHBOUR));
    }
  }

  #probe(zone: number, address: number): void {
    const { frames, ports, counters } = this.#context;
    const list = this.#zonePorts[zone]!;
    for (let i = 0; i < list.length; i++) {
      const port = list[i]!;
      const at = frames.alloc();
      if (at < 0) return;
      const bytes = frames.bytes;
      const mac = ports[port]!.mac;
      const arp = at + ETHERNET_BYTES;
      fillMac(bytes, at, 0xff);
      setMac(bytes, at + MAC_BYTES, mac, 0);
      setEtherType(bytes, at, ETHER_ARP);
      writeArp(bytes, arp, ARP_REQUEST, 0, address);
      setMac(bytes, arp + ARP_SENDER_MAC, mac, 0);
      fillMac(bytes, arp + ARP_TARGET_MAC, 0);
      const lengthBytes = padFrame(bytes, at, ETHERNET_BYTES + ARP_BYTES);
      count(counters, COUNT.arpRequests);
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
