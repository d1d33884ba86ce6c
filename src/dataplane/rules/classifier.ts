/**
 * Classifier: the first line that a packet matches. Owns the look-up; what it looks up in is made by image.ts.
 *
 *   from zone --------> class --+
 *   protocol ---------> class --+-> product --+-> row  0 0 1 1 0 1 ...
 *   destination port -> class ----------------+
 *   source -----------> interval -----------> class -> row  1 0 1 1 1 1 ...    and, word by word
 *   destination ------> interval -----------> class -> row  0 0 0 1 0 1 ...
 *                                                                 ^ the first line that is in all
 *
 * A row (bit-rows.ts) is the lines that hold for one class of values. Small axes are multiplied, so that few rows meet; with few
 * rules a single one is left. Summaries skip what the rows have not in common, and line-order.ts makes that nearly all.
 */
import { BLOCK_WORDS, OUTLINE_BLOCKS, ROW_SUMMARIES } from "./bit-rows.ts";
import { AddressCuts, findValue, isWantedBy } from "./cuts.ts";
import { type ClassifierImage, FIELDS, PRODUCT_WORDS, TABLE_WORDS, VALUES } from "./image.ts";

/** find() when no line matches: after all lines. */
export const NO_LINE = 0x7fffffff;

export class Classifier {
  /** The values of the packet in hand, in the order of VALUE_FIELDS. */
  readonly values = new Int32Array(VALUES);
  readonly #image: ClassifierImage;
  readonly #addressCuts: readonly AddressCuts[];
  // The image's arrays: see there.
  readonly #coarse: Int32Array;
  readonly #tableSteps: Int32Array;
  readonly #addressSteps: Int32Array;
  readonly #productSteps: Int32Array;
  readonly #tables: Int32Array;
  readonly #byInterval: readonly Int32Array[];
  readonly #cells: Int32Array;
  readonly #meeting: Int32Array;
  readonly #rows: Int32Array;
  readonly #blocks: Int32Array;
  readonly #bitOf: Int32Array;
  readonly #lineAt: Int32Array;
  readonly #firstOf: Int32Array;
  /** Classes of the packet in hand, or the starts of their rows, by field and product. */
  readonly #found = new Int32Array(2 * FIELDS);
  /** Starts of the blocks that meet. */
  readonly #at: Int32Array;
  /** One bit a line: 0 when it does not hold at this time. */
  readonly #awake: Int32Array;

  constructor(image: ClassifierImage) {
    this.#image = image;
    this.#addressCuts = image.addressStarts.map((starts) => new AddressCuts(starts));
    this.#coarse = image.coarse;
    this.#tableSteps = image.tableSteps;
    this.#addressSteps = image.addressSteps;
    this.#productSteps = image.productSteps;
    this.#tables = image.tables;
    this.#byInterval = image.byInterval;
    this.#cells = image.cells;
    this.#meeting = image.meeting;
    this.#rows = image.rows;
    this.#blocks = image.blocks;
    this.#bitOf = image.bitOf;
    this.#lineAt = image.lineAt;
    this.#firstOf = image.firstOf;
    this.#at = new Int32Array(image.meeting.length);
    this.#awake = new Int32Array(image.bits / 32).fill(-1);
  }

