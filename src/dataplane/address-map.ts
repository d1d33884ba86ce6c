/**
 * Address map: a small fixed map from addresses of both families to numbers >= 0, made once from the policy.
 */
import { ADDRESS_WORDS, type Address, addressWords, isSameAddress } from "../base/address.ts";

const ABSENT = -1;

export class AddressMap {
  readonly size: number;
  /** Four words a cell. */
  readonly #keys: Int32Array;
  readonly #values: Int32Array;
  readonly #mask: number;

  /** The first value of a repeated address stays. */
  constructor(entries: readonly (readonly [address: Address, value: number])[]) {
    const cells = 2 ** Math.ceil(Math.log2(Math.max(4, entries.length * 2)));
    this.#keys = new Int32Array(cells * ADDRESS_WORDS);
    this.#values = new Int32Array(cells).fill(ABSENT);
    this.#mask = cells - 1;
    let size = 0;
    for (const [address, value] of entries) {
      const words = addressWords(address);
      if (this.get(words, 0) !== ABSENT) continue;
      let cell = scatter(words, 0) & this.#mask;
      while (this.#values[cell] !== ABSENT) cell = (cell + 1) & this.#mask;
      this.#keys.set(words, cell * ADDRESS_WORDS);
      this.#values[cell] = value;
      size++;
    }
    this.size = size;
  }

  /** The value of the address at `words[at]`, or -1. */
  get(words: Int32Array, at: number): number {
    let cell = scatter(words, at) & this.#mask;
    let value = this.#values[cell]!;
    while (value !== ABSENT && !isSameAddress(this.#keys, cell * ADDRESS_WORDS, words, at)) {
      cell = (cell + 1) & this.#mask;
      value = this.#values[cell]!;
    }
    return value;
  }
}

function scatter(words: Int32Array, at: number): number {
  const folded =
    words[at]! ^
    Math.imul(words[at + 1]!, 0x9e3779b1) ^
    Math.imul(words[at + 2]!, 0x85ebca6b) ^
    words[at + 3]!;
  const x = Math.imul(folded ^ (folded >>> 16), 0x45d9f3b);
  return x ^ (x >>> 15);
}
