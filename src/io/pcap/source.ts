/**
 * Capture source: the bytes of a capture file in order, through one window of bounded size. Owns the file and how much of it
 * is in memory; what the bytes mean is reader.ts.
 *
 *   file:  ... read before | at ........ end | not read yet ...
 *                            '--- window ---'
 */
import { closeSync, openSync, readSync } from "node:fs";
import { SynwallError } from "../../base/errors.ts";

const WINDOW_BYTES = 1 << 18;

export class CaptureSource {
  readonly path: string;
  #fd: number;
  #window: Uint8Array = new Uint8Array(WINDOW_BYTES);
  #at = 0;
  #end = 0;
  #readBytes = 0;

  /** Throws SW_CAPTURE_INVALID when the file cannot be opened. */
  constructor(path: string) {
    this.path = path;
    try {
      this.#fd = openSync(path, "r");
    } catch (cause) {
      throw unreadable(path, cause);
    }
  }

  /** Offset in the file of what take() answers next. */
  get offset(): number {
    return this.#readBytes - (this.#end - this.#at);
  }

  /** The next `lengthBytes` bytes, valid until the next call; undefined when the file has fewer left. */
  take(lengthBytes: number): Uint8Array | undefined {
    if (!this.#fill(lengthBytes)) return undefined;
    const at = this.#at;
    this.#at += lengthBytes;
    return this.#window.subarray(at, this.#at);
  }

  /** The next bytes without stepping over them. */
  peek(lengthBytes: number): Uint8Array | undefined {
    return this.#fill(lengthBytes) ? this.#window.subarray(this.#at, this.#at + lengthBytes) : undefined;
  }

  /** Steps over bytes without keeping them; false when the file ends before. */
  skip(lengthBytes: number): boolean {
    let left = lengthBytes;
    while (left > 0) {
      if (this.#at === this.#end && !this.#fill(1)) return false;
      const step = Math.min(left, this.#end - this.#at);
      this.#at += step;
      left -= step;
    }
    return true;
  }

  isAtEnd(): boolean {
    return !this.#fill(1);
  }

  close(): void {
    if (this.#fd < 0) return;
    closeSync(this.#fd);
    this.#fd = -1;
  }

  /** Whether `lengthBytes` bytes are in the window; reads on if not. The caller bounds the length. */
  #fill(lengthBytes: number): boolean {
    if (this.#end - this.#at >= lengthBytes) return true;
    if (this.#fd < 0) return false;
    const rest = this.#window.subarray(this.#at, this.#end);
    if (lengthBytes > this.#window.length) {
      const larger = new Uint8Array(lengthBytes);
      larger.set(rest);
      this.#window = larger;
    } else {
      this.#window.copyWithin(0, this.#at, this.#end);
    }
    this.#end -= this.#at;
    this.#at = 0;
    while (this.#end < lengthBytes) {
      const count = this.#read();
      if (count === 0) return false;
      this.#end += count;
      this.#readBytes += count;
    }
    return true;
  }

  #read(): number {
    try {
      return readSync(this.#fd, this.#window, this.#end, this.#window.length - this.#end, null);
    } catch (cause) {
      throw unreadable(this.path, cause);
    }
  }
}

function unreadable(path: string, cause: unknown): SynwallError {
  const code = (cause as NodeJS.ErrnoException).code ?? String(cause);
  return new SynwallError(
    "SW_CAPTURE_INVALID",
    `${path}: cannot read the capture (${code}): name a pcap or pcapng file that may be read`,
    { path },
    cause,
  );
}
