/**
 * Event digest: one number for everything that happened in a run: each arrival of a frame and each journal entry, with its
 * time. Two runs of one seed that differ anywhere differ here.
 */
import type { FrameInFlight } from "../../../src/io/memory-segment.ts";
import type { JournalEvent } from "../../../src/node/admin-model.ts";

/** Headers; what is behind them is checked by who receives it. */
const FRAME_BYTES_MAX = 64;
const PRIME = 0x01000193;

export class EventDigest {
  #hash = 0x811c9dc5;
  #frames = 0;
  #events = 0;

  frame({ bytes }: FrameInFlight, atMs: number): void {
    this.#frames++;
    this.#time(atMs);
    this.#add(bytes.length);
    const end = Math.min(bytes.length, FRAME_BYTES_MAX);
    for (let i = 0; i < end; i++) this.#hash = Math.imul(this.#hash ^ bytes[i]!, PRIME);
  }

  event(member: string, { atMs, kind, text, epoch, slots }: JournalEvent): void {
    this.#events++;
    this.#time(atMs);
    for (const letter of `${member} ${kind} ${epoch} ${slots.join()} ${text}`)
      this.#add(letter.charCodeAt(0));
  }

  /** As "frames-events-hash". */
  toString(): string {
    return `${this.#frames}-${this.#events}-${(this.#hash >>> 0).toString(16).padStart(8, "0")}`;
  }

  #time(atMs: number): void {
    const micros = Math.round(atMs * 1e6);
    this.#add(micros % 0x1_0000_0000);
    this.#add(Math.floor(micros / 0x1_0000_0000));
  }

  #add(value: number): void {
    this.#hash = Math.imul(this.#hash ^ value, PRIME);
  }
}
