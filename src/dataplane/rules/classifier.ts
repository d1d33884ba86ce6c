/**
 * Classifier: the first line that a packet matches. Owns the look-up; its parts are made by cuts.ts, axis.ts and product.ts.
 *
 *   from zone ------> class --+
 *   protocol -------> class --+-> product --+-> class --> row  0 0 1 1 0 1 ...
 *   destination port> class ----------------+
 *   source ---------> interval -> class ----------------> row  1 0 1 1 1 1 ...    and, word by word
 *   destination ----> interval -> class ----------------> row  0 0 0 1 0 1 ...
 *                                                                    ^ the first line that is in all
 *
 * Small axes are multiplied, so that few rows are left to meet; with few rules a single one. Rows have summaries (bit-rows.ts):
 * 1,024 lines of which none is in all rows mostly cost one word of each.
 */
import { Axis } from "./axis.ts";
import { type BitLimits, BitRows, BLOCK_WORDS } from "./bit-rows.ts";
import { AddressCuts, ValueCuts } from "./cuts.ts";
import { ADDRESS_FIELDS, type Line, VALUE_FIELDS } from "./lines.ts";
import { multiply } from "./product.ts";

/** find() when no line matches. */
export const NO_LINE = -1;

export interface ClassifierLimits extends BitLimits {
  /** Blocks (1,024 lines of a cell) that one product may take to make. */
  readonly productBlocksMax: number;
}

export const CLASSIFIER_LIMITS: ClassifierLimits = {
  rowBytesMax: 64 << 20,
  blockBytesMax: 128 << 20,
  productBlocksMax: 1 << 19,
};

const FIELDS = VALUE_FIELDS.length + ADDRESS_FIELDS.length;

/** A step of a value field: field, start of its table, last value. */
const LEAF_WORDS = 3;
/** A step of a product: where its class goes, places of its factors, start of its cells, width. */
const STEP_WORDS = 5;

export class Classifier {
  /** The values of a packet, in the order of VALUE_FIELDS. */
  readonly values = new Int32Array(VALUE_FIELDS.length);
  /** One bit a line: 0 when it does not hold now. */
  readonly awake: Int32Array;
  readonly #valueCuts: readonly ValueCuts[];
  readonly #addressCuts: readonly AddressCuts[];
  readonly #axes: readonly Axis[];
  readonly #coarse: Int32Array;
  readonly #leaves: Int32Array;
  readonly #tables: Uint16Array;
  readonly #steps: Int32Array;
  readonly #cells: Int32Array;
  readonly #addressFields: readonly number[];
  readonly #addressClasses: readonly Int32Array[];
  /** What is left of axes and products: places, and by class the start of the row. */
  readonly #places: Int32Array;
  readonly #starts: readonly Int32Array[];
  readonly #rows: Int32Array;
  readonly #blocks: Int32Array;
  readonly #blocksPerRow: number;
  /** Of the packet in hand: classes by place, starts of the rows that meet and of their blocks. */
  readonly #classes = new Int32Array(2 * FIELDS);
  readonly #meeting: Int32Array;
  readonly #at: Int32Array;
  visited = 0;

