/**
 * Capture writer: a pcap file of Ethernet frames, with time stamps in nanoseconds. Owns the file; frames are copied at once
 * into a buffer of bounded size, which goes to the disk when it is full and at the end.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { SynwallError } from "../../base/errors.ts";

const MAGIC_NANOSECONDS = 0xa1b23c4d;
const LINK_ETHERNET = 1;
const HEADER_BYTES = 24;
const RECORD_BYTES = 16;
const SNAP_BYTES = 262_144;
const BUFFER_BYTES = 1 << 20;

export class CaptureWriter {
  readonly #path: string;
  readonly #fd: number;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  readonly #view = new DataView(this.#buffer.buffer);
  #used = HEADER_BYTES;
  #isClosed = false;

  /** Throws SW_CAPTURE_INVALID when the file cannot be made. */
  constructor(path: string) {
    this.#path = path;
    try {
      this.#fd = openSync(path, "w");
    } catch (cause) {
      throw this.#failed(cause);
    }
    this.#view.setUint32(0, MAGIC_NANOSECONDS, true);
    this.#view.setUint16(4, 2, true);
    this.#view.setUint16(6, 4, true);
    this.#view.setUint32(16, SNAP_BYTES, true);
    this.#view.setUint32(20, LINK_ETHERNET, true);
  }

  /** Adds a frame of at most 262,144 bytes. */
  write(timeMs: number, frame: Uint8Array): void {
    if (this.#used + RECORD_BYTES + frame.length > BUFFER_BYTES) this.#flush();
    const at = this.#used;
    const seconds = Math.floor(timeMs / 1000);
    this.#view.setUint32(at, seconds, true);
    this.#view.setUint32(at + 4, Math.floor((timeMs - seconds * 1000) * 1e6), true);
    this.#view.setUint32(at + 8, frame.length, true);
    this.#view.setUint32(at + 12, frame.length, true);
    this.#buffer.set(frame, at + RECORD_BYTES);
    this.#used += RECORD_BYTES + frame.length;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#flush();
    closeSync(this.#fd);
  }

  #flush(): void {
    try {
      for (let at = 0; at < this.#used; ) at += writeSync(this.#fd, this.#buffer, at, this.#used - at);
    } catch (cause) {
      throw this.#failed(cause);
    }
    this.#used = 0;
  }

  #failed(cause: unknown): SynwallError {
    const code = (cause as NodeJS.ErrnoException).code ?? String(cause);
    return new SynwallError(
      "SW_CAPTURE_INVALID",
      `${this.#path}: cannot write the capture (${code}): name a file in a folder that exists and may be written`,
      { path: this.#path },
      cause,
    );
  }
}
