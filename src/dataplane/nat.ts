/**
 * NAT ports: chooses the external address and port of a new flow so that replies lead back to the flow's slot. Owns no
 * table of bindings: the flow table's reply tuples are the bindings, so a port is reused towards other destinations
 * (endpoint-dependent mapping, RFC 4787 section 4.1) and two slots, hence two nodes, can never give out the same tuple.
 *
 *   mixed port:  | k (16 - s bits) | slot (s bits) |   port = unmix16(slot + slots * k), k = random start, then onwards
 */
import { ADDRESS_WORDS, copyAddress } from "../base/address.ts";
import { indexHash, mix16, unmix16 } from "../base/hash.ts";
import { PROTOCOL_UDP } from "../packet/ipv4.ts";
import { NOT_BORROWED } from "./borrowed.ts";
import { SLOT_OWNED } from "./cluster-view.ts";
import { COUNT, type EngineContext } from "./context.ts";
import { NONE } from "./flow-layout.ts";
import { NO_SNAT } from "./nat-policy.ts";
import type { Packet } from "./packet.ts";
import { BINDING_UDP, expectationProtocol, NO_SATELLITE, pointerProtocol } from "./satellites.ts";
import { addressHash, slotOfAddress } from "./slot.ts";

/** Candidate ports that may be looked at between two ticks, over all new flows: 3 ms of work at worst. */
const PROBES_PER_TICK = 65_536;
/** What one flow may always look at, even when others used the tick's probes up. */
const PROBES_MIN = 64;
const PORTS = 65_536;
const PORT_MIN = 1024;
/** Ports that are looked at for one of the same parity. */
const PARITY_PROBES = 16;
/** A slot whose ports towards a destination were found used up is not searched again for this long. */
const EXHAUSTED_FOR_MS = 250;
const EXHAUSTED_CELLS = 4096;
/** Keeps the choice of a pool address apart from other uses of the hash. */
const POOL_DOMAIN = 0x706f6f6c;

export class NatAllocator {
  /** The pool address that the last successful allocate() chose: four words. */
  readonly address = new Int32Array(ADDRESS_WORDS);
  /** The slot that the port came from which it chose, if that is not the flow's own; else NOT_BORROWED (borrowed.ts). */
  borrowedFrom = NOT_BORROWED;
  readonly #context: EngineContext;
  #probes = PROBES_PER_TICK;
  /** Which of a slot's ports was announced last, of whatever slot; NONE at the beginning. */
  #announced = NONE;
  /** By hash of (address, slot, destination, range of ports): which, and until when. */
  readonly #exhausted = new Int32Array(EXHAUSTED_CELLS);
  readonly #exhaustedUntilMs = new Float64Array(EXHAUSTED_CELLS);

  /** Far end and pool address of the port being looked at. */
  readonly #tuple = new Int32Array(2 * ADDRESS_WORDS);

  constructor(context: EngineContext) {
    this.#context = context;
  }

  /** Gives new flows their probes back; once a tick. */
  refill(): void {
    this.#probes = PROBES_PER_TICK;
  }

