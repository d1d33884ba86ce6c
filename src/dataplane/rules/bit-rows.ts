/**
 * Bit rows: sets of lines (one bit a line) that share what they have in common. Owns their storage and their intersection
 * while a table is built; classifier.ts reads the arrays when packets pass. Knows nothing of rules or fields.
 *
 *   row     | outline | summary 0 | summary 1 | ... | block 0 | block 1 | ... |     one summary and one block for 1,024 lines
 *                |            |                          |
 *                |            | bit i: word i is not 0   v
 *                |    block                       | word 0 | word 1 | ... | word 31 |   bit j of word i: line 32 i + j is in
 *                | bit b: a summary of block b, b + 32, b + 64 ... is not 0
 *
 * Equal blocks are stored once, and so are equal rows: the lines that match any value are in every row of a field, but their
 * blocks are in memory once. Block 0 is empty.
 */

export const BLOCK_LINES = 1024;
export const BLOCK_WORDS = 32;
/** Blocks that a bit of the outline stands for are that many apart. */
export const OUTLINE_BLOCKS = 32;
/** First summary of a row. */
export const ROW_SUMMARIES = 1;

/** What rows and blocks may take in memory. */
export interface BitLimits {
  readonly rowBytesMax: number;
  readonly blockBytesMax: number;
}

/** What was stored at a time, and what may be at most by those who go on from there. */
export interface BitMark {
  readonly rows: number;
  readonly blocks: number;
  readonly rowsMax: number;
  readonly blocksMax: number;
}

export class BitRows {
  /** Blocks of a row. */
  readonly blocks: number;
  /** Words of a row. */
  readonly rowWords: number;
  readonly #limits: BitLimits;
  readonly #content = new WordPool(BLOCK_WORDS);
  readonly #rows: WordPool;
  /** By block. */
  readonly #summaries: number[] = [];
  /** The row that is being put together, and a block. */
  readonly #draft: Int32Array;
  readonly #block = new Int32Array(BLOCK_WORDS);

  constructor(lines: number, limits: BitLimits) {
    this.blocks = Math.ceil(lines / BLOCK_LINES);
    this.rowWords = ROW_SUMMARIES + 2 * this.blocks;
    this.#limits = limits;
    this.#rows = new WordPool(this.rowWords);
    this.#draft = new Int32Array(this.rowWords);
    this.#internBlock(this.#block, 0);
  }

  /** Before something is added: it may take half of what is left. */
  mark(): BitMark {
    const rows = this.#rows.count;
    const blocks = this.#content.count;
    const { rowBytesMax, blockBytesMax } = this.#limits;
    return {
      rows,
      blocks,
      rowsMax: (rows + rowBytesMax / (4 * this.rowWords)) / 2,
      blocksMax: (blocks + blockBytesMax / (4 * BLOCK_WORDS)) / 2,
    };
  }

  /** Whether more was added than the mark allows: it is to be undone, and done with less (axis.ts, product.ts). */
  isOver(mark: BitMark): boolean {
    return this.#rows.count > mark.rowsMax || this.#content.count > mark.blocksMax;
  }

  /** Forgets all rows and blocks since the mark. */
  undo({ rows, blocks }: BitMark): void {
    this.#rows.truncate(rows);
    this.#content.truncate(blocks);
    this.#summaries.length = blocks;
  }

  /** Sets one block of the draft from a set of lines as plain words. */
  draw(block: number, lines: Int32Array): void {
    this.#set(block, this.#internBlock(lines, block * BLOCK_WORDS));
  }

