/**
 * NAT usage: how many ports of each pool address are taken, and how often one was asked for in vain. Owns the cells, in shared
 * memory: the worker writes, the main thread reads. An address keeps its cell for good, so a flow that outlives its policy is
 * counted down where it was counted up.
 *
 *   | cells used | - | address 4 | in use | refused | - | - | address ...
 */
import { ADDRESS_WORDS, type Address, copyAddress, readAddress } from "../base/address.ts";
import { AddressMap } from "./address-map.ts";
import type { NatPolicy } from "./nat-policy.ts";

const HEADER_WORDS = 8;
const CELL_WORDS = 8;
const C_IN_USE = ADDRESS_WORDS;
const C_REFUSED = ADDRESS_WORDS + 1;
/** Pool addresses that are counted, over all policies since start; further ones work and are not counted. */
export const COUNTED_ADDRESSES_MAX = 2048;
export const NAT_USAGE_BYTES = 4 * (HEADER_WORDS + CELL_WORDS * COUNTED_ADDRESSES_MAX);
const NOT_COUNTED = -1;

export interface AddressUsage {
  readonly address: Address;
  /** Flows and bindings that hold a port of it now, on this node: own and replicated. */
  readonly inUse: number;
  /** New flows that found no port of it, since start. */
  readonly refused: number;
}

export class NatUsage {
  /** Rows that point to flows with a borrowed port (borrowed.ts). */
  pointers = 0;
  readonly #words: Int32Array;
  #cells = new AddressMap([]);
  /** By pool index of the policy of now. */
  #cellOfPool = new Int32Array(0);

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(NAT_USAGE_BYTES)) {
    this.#words = new Int32Array(buffer, 0, NAT_USAGE_BYTES / 4);
  }

  /** The addresses of a policy's pools are counted from now on. Not for the packet path. */
  usePolicy(nat: NatPolicy): void {
    const words = this.#words;
    const before = words[0]!;
    let cells = before;
    // A policy names an address once, so new ones need not be compared with each other.
    for (let at = 0; at < nat.poolWords.length && cells < COUNTED_ADDRESSES_MAX; at += ADDRESS_WORDS) {
      if (this.#cells.get(nat.poolWords, at) !== NOT_COUNTED) continue;
      copyAddress(words, HEADER_WORDS + cells * CELL_WORDS, nat.poolWords, at);
      cells++;
    }
    Atomics.store(words, 0, cells);
    if (cells > before) {
      this.#cells = new AddressMap(readNatUsage(words.buffer as SharedArrayBuffer).map(cellEntry));
    }
    this.#cellOfPool = Int32Array.from({ length: nat.poolWords.length / ADDRESS_WORDS }, (_, pool) =>
      this.#cells.get(nat.poolWords, pool * ADDRESS_WORDS),
    );
  }

  /** Counts a port of an address that is taken or free again. False: the address is in no pool. */
  add(address: Int32Array, at: number, by: number): boolean {
    const cell = this.#cells.get(address, at);
    if (cell === NOT_COUNTED) return false;
    const word = HEADER_WORDS + cell * CELL_WORDS + C_IN_USE;
    this.#words[word] = this.#words[word]! + by;
    return true;
  }

  /** Counts that a pool address, by its index in the policy of now, had no port for a new flow. */
  refuse(pool: number): void {
    const cell = this.#cellOfPool[pool]!;
    if (cell === NOT_COUNTED) return;
    const word = HEADER_WORDS + cell * CELL_WORDS + C_REFUSED;
    this.#words[word] = (this.#words[word]! + 1) | 0;
  }
}

function cellEntry({ address }: AddressUsage, cell: number): readonly [Address, number] {
  return [address, cell];
}

/** What a worker has counted, by address; for the thread that reports. */
export function readNatUsage(buffer: SharedArrayBuffer): AddressUsage[] {
  const words = new Int32Array(buffer, 0, NAT_USAGE_BYTES / 4);
  return Array.from({ length: Atomics.load(words, 0) }, (_, cell) => {
    const at = HEADER_WORDS + cell * CELL_WORDS;
    return {
      address: readAddress(words, at),
      inUse: words[at + C_IN_USE]!,
      refused: words[at + C_REFUSED]! >>> 0,
    };
  });
}
