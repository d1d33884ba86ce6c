/**
 * Redirect seal: what the engine asks of whoever encrypts redirected frames, and the window that tells replayed ones. Owns no key and
 * no cipher: those come from the shell (src/node/link-seals.ts).
 */

/** Answers of open(). */
export const SEAL_OPENED = 0;
export const SEAL_FORGED = 1;
export const SEAL_REPLAYED = 2;
/** No life of the peer is proven yet. */
export const SEAL_NO_KEY = 3;

export interface RedirectSeal {
  /** What leaves is sealed. */
  readonly isSealing: boolean;
  /** What comes in clear is refused. */
  readonly isRequired: boolean;
  /**
   * Encrypts, in place, the `lengthBytes` bytes behind the GENEVE header at `header` for a peer, writes the sequence into the header and
   * the tag behind. False: there is no key for this peer.
   */
  seal(bytes: Uint8Array, header: number, lengthBytes: number, peer: number): boolean;
  /** Decrypts in place what seal() made at this peer: SEAL_*. The tag stands behind the `lengthBytes` bytes. */
  open(bytes: Uint8Array, header: number, lengthBytes: number, peer: number): number;
}

/** Sequences that may arrive behind the newest one: several receive queues deal out of order, far less than this. */
const WINDOW = 2048;
const MASK = WINDOW - 1;

/**
 * Which sequences of one sender were taken: the newest WINDOW, in a ring of bits (RFC 6479, without its spare word: bits are cleared
 * one by one). Sequences are whole numbers from 1.
 */
export class SealWindow {
  readonly #bits = new Uint32Array(WINDOW / 32);
  #newest = 0;

  /** Whether `sequence` may still be taken; nothing is remembered. */
  isFresh(sequence: number): boolean {
    if (sequence > this.#newest) return true;
    if (sequence < 1 || this.#newest - sequence >= WINDOW) return false;
    const bit = sequence & MASK;
    return (this.#bits[bit >>> 5]! & (1 << (bit & 31))) === 0;
  }

  /** Remembers a sequence that is fresh and authentic. */
  take(sequence: number): void {
    if (sequence > this.#newest) {
      const steps = Math.min(sequence - this.#newest, WINDOW);
      for (let i = 1; i <= steps; i++) this.#clear((sequence - steps + i) & MASK);
      this.#newest = sequence;
    }
    const bit = sequence & MASK;
    this.#bits[bit >>> 5] = this.#bits[bit >>> 5]! | (1 << (bit & 31));
  }

  #clear(bit: number): void {
    this.#bits[bit >>> 5] = this.#bits[bit >>> 5]! & ~(1 << (bit & 31));
  }
}