  /** The row that the draft is: an equal one if there is. */
  store(): number {
    let outline = 0;
    for (let block = 0; block < this.blocks; block++) {
      if (this.#draft[ROW_SUMMARIES + block] !== 0) outline |= 1 << (block % OUTLINE_BLOCKS);
    }
    this.#draft[0] = outline;
    return this.#rows.intern(this.#draft, 0);
  }

  /** The row of the lines that are in both rows. */
  intersect(a: number, b: number): number {
    if (a === b) return a;
    const rows = this.#rows.words;
    for (let block = 0; block < this.blocks; block++) {
      const column = ROW_SUMMARIES + this.blocks + block;
      this.#set(block, this.#and(rows[a * this.rowWords + column]!, rows[b * this.rowWords + column]!));
    }
    return this.store();
  }

  /** How many words of a row are not zero, on average. */
  density(rows: Int32Array): number {
    let words = 0;
    for (const row of rows) {
      for (let block = 0; block < this.blocks; block++) {
        for (
          let left = this.#rows.words[row * this.rowWords + ROW_SUMMARIES + block]!;
          left !== 0;
          left &= left - 1
        )
          words++;
      }
    }
    return words / rows.length;
  }

  /** All rows and all blocks, one after the other. */
  seal(): [rows: Int32Array, blocks: Int32Array] {
    return [this.#rows.sealed(), this.#content.sealed()];
  }

  #and(a: number, b: number): number {
    if (a === b) return a;
    if (a === 0 || b === 0) return 0;
    const words = this.#content.words;
    const block = this.#block;
    let some = 0;
    for (let i = 0; i < BLOCK_WORDS; i++) {
      const word = words[a * BLOCK_WORDS + i]! & words[b * BLOCK_WORDS + i]!;
      block[i] = word;
      some |= word;
    }
    return some === 0 ? 0 : this.#internBlock(block, 0);
  }

  #set(block: number, id: number): void {
    this.#draft[ROW_SUMMARIES + block] = this.#summaries[id]!;
    this.#draft[ROW_SUMMARIES + this.blocks + block] = id;
  }

  #internBlock(words: Int32Array, at: number): number {
    const id = this.#content.intern(words, at);
    if (id < this.#summaries.length) return id;
    let summary = 0;
    for (let i = 0; i < BLOCK_WORDS; i++) if (words[at + i] !== 0) summary |= 1 << i;
    this.#summaries.push(summary);
    return id;
  }
}

/** Groups of words of one width, equal ones stored once, numbered from 0 as they come. */
class WordPool {
  words: Int32Array;
  count = 0;
  readonly #width: number;
  /** Open addressing by hash: number + 1, or 0. At most half full. */
  #cells = new Int32Array(256);

  constructor(width: number) {
    this.#width = width;
    this.words = new Int32Array(width * 64);
  }

  intern(from: Int32Array, at: number): number {
    const mask = this.#cells.length - 1;
    let cell = this.#hash(from, at) & mask;
    for (let found = this.#cells[cell]!; found !== 0; found = this.#cells[cell]!) {
      if (this.#isEqual((found - 1) * this.#width, from, at)) return found - 1;
      cell = (cell + 1) & mask;
    }
    const id = this.count++;
    if (this.count * this.#width > this.words.length) {
      const words = new Int32Array(2 * this.words.length);
      words.set(this.words);
      this.words = words;
    }
    for (let i = 0; i < this.#width; i++) this.words[id * this.#width + i] = from[at + i]!;
    this.#cells[cell] = id + 1;
    if (2 * this.count > mask) this.#rehash(2 * this.#cells.length);
    return id;
  }

  truncate(count: number): void {
    this.count = count;
    this.#rehash(this.#cells.length);
  }

  sealed(): Int32Array {
    return this.words.slice(0, this.count * this.#width);
  }

  #rehash(cells: number): void {
    this.#cells = new Int32Array(cells);
    for (let id = 0; id < this.count; id++) {
      let cell = this.#hash(this.words, id * this.#width) & (cells - 1);
      while (this.#cells[cell] !== 0) cell = (cell + 1) & (cells - 1);
      this.#cells[cell] = id + 1;
    }
  }

  #hash(words: Int32Array, at: number): number {
    let hash = 0;
    for (let i = 0; i < this.#width; i++) {
      hash = Math.imul(hash ^ words[at + i]!, 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return hash;
  }

  #isEqual(own: number, from: Int32Array, at: number): boolean {
    for (let i = 0; i < this.#width; i++) if (this.words[own + i] !== from[at + i]) return false;
    return true;
  }
}
