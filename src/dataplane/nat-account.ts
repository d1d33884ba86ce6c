/**
 * NAT account: which port of which pool address a row holds, and how many flows a binding has. Owns both counts; the flow book
 * tells of every row that comes and goes, so they agree with the table. Marks in the row say what was counted, whatever policy
 * holds when it goes.
 */
import { ADDRESS_WORDS, isIpv4, setIpv4 } from "../base/address.ts";
import { COUNT, type EngineContext } from "./context.ts";
import {
  D_DEADLINE,
  F_COMMIT,
  F_META,
  F_PORTS,
  FLAG_BOUND,
  FLAG_DNAT,
  FLAG_POOLED,
  FLAG_SNAT,
  FLAG_UNRULED,
  NONE,
  REPLY_TUPLE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "./flow-layout.ts";
import {
  BINDING_UDP,
  bindingProtocol,
  isBinding,
  isPointer,
  isSatellite,
  NO_SATELLITE,
  pointerProtocol,
} from "./satellites.ts";

/** How long a binding without flows stays: of UDP as long as it was refreshed for (bindings.ts), of others this long. */
const LINGER_MS = 10_000;
/** Flows of a binding, on this node; a binding never waits for a commit. */
const F_USERS = F_COMMIT;

export class NatAccount {
  readonly #context: EngineContext;
  /** Tuple that is looked for. */
  readonly #tuple = new Int32Array(2 * ADDRESS_WORDS);

  constructor(context: EngineContext) {
    this.#context = context;
  }

  /** A row was entered. */
  enter(row: number): void {
    const { table, natUsage } = this.#context;
    const meta = row * ROW_WORDS + F_META;
    const protocol = table.words[meta]! & 0xff;
    if (isPointer(protocol)) natUsage.pointers++;
    if (isSatellite(protocol) && !isBinding(protocol)) return;
    const binding = this.#bindingOf(row);
    if (binding !== NONE) {
      table.words[meta] = table.words[meta]! | FLAG_BOUND;
      this.#use(binding, 1);
      return;
    }
    if (!isBinding(protocol) && (table.words[meta]! & FLAG_SNAT) === 0) return;
    if (this.#count(row, 1)) table.words[meta] = table.words[meta]! | FLAG_POOLED;
  }

  /** A row is about to leave. */
  leave(row: number): void {
    const { table, natUsage } = this.#context;
    const meta = table.words[row * ROW_WORDS + F_META]!;
    if (isPointer(meta & 0xff)) natUsage.pointers--;
    if ((meta & FLAG_POOLED) !== 0) this.#count(row, -1);
    if ((meta & FLAG_BOUND) === 0) return;
    const binding = this.#bindingOf(row);
    if (binding !== NONE) this.#use(binding, -1);
  }

  /** A flow that was entered before its binding, because a record was lost, is counted when it is seen again. */
  rejoin(row: number): void {
    const words = this.#context.table.words;
    const meta = words[row * ROW_WORDS + F_META]!;
    if ((meta & FLAG_BOUND) !== 0 || isSatellite(meta & 0xff)) return;
    const binding = this.#bindingOf(row);
    if (binding === NONE) return;
    if ((meta & FLAG_POOLED) !== 0) this.#count(row, -1);
    words[row * ROW_WORDS + F_META] = (meta & ~FLAG_POOLED) | FLAG_BOUND;
    this.#use(binding, 1);
  }

  /** Flows that use a binding. */
  users(binding: number): number {
    return this.#context.table.words[binding * ROW_WORDS + F_USERS]!;
  }

  /** The pointer that leads replies of this row's borrowed port to it, or NONE. */
  pointerOf(row: number): number {
    const { table, natUsage } = this.#context;
    if (natUsage.pointers === 0) return NONE;
    const base = row * ROW_WORDS;
    const protocol = pointerProtocol(table.words[base + F_META]! & 0xff);
    if (protocol === NO_SATELLITE) return NONE;
    table.address(row, 1, 0, this.#tuple, 0);
    table.address(row, 1, 1, this.#tuple, ADDRESS_WORDS);
    const entry = table.find(protocol, this.#tuple, 0, table.words[base + REPLY_TUPLE + F_PORTS]!);
    return entry === NONE ? NONE : entry >> 1;
  }

  /** The binding whose outside end a flow has: as its own new source, or as what somebody outside sent to. */
  #bindingOf(row: number): number {
    const { policy, table } = this.#context;
    const base = row * ROW_WORDS;
    const meta = table.words[base + F_META]!;
    const protocol = bindingProtocol(meta & 0xff);
    const isMarked = (meta & FLAG_BOUND) !== 0;
    if (protocol === NO_SATELLITE || !(policy.nat.hasBindings || isMarked)) return NONE;
    const outward = (meta & FLAG_SNAT) === 0 ? NONE : this.#bindingAt(row, 1, protocol);
    if (outward !== NONE || (meta & FLAG_DNAT) === 0 || (meta & FLAG_UNRULED) === 0) return outward;
    return this.#bindingAt(row, 0, protocol);
  }

  /** The binding of the destination of a row's tuple. */
  #bindingAt(row: number, tuple: number, protocol: number): number {
    const { table } = this.#context;
    table.address(row, tuple, 1, this.#tuple, ADDRESS_WORDS);
    if (isIpv4(this.#tuple, ADDRESS_WORDS)) setIpv4(this.#tuple, 0, 0);
    else this.#tuple.fill(0, 0, ADDRESS_WORDS);
    const port = table.words[row * ROW_WORDS + tuple * REPLY_TUPLE + F_PORTS]! & 0xffff;
    const entry = table.find(protocol, this.#tuple, 0, port);
    return entry === NONE ? NONE : entry >> 1;
  }

  /** One flow more or less uses a binding; without any, it goes soon. */
  #use(binding: number, by: number): void {
    const { table, clock } = this.#context;
    const users = binding * ROW_WORDS + F_USERS;
    table.words[users] = Math.max(0, table.words[users]! + by);
    if (table.words[users] !== 0 || (table.words[binding * ROW_WORDS + F_META]! & 0xff) === BINDING_UDP)
      return;
    const deadline = binding * ROW_DOUBLES + D_DEADLINE;
    if (table.doubles[deadline]! <= clock[0]! + LINGER_MS) return;
    table.doubles[deadline] = clock[0]! + LINGER_MS;
    table.rearm(binding);
  }

  /** Counts the port that the reply tuple's destination is. False: it is no pool address's. */
  #count(row: number, by: number): boolean {
    const { table, natUsage, counters } = this.#context;
    table.address(row, 1, 1, this.#tuple, 0);
    if (!natUsage.add(this.#tuple, 0, by)) return false;
    counters[COUNT.natPortsNow] = counters[COUNT.natPortsNow]! + by;
    return true;
  }
}
