/**
 * Records: what a replication stream may bring that no node has said: damaged, repeated and missing records. A number decides
 * all of it, so that both pairs of engines hear the same.
 */
import { seededRandom } from "../../src/base/env.ts";
import { RECORD_BYTES } from "../../src/base/record.ts";
import type { Random } from "./mutate.ts";

const REMEMBERED_MAX = 16;
/** Offsets whose bytes say how the rest is read: operation, wire, slot, epoch, family, protocol, flags, zones, rule, state, time left. */
const TELLING = [0, 1, 2, 3, 12, 13, 16, 17, 18, 19, 20, 21, 22, 23, 96, 97, 98, 99, 100, 103];
const VALUES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 17, 58, 63, 64, 127, 128, 200, 203, 205, 206, 209, 255];

export class Forger {
  readonly #remembered: Uint8Array[] = [];

  /** The records to apply in place of `records`, of RECORD_BYTES each. */
  forge(records: readonly Uint8Array[], seed: number): Uint8Array[] {
    const random = seededRandom(seed);
    const told: Uint8Array[] = [];
    for (const record of records) {
      const fate = random(8);
      // Of two that are lost, one comes late.
      if (fate > 1) told.push(fate > 4 ? record : damaged(record, random, this.#other(random, record)));
      if (fate !== 0) this.#remember(record, random);
      if (random(6) === 0) told.push(this.#other(random, record));
      if (random(6) === 0) told.push(damaged(this.#other(random, record), random, record));
    }
    return told;
  }

  #remember(record: Uint8Array, random: Random): void {
    if (this.#remembered.length < REMEMBERED_MAX) this.#remembered.push(record);
    else this.#remembered[random(REMEMBERED_MAX)] = record;
  }

  #other(random: Random, record: Uint8Array): Uint8Array {
    return this.#remembered[random(Math.max(1, this.#remembered.length))] ?? record;
  }
}

function damaged(record: Uint8Array, random: Random, other: Uint8Array): Uint8Array {
  const b = record.slice();
  for (let edits = 1 + random(3); edits > 0; edits--) damage(b, random, other);
  return b;
}

function damage(b: Uint8Array, random: Random, other: Uint8Array): void {
  const at = random(RECORD_BYTES);
  switch (random(9)) {
    case 0:
      b[at]! ^= 1 << random(8);
      break;
    case 1:
      b[at] = random(256);
      break;
    case 2:
      b.set(other.subarray(at), at);
      break;
    // One tuple becomes the other, with its ports.
    case 3:
      b.copyWithin(24, 56, 88);
      b.copyWithin(88, 92, 96);
      break;
    case 4:
      b.copyWithin(56 + 16 * random(2), 24 + 16 * random(2), 40);
      break;
    // Flags, the family's bits and the version alone.
    case 5:
      b[18 + random(2)]! ^= 1 << random(8);
      break;
    case 6:
      b[16]! ^= 1 << random(8);
      break;
    case 7:
      b[8]! += random(5) - 2;
      break;
    default:
      b[TELLING[random(TELLING.length)]!] = VALUES[random(VALUES.length)]!;
  }
}
