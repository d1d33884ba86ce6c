/**
 * Download: one long HTTP transfer whose bytes are hashed as they come. The server's own hash tells whether all of them
 * arrived, unchanged and in order.
 */
import { createHash } from "node:crypto";
import { get } from "node:http";
import { nowMs } from "../../src/node/clock.ts";
import { BULK_PORT } from "./ports.ts";

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

export class Download {
  readonly #hash = createHash("sha256");
  #bytes = 0;
  #isComplete = false;
  #error = "";
  #stallMsMax = 0;
  #lastAtMs = nowMs();

  constructor(server: string, localAddress: string) {
    const request = get({ host: server, port: BULK_PORT, localAddress, agent: false }, (response) => {
      this.#lastAtMs = nowMs();
      response.on("data", (bytes: Buffer) => this.#heard(bytes));
      response.on("end", () => {
        this.#isComplete = response.complete;
      });
      response.on("error", (error) => this.#fail(error));
    });
    request.on("error", (error) => this.#fail(error));
  }

  isIdle(): boolean {
    return this.#isComplete || this.#error !== "";
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

  #heard(bytes: Buffer): void {
    const now = nowMs();
    this.#stallMsMax = Math.max(this.#stallMsMax, now - this.#lastAtMs);
    this.#lastAtMs = now;
    this.#bytes += bytes.length;
    this.#hash.update(bytes);
  }

  #fail(error: NodeJS.ErrnoException): void {
    if (this.#error === "") this.#error = error.code ?? error.message;
  }
}
