/**
 * Download log: what arrived of a bulk download at its receiver, and how its sender paces and hashes it. Owns both ends'
 * accounts; how the bytes travel is not its business.
 */
import { createHash } from "node:crypto";
import { bulk } from "./pattern.ts";
import { BULK_BYTES_PER_SECOND } from "./ports.ts";

export interface DownloadReport {
  readonly bytes: number;
  readonly hash: string;
  /** The server said that this was all. */
  readonly isComplete: boolean;
  /** Empty when nothing went wrong. */
  readonly error: string;
  /** Longest time without a byte. */
  readonly stallMsMax: number;
}

export class DownloadLog {
  readonly #nowMs: () => number;
  readonly #hash = createHash("sha256");
  #bytes = 0;
  #isComplete = false;
  #error = "";
  #stallMsMax = 0;
  #lastAtMs: number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#lastAtMs = nowMs();
  }

  get isOver(): boolean {
    return this.#isComplete || this.#error !== "";
  }

  /** From here on silence counts. */
  begin(): void {
    this.#lastAtMs = this.#nowMs();
  }

  heard(bytes: Uint8Array): void {
    const now = this.#nowMs();
    this.#stallMsMax = Math.max(this.#stallMsMax, now - this.#lastAtMs);
    this.#lastAtMs = now;
    this.#bytes += bytes.length;
    this.#hash.update(bytes);
  }

  complete(): void {
    this.#isComplete = true;
  }

  fail(error: NodeJS.ErrnoException): void {
    if (this.#error === "") this.#error = error.code ?? error.message;
  }

  report(): DownloadReport {
    return {
      bytes: this.#bytes,
      hash: this.#hash.copy().digest("hex"),
      isComplete: this.#isComplete,
      error: this.#error,
      stallMsMax: this.#stallMsMax,
    };
  }
}

/** A chunk is due this often. */
export const CHUNK_INTERVAL_MS = 10;
const CHUNK_BYTES = (BULK_BYTES_PER_SECOND * CHUNK_INTERVAL_MS) / 1000;

/** The sender's account: the next chunk of each download, and the hash of all of them. */
export class BulkSource {
  readonly #hash = createHash("sha256");
  #bytes = 0;

  /** The chunk that begins at `position` of its download. */
  chunk(position: number): Buffer {
    const chunk = bulk(position, CHUNK_BYTES);
    this.#bytes += chunk.length;
    this.#hash.update(chunk);
    return chunk;
  }

  report(): { readonly bulkBytes: number; readonly bulkHash: string } {
    return { bulkBytes: this.#bytes, bulkHash: this.#hash.copy().digest("hex") };
  }
}