  /**
   * A port of a pool address of SNAT entry `snat` that is free towards a destination, or NONE. The far end is in
   * `far[0..3]`; `source` is the inside host's address. `isEcho`: the id takes the port's place (packet.ts). One source
   * keeps one address (RFC 4787 REQ-2) until that has no port left; preferred is the source's own port where it is free (RFC 4787
   * section 4.2.1), else one of the same parity (REQ-4).
   */
  allocate(
    snat: number,
    slot: number,
    protocol: number,
    source: Int32Array,
    sourceAt: number,
    sourcePort: number,
    far: Int32Array,
    farPort: number,
  ): number {
    const { policy, view } = this.#context;
    const { nat } = policy;
    const pool = nat.snatFrom[snat]!;
    const count = nat.snatCount[snat]!;
    const preferred = this.#preferred(snat, source, sourceAt);
    this.borrowedFrom = NOT_BORROWED;
    for (let i = 0; i < count; i++) {
      const index = nat.snatPool[pool + ((preferred + i) % count)]!;
      const port = this.#fromSlot(snat, index, slot, protocol, sourcePort, far, farPort);
      if (port !== NONE) return port;
    }
    // The slot's own ports towards this destination are used up: borrow from another slot that is ours to decide.
    const start = this.#context.random(view.slots);
    for (let i = 0; i < view.slots; i++) {
      const other = (start + i) & (view.slots - 1);
      if (other === slot || view.state[other] !== SLOT_OWNED) continue;
      for (let j = 0; j < count; j++) {
        const index = nat.snatPool[pool + ((preferred + j) % count)]!;
        const port = this.#fromSlot(snat, index, other, protocol, sourcePort, far, farPort);
        if (port !== NONE) {
          this.borrowedFrom = other;
          return port;
        }
        if (this.#probes <= 0) return this.#refuse(snat);
      }
    }
    return this.#refuse(snat);
  }

  /**
   * Whether a pool address is free for a flow whose ports, if it has any, stay as they are (SCTP, GRE, ESP): one inside host at a
   * time has an address towards a far end. The far end chooses, because replies must lead to the same slot (slot.ts). `ports`:
   * far end's << 16 | source's.
   */
  allocateBare(snat: number, protocol: number, far: Int32Array, ports: number): boolean {
    const { policy, key, table } = this.#context;
    const { nat } = policy;
    const count = nat.snatCount[snat]!;
    const first = (addressHash(key, far, 0) >>> 1) % count;
    copyAddress(this.#tuple, 0, far, 0);
    for (let i = 0; i < count; i++) {
      const index = nat.snatPool[nat.snatFrom[snat]! + ((first + i) % count)]!;
      copyAddress(this.#tuple, 4, nat.poolWords, index * ADDRESS_WORDS);
      if (table.find(protocol, this.#tuple, 0, ports) !== NONE) continue;
      copyAddress(this.address, 0, nat.poolWords, index * ADDRESS_WORDS);
      return true;
    }
    this.#refuse(snat);
    return false;
  }

  /** Counts that no address of an entry's pool had a port: NONE. */
  #refuse(snat: number): number {
    const { policy, natUsage } = this.#context;
    const { nat } = policy;
    for (let i = 0; i < nat.snatCount[snat]!; i++) natUsage.refuse(nat.snatPool[nat.snatFrom[snat]! + i]!);
    return NONE;
  }

  /**
   * A port of the address at `address[0..3]`, whichever pool it is of, by which replies lead to `slot`, for the packet's flow
   * towards a far end; its own port where nothing translates ports there. NONE: none is free.
   */
  allocateOn(address: Int32Array, slot: number, packet: Packet, far: Int32Array, farPort: number): number {
    const index = this.#context.policy.nat.pools.get(address, 0);
    if (index < 0) return packet.sourcePort;
    return this.#fromSlot(NO_SNAT, index, slot, packet.protocol, packet.sourcePort, far, farPort);
  }

  /**
   * A port of the address at `words[at..]` at which a helper may announce somebody: packets to it lead to `slot`, whoever sends
   * them. `wanted` itself where it does, else one of its parity. NONE: there is none. Where no pool is, any port will do.
   */
  announce(words: Int32Array, at: number, slot: number, wanted: number): number {
    const { policy, key, view, random } = this.#context;
    const index = policy.nat.pools.get(words, at);
    if (index < 0) return wanted;
    const isUsable = (port: number): boolean => port >= PORT_MIN && !policy.nat.isReserved(index, port);
    if ((mix16(key, wanted) & (view.slots - 1)) === slot && isUsable(wanted)) return wanted;
    const candidates = PORTS / view.slots;
    if (this.#announced === NONE) this.#announced = random(candidates);
    // One after the other: whoever connects to it again and again (an FTP server, from one port) must not meet the connection
    // before in TIME-WAIT, in the table or at its own end.
    for (let i = 0; i < candidates; i++) {
      this.#announced = (this.#announced + 1) % candidates;
      const port = unmix16(key, slot + view.slots * this.#announced);
      if (isUsable(port) && ((port ^ wanted) & 1) === 0) return port;
    }
    return NONE;
  }

  /**
   * Position in the pool to begin with: from the source's on, the first address whose home is the source's home (cluster-view.ts).
   * Replies then come straight back to the source's node as long as everybody is at home, and one source keeps one address
   * whoever dies or returns (RFC 4787 REQ-2): a server may refuse a second connection from elsewhere, as FTP's do.
   */
  #preferred(snat: number, source: Int32Array, sourceAt: number): number {
    const { policy, key, view } = this.#context;
    const { nat } = policy;
    const pool = nat.snatFrom[snat]!;
    const count = nat.snatCount[snat]!;
    const home = view.home[slotOfAddress(key, view.slots, source, sourceAt)]!;
    const first = (indexHash(key, addressHash(key, source, sourceAt), POOL_DOMAIN, 0, 0) >>> 1) % count;
    for (let i = 0; i < count; i++) {
      const position = (first + i) % count;
      const answered = policy.answered.get(nat.poolWords, nat.snatPool[pool + position]! * ADDRESS_WORDS);
      if (answered >= 0 && view.home[answered & (view.slots - 1)] === home) return position;
    }
    return first;
  }

  #fromSlot(
    snat: number,
    poolIndex: number,
    slot: number,
    protocol: number,
    sourcePort: number,
    far: Int32Array,
    farPort: number,
  ): number {
    const { policy, key, view, random, clock } = this.#context;
    const { nat } = policy;
    copyAddress(this.address, 0, nat.poolWords, poolIndex * ADDRESS_WORDS);
    copyAddress(this.#tuple, 0, far, 0);
    copyAddress(this.#tuple, 4, this.address, 0);
    const from = snat === NO_SNAT ? PORT_MIN : nat.snatPortFrom[snat]!;
    const to = snat === NO_SNAT ? PORTS - 1 : nat.snatPortTo[snat]!;
    if (
      (mix16(key, sourcePort) & (view.slots - 1)) === slot &&
      this.#isFree(from, to, poolIndex, protocol, farPort, sourcePort)
    ) {
      return sourcePort;
    }
    const candidates = PORTS / view.slots;
    // The range too: one entry that has no port left says nothing about another with the same address.
    const search = indexHash(
      key,
      addressHash(key, this.address, 0) ^ (protocol << 16),
      addressHash(key, far, 0),
      (slot << 16) | farPort,
      (from << 16) | to,
    );
    const cell = search & (EXHAUSTED_CELLS - 1);
    if (this.#exhausted[cell] === search && this.#exhaustedUntilMs[cell]! > clock[0]!) return NONE;
    const limit = Math.max(this.#probes, PROBES_MIN);
    const tries = Math.min(candidates, limit);
    // A port of the wrong parity is remembered, and taken when there is no other: parity is worth a few probes, not a refusal.
    let other = NONE;
    let k = random(candidates);
    for (let i = 0; i < tries; i++) {
      const port = unmix16(key, slot + view.slots * k);
      k = k + 1 === candidates ? 0 : k + 1;
      this.#probes--;
      if (!this.#isFree(from, to, poolIndex, protocol, farPort, port)) continue;
      if (((port ^ sourcePort) & 1) === 0 || (protocol !== PROTOCOL_UDP && protocol !== BINDING_UDP))
        return port;
      if (other === NONE) other = port;
      else if (i > PARITY_PROBES) break;
    }
    if (other === NONE && tries === candidates) {
      this.#exhausted[cell] = search;
      this.#exhaustedUntilMs[cell] = clock[0]! + EXHAUSTED_FOR_MS;
    }
    return other;
  }

  /** Whether a port of the address in #tuple, from a range, may be given out towards the far end. */
  #isFree(
    from: number,
    to: number,
    poolIndex: number,
    protocol: number,
    farPort: number,
    port: number,
  ): boolean {
    const { nat } = this.#context.policy;
    if (port < from || port > to) return false;
    if (nat.isReserved(poolIndex, port)) return false;
    const { table, natUsage } = this.#context;
    const ports = (farPort << 16) | port;
    if (table.find(protocol, this.#tuple, 0, ports) !== NONE) return false;
    if (this.#isAnnounced(protocol, port)) return false;
    // Lent to a flow that another node may decide by now.
    return natUsage.pointers === 0 || table.find(pointerProtocol(protocol), this.#tuple, 0, ports) === NONE;
  }

  /** Whether the far end was told of somebody at a port of the address in #tuple: it may come there from any of its own ports. */
  #isAnnounced(protocol: number, port: number): boolean {
    const { counters, table } = this.#context;
    if (counters[COUNT.expectationsNow] === 0) return false;
    const expected = expectationProtocol(protocol);
    return expected !== NO_SATELLITE && table.find(expected, this.#tuple, 0, port) !== NONE;
  }
}