  /** Bytes of what a look-up may read. */
  get bytes(): number {
    const arrays = [this.#rows, this.#blocks, this.#tables, this.#cells, this.#lineAt, ...this.#byInterval];
    return arrays.reduce((sum, array) => sum + array.byteLength, 0);
  }

  /** How many rows meet for a packet. */
  get rowsMeeting(): number {
    return this.#meeting.length;
  }

  get coarseAxes(): number {
    return this.#coarse.length;
  }

  /** Lets a line hold, or not, until told otherwise. */
  setAwake(line: number, isAwake: boolean): void {
    const bit = this.#bitOf[line]!;
    const rest = this.#awake[bit >> 5]! & ~(1 << (bit & 31));
    this.#awake[bit >> 5] = isAwake ? rest | (1 << (bit & 31)) : rest;
  }

  /** The first line that holds for `values` and the addresses (source at word 0, destination at word 4), or NO_LINE. */
  find(words: Int32Array): number {
    this.#classify(words);
    const rows = this.#rows;
    const found = this.#found;
    const meeting = this.#meeting;
    const firstOf = this.#firstOf;
    let outline = rows[found[meeting[0]!]!]!;
    for (let i = 1; i < meeting.length; i++) outline &= rows[found[meeting[i]!]!]!;
    let best = NO_LINE;
    for (; outline !== 0; outline &= outline - 1) {
      for (let block = lowestBit(outline); block < firstOf.length; block += OUTLINE_BLOCKS) {
        if (firstOf[block]! > best) continue;
        let summary = -1;
        for (let i = 0; i < meeting.length; i++)
          summary &= rows[found[meeting[i]!]! + ROW_SUMMARIES + block]!;
        if (summary !== 0) best = Math.min(best, this.#findIn(block, summary, words));
      }
    }
    return best;
  }

  /** The first line of one block, of whose words those in `summary` are worth a look. */
  #findIn(block: number, summary: number, words: Int32Array): number {
    const at = this.#at;
    const blocks = this.#blocks;
    const column = ROW_SUMMARIES + this.#firstOf.length + block;
    for (let i = 0; i < at.length; i++) {
      at[i] = this.#rows[this.#found[this.#meeting[i]!]! + column]! * BLOCK_WORDS;
    }
    for (let left = summary; left !== 0; left &= left - 1) {
      const word = lowestBit(left);
      let bits = blocks[at[0]! + word]!;
      for (let i = 1; i < at.length && bits !== 0; i++) bits &= blocks[at[i]! + word]!;
      if (bits === 0) continue;
      const base = block * BLOCK_WORDS + word;
      for (bits &= this.#awake[base]!; bits !== 0; bits &= bits - 1) {
        const line = this.#lineAt[base * 32 + lowestBit(bits)]!;
        if (this.#coarse.length === 0 || this.#isWanted(line, words)) return line;
      }
    }
    return NO_LINE;
  }

  /** Finds the packet's classes and the rows that they lead to. */
  #classify(words: Int32Array): void {
    const found = this.#found;
    const values = this.values;
    const tableSteps = this.#tableSteps;
    const tables = this.#tables;
    for (let i = 0; i < tableSteps.length; i += TABLE_WORDS) {
      const field = tableSteps[i]!;
      const value = values[field]!;
      const last = tableSteps[i + 2]!;
      found[field] = tables[tableSteps[i + 1]! + (value >= 0 && value < last ? value : last)]!;
    }
    for (let i = 0; i < this.#addressSteps.length; i++) {
      const field = this.#addressSteps[i]!;
      found[field] =
        this.#byInterval[i]![this.#addressCuts[field - VALUES]!.find(words, (field - VALUES) * 4)]!;
    }
    const productSteps = this.#productSteps;
    const cells = this.#cells;
    for (let i = 0; i < productSteps.length; i += PRODUCT_WORDS) {
      const cell = found[productSteps[i + 1]!]! * productSteps[i + 4]! + found[productSteps[i + 2]!]!;
      found[productSteps[i]!] = cells[productSteps[i + 3]! + cell]!;
    }
  }

  /** Whether a line wants the packet's values of the coarse fields, too. */
  #isWanted(line: number, words: Int32Array): boolean {
    for (let i = 0; i < this.#coarse.length; i++) {
      const field = this.#coarse[i]!;
      const interval =
        field < VALUES
          ? findValue(this.#image.valueCuts[field]!, this.values[field]!)
          : this.#addressCuts[field - VALUES]!.find(words, (field - VALUES) * 4);
      if (!isWantedBy(this.#image.coarseSpans[i]!, line, interval)) return false;
    }
    return true;
  }
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}
