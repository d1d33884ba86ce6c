/**
 * Wire format: which version of records two builds speak with each other, and how records of one become those of another.
 * Owns the list of versions, the choice and the conversion; what fields mean is the dataplane's (src/dataplane/flow-record.ts).
 *
 *   version n      | header 16 | fields of n            |
 *   version n + 1  | header 16 | fields of n            | what n + 1 adds |
 *
 * The rule that a new version has to keep: it adds at the end, and what it adds may be zero. So a record is cut to become an older
 * one, and filled up with zeros to become a newer one; the header, and all that a slot's digest covers, are the same in all versions.
 *
 * The sender offers its newest version in the hello; the receiver answers with the newest that it knows too, and the sender speaks
 * that. A build that is too old to choose refuses instead: then the next hello offers one version less.
 */
import { RECORD_BYTES, RECORD_WIRE_AT, RECORD_WIRE_VERSION } from "../../src/base/record.ts";

export interface RecordFormat {
  readonly version: number;
  readonly bytes: number;
  /** What the rings hold, when it is not the newest: its fields are all that the dataplane of this build knows. */
  readonly isOfRings?: true;
}

/** All versions that this build reads and writes, oldest first; the last is that of its own records. */
export const RECORD_FORMATS: readonly RecordFormat[] = [
  { version: RECORD_WIRE_VERSION, bytes: RECORD_BYTES },
];

const SLAB_BYTES_MAX = 65_536;

/** A batch's slab is at most 64 KiB of whole records. */
export function recordsPerBatch(bytes: number): number {
  return Math.floor(SLAB_BYTES_MAX / bytes);
}

export class WireFormats {
  /** The newest, which is offered first. */
  readonly newest: RecordFormat;
  /** That of the rings, and of the backlog: what the dataplane of this build writes and reads. */
  readonly own: RecordFormat;
  readonly #formats: readonly RecordFormat[];

  constructor(formats: readonly RecordFormat[] = RECORD_FORMATS) {
    this.#formats = formats;
    this.newest = formats.at(-1)!;
    this.own = formats.find(({ isOfRings }) => isOfRings === true) ?? this.newest;
  }

  /** Records that one batch holds, whichever version is spoken. */
  get recordsPerBatch(): number {
    return recordsPerBatch(Math.max(...this.#formats.map(({ bytes }) => bytes)));
  }

  /** Exactly this version; undefined when it is not known. */
  find(version: number): RecordFormat | undefined {
    return this.#formats.find((format) => format.version === version);
  }

  /** The newest that is known and not newer than what the other offers; undefined when there is none. */
  choose(offered: number): RecordFormat | undefined {
    return this.#formats.findLast((format) => format.version <= offered);
  }

  /** The next older one; undefined when there is none. */
  below(format: RecordFormat): RecordFormat | undefined {
    return this.choose(format.version - 1);
  }
}

/** The records of a slab in another format, in memory of their own; the slab itself when the formats are the same. */
export function convert(slab: Uint8Array, from: RecordFormat, to: RecordFormat): Uint8Array {
  if (from.version === to.version) return slab;
  const count = slab.length / from.bytes;
  const kept = Math.min(from.bytes, to.bytes);
  const out = new Uint8Array(count * to.bytes);
  for (let i = 0; i < count; i++) {
    out.set(slab.subarray(i * from.bytes, i * from.bytes + kept), i * to.bytes);
    out[i * to.bytes + RECORD_WIRE_AT] = to.version;
  }
  return out;
}
