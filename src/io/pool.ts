/**
 * Chunk pool: owns which chunks of a worker's frame memory are free. Knows nothing about ports.
 * A stack, so that a chunk that was just given back, and is still in the cache, goes out first.
 *
 *   free: | 7 | 2 | 9 | 4 | . . . |     alloc() takes the top, free() puts on top
 *                       ^ count
 */
import { assert } from "../base/assert.ts";
import { CHUNK_BYTES, type FramePool, HEADROOM_BYTES } from "./port.ts";

const CHUNK_SHIFT = Math.log2(CHUNK_BYTES);
const OUT = 1;

/** Free list over any memory: an ArrayBuffer, or a UMEM that the kernel sees too. */
export class ChunkPool implements FramePool {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly chunkBytes = CHUNK_BYTES;
  readonly chunks: number;
  /** Called when alloc() finds no chunk: collects what the kernel finished but nobody asked for yet. */
  reclaim: (() => void) | undefined;
  readonly #free: Uint32Array;
  readonly #isOut: Uint8Array;
  #count = 0;
  #exhausted = 0;

  constructor(memory: ArrayBuffer) {
    assert(memory.byteLength % CHUNK_BYTES === 0, "pool memory is not a multiple of the chunk size");
    this.bytes = new Uint8Array(memory);
    this.view = new DataView(memory);
    this.chunks = memory.byteLength / CHUNK_BYTES;
    this.#free = new Uint32Array(this.chunks);
    this.#isOut = new Uint8Array(this.chunks);
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
    this.#isOut[chunk] = OUT;
    return chunk * CHUNK_BYTES + HEADROOM_BYTES;
  }

  free(at: number): void {
    const chunk = at >>> CHUNK_SHIFT;
    // Freed twice, or never given out: two owners would write into one frame. The state tells both at once.
    if (this.#isOut[chunk] !== OUT) failFree(at);
    this.#isOut[chunk] = 0;
    this.#free[this.#count++] = chunk;
  }

  available(): number {
    return this.#count;
  }

  exhausted(): number {
    return this.#exhausted;
  }
}

function failFree(at: number): never {
  assert(false, `frame at ${at} was given back, but nobody owns it`);
}
