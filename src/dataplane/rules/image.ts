/**
 * Image: everything that the classifier looks up in, as plain arrays that any thread can make and any thread can use. Owns how they
 * come about from lines; its parts are made by cuts.ts, axis.ts, product.ts and line-order.ts.
 */
import { Axis } from "./axis.ts";
import { type BitLimits, BitRows } from "./bit-rows.ts";
import { type AddressStarts, cutAddresses, cutValues, type Spans, type ValueCuts } from "./cuts.ts";
import { orderLines } from "./line-order.ts";
import { ADDRESS_FIELDS, type Line, VALUE_FIELDS, WIDE_VALUE_FIELDS } from "./lines.ts";
import { type Factor, multiply, type Product } from "./product.ts";

export interface ClassifierLimits extends BitLimits {
  /** Blocks (1,024 lines of a cell) that one product may take to make. */
  readonly productBlocksMax: number;
}

export const CLASSIFIER_LIMITS: ClassifierLimits = {
  rowBytesMax: 64 << 20,
  blockBytesMax: 128 << 20,
  productBlocksMax: 1 << 16,
};

export const VALUES = VALUE_FIELDS.length;
export const FIELDS = VALUES + ADDRESS_FIELDS.length;
/** A step of a value field: the field, start of its table, its last value. */
export const TABLE_WORDS = 3;
/** A step of a product: places of the result and of its two factors, start of its cells, cells for each left class. */
export const PRODUCT_WORDS = 5;

export interface ClassifierImage {
  /** By field. */
  readonly valueCuts: readonly ValueCuts[];
  readonly addressStarts: readonly AddressStarts[];
  /** Fields whose axis is coarse (mostly none), and which intervals lines want there. */
  readonly coarse: Int32Array;
  readonly coarseSpans: readonly Spans[];
  /** What a look-up does: TABLE_WORDS a value field, an address field, PRODUCT_WORDS a product. */
  readonly tableSteps: Int32Array;
  readonly addressSteps: Int32Array;
  readonly productSteps: Int32Array;
  /** By value, by interval and by cell: the class, or the start of its row when that is what meets. */
  readonly tables: Int32Array;
  readonly byInterval: readonly Int32Array[];
  readonly cells: Int32Array;
  /** Fields and products whose rows meet, those with the fewest lines first. */
  readonly meeting: Int32Array;
  readonly rows: Int32Array;
  readonly blocks: Int32Array;
  /** Bits of a row, and the way from lines to bits and back; by block its first line. */
  readonly bits: number;
  readonly bitOf: Int32Array;
  readonly lineAt: Int32Array;
  readonly firstOf: Int32Array;
}

/** Makes the image of a list of lines. Takes its time: 10,000 rules take a good part of a second. */
export function makeImage(lines: readonly Line[], limits: ClassifierLimits): ClassifierImage {
  const values = VALUE_FIELDS.map(({ last, wanted }) => cutValues(lines.map(wanted), last));
  const addresses = ADDRESS_FIELDS.map((wanted) => cutAddresses(lines.map(wanted)));
  const valueCuts = values.map(({ cuts }) => cuts);
  const spans = [...values, ...addresses].map((each) => each.spans);
  const { bits, bitOf, lineAt, firstOf } = orderLines(lines.length, spans.slice(VALUES - WIDE_VALUE_FIELDS));
  const store = new BitRows(bits, limits);
  // Addresses first, then ports: what tells lines apart best may take most of the memory.
  const axes = spans
    .toReversed()
    .map((one) => new Axis(one, bitOf, store))
    .reverse();
  // An axis of one class says nothing; one row must be left.
  const factors = axes
    .map(({ rows }, place): Factor => ({ place, rows }))
    .filter(({ place, rows }) => rows.length > 1 || place === FIELDS - 1);
  const coarse = Int32Array.from(spans.keys()).filter((field) => axes[field]!.isCoarse);
  const { left, products } = multiply(factors, store, limits.productBlocksMax / Math.max(1, store.blocks));
  const resultOf = (factor: Factor, kind: number): number =>
    left.includes(factor) ? factor.rows[kind]! * store.rowWords : kind;
  const [tableSteps, tables] = tabulate(
    factors.filter(({ place }) => place < VALUES),
    axes,
    valueCuts,
    resultOf,
  );
  const byAddress = factors.filter(({ place }) => place >= VALUES);
  const byInterval = byAddress.map((factor) => {
    const { classes, shift } = axes[factor.place]!;
    const { intervals } = spans[factor.place]!;
    return Int32Array.from({ length: intervals }, (_, i) => resultOf(factor, classes[i >> shift]!));
  });
  const [productSteps, cells] = assemble(products, resultOf);
  const [rows, blocks] = store.seal();
  return {
    valueCuts,
    addressStarts: addresses.map(({ cuts }) => cuts),
    coarse,
    coarseSpans: Array.from(coarse, (field) => spans[field]!),
    tableSteps,
    addressSteps: Int32Array.from(byAddress, ({ place }) => place),
    productSteps,
    tables,
    byInterval,
    cells,
    meeting: Int32Array.from(
      [...left].sort((a, b) => store.density(a.rows) - store.density(b.rows)),
      ({ place }) => place,
    ),
    rows,
    blocks,
    bits,
    bitOf,
    lineAt,
    firstOf,
  };
}

function tabulate(
  factors: readonly Factor[],
  axes: readonly Axis[],
  valueCuts: readonly ValueCuts[],
  resultOf: ResultOf,
): [steps: Int32Array, tables: Int32Array] {
  const steps: number[] = [];
  const tables: number[] = [];
  for (const factor of factors) {
    const { classes, shift } = axes[factor.place]!;
    const { last } = VALUE_FIELDS[factor.place]!;
    steps.push(factor.place, tables.length, last);
    for (let value = 0; value <= last; value++) {
      const interval = valueCuts[factor.place]![value]!;
      tables.push(resultOf(factor, classes[interval >> shift]!));
    }
  }
  return [Int32Array.from(steps), Int32Array.from(tables)];
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
