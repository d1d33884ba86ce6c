/**
 * Products: two axes become one whose classes are the pairs of theirs that differ in their lines (recursive flow
 * classification, Gupta and McKeown 1999). A packet then looks one cell up instead of meeting two rows.
 *
 *              | b 0 | b 1 | b 2 |
 *         a 0  |  0  |  1  |  1  |       classes of the product
 *         a 1  |  2  |  1  |  3  |
 */
import type { BitRows } from "./bit-rows.ts";

/** An axis, or a product of such: its place among the classes of a packet, and the row of each class. */
export interface Factor {
  readonly place: number;
  readonly rows: Int32Array;
}

export interface Product extends Factor {
  readonly left: number;
  readonly right: number;
  /** Class by left class * width + right class. */
  readonly cells: Int32Array;
  readonly width: number;
}

/** Multiplies the two smallest factors as long as the product has at most `cellsMax` cells: what is left, and how. */
export function multiply(
  factors: readonly Factor[],
  bits: BitRows,
  cellsMax: number,
): { readonly left: readonly Factor[]; readonly products: readonly Product[] } {
  let place = Math.max(-1, ...factors.map((factor) => factor.place)) + 1;
  const left = [...factors];
  const products: Product[] = [];
  while (left.length > 1) {
    left.sort((a, b) => a.rows.length - b.rows.length);
    const [a, b] = left as [Factor, Factor];
    if (a.rows.length * b.rows.length > cellsMax) break;
    const product = productOf(a, b, place, bits);
    if (product === undefined) break;
    left.splice(0, 2, product);
    products.push(product);
    place++;
  }
  return { left, products };
}

/** undefined when the limits do not allow its rows. */
function productOf(a: Factor, b: Factor, place: number, bits: BitRows): Product | undefined {
  const width = b.rows.length;
  const cells = new Int32Array(a.rows.length * width);
  const mark = bits.mark();
  const classOf = new Map<number, number>();
  for (let i = 0; i < cells.length; i++) {
    const row = bits.intersect(a.rows[Math.floor(i / width)]!, b.rows[i % width]!);
    const known = classOf.get(row);
    cells[i] = known ?? classOf.size;
    if (known === undefined) classOf.set(row, classOf.size);
    if (bits.isOver(mark)) {
      bits.undo(mark);
      return undefined;
    }
  }
  return { place, left: a.place, right: b.place, cells, width, rows: Int32Array.from(classOf.keys()) };
}
