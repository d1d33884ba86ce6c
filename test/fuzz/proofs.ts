/**
 * Proofs: follows what a node answered to the records of each slot. Owns the judgement that a slot that was sent whole, and of
 * which every record was applied, has the digest that its owner tells.
 */
import {
  OP_BARRIER,
  OP_DIGEST,
  OP_SNAPSHOT_BEGIN,
  OP_SNAPSHOT_END,
  RECORD_OP_AT,
  RECORD_SLOT_AT,
} from "../../src/base/record.ts";
import { REPLICA_APPLIED, REPLICA_DIGEST_BAD } from "../../src/dataplane/replica.ts";

const UNKNOWN = 0;
const BEGUN = 1;
const WHOLE = 2;

export class Proofs {
  readonly #states = new Uint8Array(256);
  /** Digests that had to agree, and did. */
  proven = 0;
  /** A slot whose digest had to agree and did not, or -1. */
  wrongSlot = -1;

  /** A record that its owner had sent was answered with REPLICA_*. */
  heard(record: Uint8Array, status: number): void {
    const slot = record[RECORD_SLOT_AT]!;
    const operation = record[RECORD_OP_AT];
    if (operation === OP_BARRIER) return;
    if (operation === OP_DIGEST) {
      if (this.#states[slot] !== WHOLE) return;
      if (status === REPLICA_DIGEST_BAD) this.wrongSlot = slot;
      else this.proven++;
    } else if (status !== REPLICA_APPLIED) this.#states[slot] = UNKNOWN;
    else if (operation === OP_SNAPSHOT_BEGIN) this.#states[slot] = BEGUN;
    else if (operation === OP_SNAPSHOT_END && this.#states[slot] === BEGUN) this.#states[slot] = WHOLE;
  }

  /** Records were lost or made up, or somebody else decides: nothing is known of any slot. */
  forget(): void {
    this.#states.fill(UNKNOWN);
    this.wrongSlot = -1;
  }
}
