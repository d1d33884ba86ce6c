/**
 * NAT ports: chooses the external address and port of a new flow so that replies lead back to the flow's slot. Owns no
 * table of bindings: the flow table's reply tuples are the bindings, so a port is reused towards other destinations
 * (endpoint-dependent mapping, RFC 4787 section 4.1) and two slots, hence two nodes, can never give out the same tuple.
 *
 *   mixed port:  | k (16 - s bits) | slot (s bits) |   port = unmix16(slot + slots * k), k = random start, then onwards
 */
import { indexHash, unmix16 } from "../base/hash.ts";
import { SLOT_OWNED } from "./cluster-view.ts";
import type { EngineContext } from "./context.ts";
import { NONE } from "./flow-layout.ts";
import { slotOfAddress } from "./slot.ts";

/** Candidate ports that may be looked at between two ticks, over all new flows: 3 ms of work at worst. */
const PROBES_PER_TICK = 65_536;
/** What one flow may always look at, even when others used the tick's probes up. */
const PROBES_MIN = 64;
const PORTS = 65_536;
/** A slot whose ports towards a destination were found used up is not searched again for this long. */
const EXHAUSTED_FOR_MS = 250;
const EXHAUSTED_CELLS = 4096;

export class NatAllocator {
  /** The pool address that the last successful allocate() chose. */
  address = 0;
  readonly #context: EngineContext;
  #probes = PROBES_PER_TICK;
  /** By hash of (address, slot, destination): which, and until when. */
  readonly #exhausted = new Int32Array(EXHAUSTED_CELLS);
  readonly #exhaustedUntilMs = new Float64Array(EXHAUSTED_CELLS);

  constructor(context: EngineContext) {
    this.#context = context;
  }

  /** Gives new flows their probes back; once a tick. */
  refill(): void {
    this.#probes = PROBES_PER_TICK;
  }

  /**
   * A port of a pool address of SNAT entry `snat` that is free towards (destination, destinationPort), or NONE.
   * `isEcho`: the id takes the port's place (packet.ts). Prefers an address that this node answers for, else goes by the
   * source, so that one source keeps one address (RFC 4787 REQ-2).
   */
  allocate(
    snat: number,
    slot: number,
    protocol: number,
    source: number,
    destination: number,
    destinationPort: number,
  ): number {
    const { policy, key, view } = this.#context;
    const pool = policy.snatFrom[snat]!;
    const count = policy.snatCount[snat]!;
    const first = slotOfAddress(key, PORTS, source) % count;
    const preferred = this.#preferred(pool, count, first);
    for (let i = 0; i < count; i++) {
      const index = policy.snatPool[pool + ((preferred + i) % count)]!;
      const port = this.#fromSlot(index, slot, protocol, destination, destinationPort);
      if (port !== NONE) return port;
    }
    // The slot's own ports towards this destination are used up: borrow from another slot that is ours to decide.
    const start = this.#context.random(view.slots);
    for (let i = 0; i < view.slots; i++) {
      const other = (start + i) & (view.slots - 1);
      if (other === slot || view.state[other] !== SLOT_OWNED) continue;
      for (let j = 0; j < count; j++) {
        const index = policy.snatPool[pool + ((preferred + j) % count)]!;
        const port = this.#fromSlot(index, other, protocol, destination, destinationPort);
        if (port !== NONE) return port;
        if (this.#probes <= 0) return NONE;
      }
    }
    return NONE;
  }

  /** Position in the pool to begin with: the first address from `first` on whose slot this node owns, else `first`. */
  #preferred(pool: number, count: number, first: number): number {
    const { policy, view } = this.#context;
    for (let i = 0; i < count; i++) {
      const position = (first + i) % count;
      const answered = policy.answered.get(policy.poolAddresses[policy.snatPool[pool + position]!]!);
      if (answered >= 0 && view.owner[answered & (view.slots - 1)] === view.selfId) return position;
    }
    return first;
  }

  #fromSlot(
    poolIndex: number,
    slot: number,
    protocol: number,
    destination: number,
    destinationPort: number,
  ): number {
    const { policy, key, view, table, random, clock } = this.#context;
    const address = policy.poolAddresses[poolIndex]!;
    const candidates = PORTS / view.slots;
    const search = indexHash(key, address ^ (protocol << 16), destination, destinationPort, slot);
    const cell = search & (EXHAUSTED_CELLS - 1);
    if (this.#exhausted[cell] === search && this.#exhaustedUntilMs[cell]! > clock[0]!) return NONE;
    const limit = Math.max(this.#probes, PROBES_MIN);
    const tries = Math.min(candidates, limit);
    let k = random(candidates);
    for (let i = 0; i < tries; i++) {
      const port = unmix16(key, slot + view.slots * k);
      k = k + 1 === candidates ? 0 : k + 1;
      this.#probes--;
      if (policy.isReserved(poolIndex, port)) continue;
      if (table.find(protocol, destination, address, (destinationPort << 16) | port) !== NONE) continue;
      this.address = address;
      return port;
    }
    if (tries === candidates) {
      this.#exhausted[cell] = search;
      this.#exhaustedUntilMs[cell] = clock[0]! + EXHAUSTED_FOR_MS;
    }
    return NONE;
  }
}
