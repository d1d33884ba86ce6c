/**
 * Classifier: the first line that a packet matches. Owns the look-up; its parts are made by cuts.ts, axis.ts and product.ts.
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
import { Axis } from "./axis.ts";
import { type BitLimits, BitRows, BLOCK_WORDS, OUTLINE_BLOCKS, ROW_SUMMARIES } from "./bit-rows.ts";
import { AddressCuts, ValueCuts } from "./cuts.ts";
import { orderLines } from "./line-order.ts";
import { ADDRESS_FIELDS, type Line, VALUE_FIELDS, WIDE_VALUE_FIELDS } from "./lines.ts";
import { type Factor, multiply, type Product } from "./product.ts";

/** find() when no line matches: after all lines. */
export const NO_LINE = 0x7fffffff;

export interface ClassifierLimits extends BitLimits {
  /** Blocks (1,024 lines of a cell) that one product may take to make. */
  readonly productBlocksMax: number;
}

export const CLASSIFIER_LIMITS: ClassifierLimits = {
  rowBytesMax: 64 << 20,
  blockBytesMax: 128 << 20,
  productBlocksMax: 1 << 16,
};

const VALUES = VALUE_FIELDS.length;
const FIELDS = VALUES + ADDRESS_FIELDS.length;
/** A step of a value field: the field, start of its table, its last value. */
const TABLE_WORDS = 3;
/** A step of a product: places of the result and of its two factors, start of its cells, cells for each left class. */
const PRODUCT_WORDS = 5;

export class Classifier {
  /** The values of the packet in hand, in the order of VALUE_FIELDS. */
  readonly values = new Int32Array(VALUES);
  readonly #valueCuts: readonly ValueCuts[];
  readonly #addressCuts: readonly AddressCuts[];
  readonly #axes: readonly Axis[];
  /** Fields whose axis is coarse: mostly none. */
  readonly #coarse: Int32Array;
  /** What a look-up does: TABLE_WORDS a value field, an address field, PRODUCT_WORDS a product. */
  readonly #tableSteps: Int32Array;
  readonly #addressSteps: Int32Array;
  readonly #productSteps: Int32Array;
  /** By value, by interval and by cell: the class, or the start of its row when that is what meets. */
  readonly #tables: Int32Array;
  readonly #byInterval: readonly Int32Array[];
  readonly #cells: Int32Array;
  /** The same of the packet in hand, by field and product. */
  readonly #found = new Int32Array(2 * FIELDS);
  /** Fields and products whose rows meet, those with the fewest lines first. */
  readonly #meeting: Int32Array;
  /** Starts of the blocks that meet. */
  readonly #at: Int32Array;
  readonly #rows: Int32Array;
  readonly #blocks: Int32Array;
  /** One bit a line: 0 when it does not hold at this time. */
  readonly #awake: Int32Array;
  readonly #bitOf: Int32Array;
  readonly #lineAt: Int32Array;
  readonly #firstOf: Int32Array;

  constructor(lines: readonly Line[], limits: ClassifierLimits) {
    this.#valueCuts = VALUE_FIELDS.map(({ last, wanted }) => new ValueCuts(lines.map(wanted), last));
    this.#addressCuts = ADDRESS_FIELDS.map((wanted) => new AddressCuts(lines.map(wanted)));
    const spans = [...this.#valueCuts, ...this.#addressCuts].map((cuts) => cuts.spans);
    const order = orderLines(lines.length, spans.slice(VALUES - WIDE_VALUE_FIELDS));
    this.#bitOf = order.bitOf;
    this.#lineAt = order.lineAt;
    this.#firstOf = order.firstOf;
    this.#awake = new Int32Array(order.bits / 32).fill(-1);
    const bits = new BitRows(order.bits, limits);
    // Addresses first, then ports: what tells lines apart best may take most of the memory.
    this.#axes = spans
      .toReversed()
      .map((one) => new Axis(one, order.bitOf, bits))
      .reverse();
    // An axis of one class says nothing; one row must be left.
    const factors = this.#axes
      .map(({ rows }, place): Factor => ({ place, rows }))
      .filter(({ place, rows }) => rows.length > 1 || place === FIELDS - 1);
    this.#coarse = Int32Array.from(spans.keys()).filter((field) => this.#axes[field]!.isCoarse);
    const { left, products } = multiply(factors, bits, limits.productBlocksMax / Math.max(1, bits.blocks));
    const meeting = [...left].sort((a, b) => bits.density(a.rows) - bits.density(b.rows));
    this.#meeting = Int32Array.from(meeting, ({ place }) => place);
    this.#at = new Int32Array(meeting.length);
    const resultOf = (factor: Factor, kind: number): number =>
      left.includes(factor) ? factor.rows[kind]! * bits.rowWords : kind;
    const values = factors.filter(({ place }) => place < VALUES);
    [this.#tableSteps, this.#tables] = this.#tabulate(values, resultOf);
    const addresses = factors.filter(({ place }) => place >= VALUES);
    this.#addressSteps = Int32Array.from(addresses, ({ place }) => place);
    this.#byInterval = addresses.map((factor) => {
      const axis = this.#axes[factor.place]!;
      return Int32Array.from({ length: spans[factor.place]!.intervals }, (_, interval) =>
        resultOf(factor, axis.classes[interval >> axis.shift]!),
      );
    });
    [this.#productSteps, this.#cells] = assemble(products, resultOf);
    [this.#rows, this.#blocks] = bits.seal();
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
          ? this.#valueCuts[field]!.find(this.values[field]!)
          : this.#addressCuts[field - VALUES]!.find(words, (field - VALUES) * 4);
      if (!this.#axes[field]!.holds(line, interval)) return false;
    }
    return true;
  }

  #tabulate(factors: readonly Factor[], resultOf: ResultOf): [steps: Int32Array, tables: Int32Array] {
    const steps: number[] = [];
    const tables: number[] = [];
    for (const factor of factors) {
      const { classes, shift } = this.#axes[factor.place]!;
      const { last } = VALUE_FIELDS[factor.place]!;
      steps.push(factor.place, tables.length, last);
      for (let value = 0; value <= last; value++) {
        const interval = this.#valueCuts[factor.place]!.find(value);
        tables.push(resultOf(factor, classes[interval >> shift]!));
      }
    }
    return [Int32Array.from(steps), Int32Array.from(tables)];
  }
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** What stands for a class of a factor: itself, or the start of its row. */
type ResultOf = (factor: Factor, kind: number) => number;

function assemble(products: readonly Product[], resultOf: ResultOf): [steps: Int32Array, cells: Int32Array] {
  const steps: number[] = [];
  let at = 0;
  for (const { place, left, right, cells, width } of products) {
    steps.push(place, left, right, at, width);
    at += cells.length;
  }
  const all = new Int32Array(at);
  products.forEach((product, i) => {
    all.set(
      product.cells.map((kind) => resultOf(product, kind)),
      steps[i * PRODUCT_WORDS + 3],
    );
  });
  return [Int32Array.from(steps), all];
}