  constructor(lines: readonly Line[], limits: ClassifierLimits) {
    const bits = new BitRows(lines.length, limits);
    this.awake = new Int32Array(bits.blocks * BLOCK_WORDS).fill(-1);
    this.#valueCuts = VALUE_FIELDS.map(({ last, wanted }) => new ValueCuts(lines.map(wanted), last));
    this.#addressCuts = ADDRESS_FIELDS.map((wanted) => new AddressCuts(lines.map(wanted)));
    const cuts = [...this.#valueCuts, ...this.#addressCuts];
    // Addresses first, then ports: what tells lines apart best gets most of the memory.
    this.#axes = cuts
      .toReversed()
      .map(({ spans }) => new Axis(spans, bits))
      .reverse();
    const factors = this.#axes
      .map(({ rows }, place) => ({ place, rows }))
      .filter(({ rows }, field) => rows.length > 1 || field === FIELDS - 1);
    const telling = factors.map(({ place }) => place);
    this.#coarse = Int32Array.from(cuts.keys()).filter((field) => this.#axes[field]!.isCoarse);
    const leaves: number[] = [];
    const tables: number[] = [];
    for (const field of telling.filter((field) => field < VALUE_FIELDS.length)) {
      const { last } = VALUE_FIELDS[field]!;
      const { classes, shift } = this.#axes[field]!;
      leaves.push(field, tables.length, last);
      for (let value = 0; value <= last; value++) {
        tables.push(classes[this.#valueCuts[field]!.find(value) >> shift]!);
      }
    }
    this.#leaves = Int32Array.from(leaves);
    this.#tables = Uint16Array.from(tables);
    this.#addressFields = telling.filter((field) => field >= VALUE_FIELDS.length);
    this.#addressClasses = this.#addressFields.map((field) => {
      const { classes, shift } = this.#axes[field]!;
      return Int32Array.from({ length: cuts[field]!.spans.intervals }, (_, i) => classes[i >> shift]!);
    });
    const { left, products } = multiply(factors, bits, limits.productBlocksMax / Math.max(1, bits.blocks));
    const steps: number[] = [];
    let cells = 0;
    for (const product of products) {
      steps.push(product.place, product.left, product.right, cells, product.width);
      cells += product.cells.length;
    }
    this.#steps = Int32Array.from(steps);
    this.#cells = new Int32Array(cells);
    products.forEach((product, i) => this.#cells.set(product.cells, steps[i * STEP_WORDS + 3]!));
    const sealed = bits.seal();
    this.#rows = sealed.rows;
    this.#blocks = sealed.blocks;
    this.#blocksPerRow = bits.blocks;
    const weigh = (factor: (typeof left)[number]): number => {
      let sum = 0;
      for (const row of factor.rows)
        for (let b = 0; b < bits.blocks; b++) sum += ones(this.#rows[row * bits.rowWords + b]!);
      return sum / factor.rows.length;
    };
    const ordered = left
      .map((f) => [weigh(f), f] as const)
      .sort((a, b) => a[0] - b[0])
      .map(([, f]) => f);
    this.#places = Int32Array.from(ordered, ({ place }) => place);
    this.#starts = ordered.map(({ rows }) => rows.map((row) => row * bits.rowWords));
    this.#meeting = new Int32Array(left.length);
    this.#at = new Int32Array(left.length);
  }

  /** Bytes of what a look-up may read. */
  get bytes(): number {
    const arrays = [
      this.#rows,
      this.#blocks,
      ...this.#starts,
      this.#cells,
      this.#tables,
      ...this.#addressClasses,
    ];
    return arrays.reduce((sum, array) => sum + array.byteLength, 0);
  }

  /** Rows that meet, and axes that are coarse. */
  get shape(): string {
    return `${this.#places.length} rows meet, ${this.#coarse.length} axes coarse`;
  }

  /** The first line that matches `values` and the addresses (source at word 0, destination at word 4), or NO_LINE. */
  find(words: Int32Array): number {
    this.#classify(words);
    const rows = this.#rows;
    const meeting = this.#meeting;
    const count = meeting.length;
    for (let block = 0; block < this.#blocksPerRow; block++) {
      let summary = rows[meeting[0]! + block]!;
      for (let i = 1; i < count; i++) summary &= rows[meeting[i]! + block]!;
      if (summary === 0) continue;
      const line = this.#findIn(block, summary, words);
      if (line !== NO_LINE) return line;
    }
    return NO_LINE;
  }

  #findIn(block: number, summary: number, words: Int32Array): number {
    const at = this.#at;
    const count = at.length;
    const blocks = this.#blocks;
    const column = this.#blocksPerRow + block;
    for (let i = 0; i < count; i++) at[i] = this.#rows[this.#meeting[i]! + column]! * BLOCK_WORDS;
    const base = block * BLOCK_WORDS;
    while (summary !== 0) {
      const word = 31 - Math.clz32(summary & -summary);
      summary &= summary - 1;
      let lines = blocks[at[0]! + word]!;
      for (let i = 1; i < count && lines !== 0; i++) lines &= blocks[at[i]! + word]!;
      if (lines === 0) continue;
      lines &= this.awake[base + word]!;
      while (lines !== 0) {
        const line = (base + word) * 32 + 31 - Math.clz32(lines & -lines);
        if (this.#coarse.length === 0 || this.#isWanted(line, words)) return line;
        lines &= lines - 1;
      }
    }
    return NO_LINE;
  }

  /** Finds the classes of the packet's fields and the rows that they lead to. */
  #classify(words: Int32Array): void {
    const classes = this.#classes;
    const leaves = this.#leaves;
    const values = this.values;
    for (let i = 0; i < leaves.length; i += LEAF_WORDS) {
      const field = leaves[i]!;
      const value = values[field]!;
      const last = leaves[i + 2]!;
      classes[field] = this.#tables[leaves[i + 1]! + (value >= 0 && value < last ? value : last)]!;
    }
    for (let i = 0; i < this.#addressFields.length; i++) {
      const field = this.#addressFields[i]!;
      const n = field - VALUE_FIELDS.length;
      classes[field] = this.#addressClasses[i]![this.#addressCuts[n]!.find(words, 4 * n)]!;
    }
    const steps = this.#steps;
    for (let i = 0; i < steps.length; i += STEP_WORDS) {
      const left = classes[steps[i + 1]!]!;
      classes[steps[i]!] = this.#cells[steps[i + 3]! + left * steps[i + 4]! + classes[steps[i + 2]!]!]!;
    }
    for (let i = 0; i < this.#places.length; i++) {
      this.#meeting[i] = this.#starts[i]![classes[this.#places[i]!]!]!;
    }
  }

  /** Whether the line wants the packet's values of the coarse axes, too. */
  #isWanted(line: number, words: Int32Array): boolean {
    for (let i = 0; i < this.#coarse.length; i++) {
      const field = this.#coarse[i]!;
      const n = field - VALUE_FIELDS.length;
      const interval =
        n < 0 ? this.#valueCuts[field]!.find(this.values[field]!) : this.#addressCuts[n]!.find(words, 4 * n);
      if (!this.#axes[field]!.holds(line, interval)) return false;
    }
    return true;
  }
}

function ones(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}
