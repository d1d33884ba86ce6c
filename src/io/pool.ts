/**
 * Chunk pool: owns who holds each chunk of a worker's frame memory: the pool itself, the caller, or a kernel queue.
 * Free chunks are a stack, so that one that was just given back, and is still in the cache, goes out first.
 *
 *   free: | 7 | 2 | 9 | 4 | . . . |     alloc() takes the top, free() puts on top
 *                       ^ count
 */
import { assert } from "../base/assert.ts";
import { CHUNK_BYTES, type FramePool, HEADROOM_BYTES } from "./port.ts";

const CHUNK_SHIFT = Math.log2(CHUNK_BYTES);
const FREE = 0;
const OUT = 1;
/** Holders from here on are lenders' numbers: see lend(). */
const LENT = 2;
const HOLDERS_MAX = 256;

/** Free list over any memory: an ArrayBuffer, or a UMEM that the kernel sees too. */
export class ChunkPool implements FramePool {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly chunkBytes = CHUNK_BYTES;
  readonly chunks: number;
  /** Called when alloc() finds no chunk: collects what the kernel finished but nobody asked for yet. */
  reclaim: (() => void) | undefined;
  readonly #free: Uint32Array;
  readonly #holder: Uint8Array;
  #count = 0;
  #exhausted = 0;
  #holders = LENT;

  constructor(memory: ArrayBuffer) {
    assert(memory.byteLength % CHUNK_BYTES === 0, "pool memory is not a multiple of the chunk size");
    this.bytes = new Uint8Array(memory);
    this.view = new DataView(memory);
    this.chunks = memory.byteLength / CHUNK_BYTES;
    this.#free = new Uint32Array(this.chunks);
    this.#holder = new Uint8Array(this.chunks);
    for (let chunk = this.chunks - 1; chunk >= 0; chunk--) this.#free[this.#count++] = chunk;
  }

  alloc(): number {
    if (this.#count === 0) {
      this.reclaim?.();
      if (this.#count === 0) {
        this.#exhausted++;
        return -1;
      }
    }
    const chunk = this.#free[--this.#count]!;
    this.#holder[chunk] = OUT;
    return chunk * CHUNK_BYTES + HEADROOM_BYTES;
  }

  free(at: number): void {
    const chunk = at >>> CHUNK_SHIFT;
    // Freed twice, or after send(): two owners would write into one frame.
    if (this.#holder[chunk] !== OUT) failOwnership(at);
    this.#holder[chunk] = FREE;
    this.#free[this.#count++] = chunk;
  }

  available(): number {
    return this.#count;
  }

  exhausted(): number {
    return this.#exhausted;
  }

  /** A number for one who borrows chunks for longer: a kernel queue. */
  addHolder(): number {
    assert(this.#holders < HOLDERS_MAX, `more than ${HOLDERS_MAX - LENT} queues on one pool`);
    return this.#holders++;
  }

  /** The caller's chunk goes to `holder`. */
  lend(at: number, holder: number): void {
    const chunk = at >>> CHUNK_SHIFT;
    if (this.#holder[chunk] !== OUT) failOwnership(at);
    this.#holder[chunk] = holder;
  }

  /** A free chunk's start goes to `holder`; -1 when there is none. Not counted as exhausted. */
  lendFree(holder: number): number {
    if (this.#count === 0) return -1;
    const chunk = this.#free[--this.#count]!;
    this.#holder[chunk] = holder;
    return chunk * CHUNK_BYTES;
  }

  /** `holder` hands its chunk to the caller. */
  handOut(at: number, holder: number): void {
    const chunk = at >>> CHUNK_SHIFT;
    if (this.#holder[chunk] !== holder) failOwnership(at);
    this.#holder[chunk] = OUT;
  }

  /** `holder` gives its chunk back. */
  giveBack(at: number, holder: number): void {
    const chunk = at >>> CHUNK_SHIFT;
    if (this.#holder[chunk] !== holder) failOwnership(at);
    this.#holder[chunk] = FREE;
    this.#free[this.#count++] = chunk;
  }

  /** `holder` is gone: takes back all that it still holds. */
  revoke(holder: number): void {
    for (let chunk = 0; chunk < this.chunks; chunk++) {
      if (this.#holder[chunk] === holder) this.giveBack(chunk * CHUNK_BYTES, holder);
    }
  }
}

function failOwnership(at: number): never {
  assert(false, `the frame at ${at} was given away by one who does not own it`);
}
