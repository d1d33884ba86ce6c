/**
 * Address map: a small fixed map from IPv4 addresses (signed 32 bits) to numbers >= 0, made once from the policy.
 */
const ABSENT = -1;

export class AddressMap {
  readonly size: number;
  readonly #keys: Int32Array;
  readonly #values: Int32Array;
  readonly #mask: number;

  /** The first value of a repeated address stays. */
  constructor(entries: readonly (readonly [address: number, value: number])[]) {
    const cells = 2 ** Math.ceil(Math.log2(Math.max(4, entries.length * 2)));
    this.#keys = new Int32Array(cells);
    this.#values = new Int32Array(cells).fill(ABSENT);
    this.#mask = cells - 1;
    let size = 0;
    for (const [address, value] of entries) {
      let cell = scatter(address | 0) & this.#mask;
      while (this.#values[cell] !== ABSENT && this.#keys[cell] !== (address | 0))
        cell = (cell + 1) & this.#mask;
      if (this.#values[cell] !== ABSENT) continue;
      this.#keys[cell] = address | 0;
      this.#values[cell] = value;
      size++;
    }
    this.size = size;
  }

  /** The value of an address, or -1. */
  get(address: number): number {
    let cell = scatter(address) & this.#mask;
    let value = this.#values[cell]!;
    while (value !== ABSENT && this.#keys[cell] !== address) {
      cell = (cell + 1) & this.#mask;
      value = this.#values[cell]!;
    }
    return value;
  }
}

function scatter(address: number): number {
  const x = Math.imul(address ^ (address >>> 16), 0x45d9f3b);
  return x ^ (x >>> 15);
}
