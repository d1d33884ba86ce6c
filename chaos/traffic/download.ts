/**
 * Download: one long HTTP transfer whose bytes are hashed as they come. The server's own hash tells whether all of them
 * arrived, unchanged and in order.
 */
import { get } from "node:http";
import { nowMs } from "../../src/node/clock.ts";
import { DownloadLog, type DownloadReport } from "./download-log.ts";
import { BULK_PORT } from "./ports.ts";

export class Download {
  readonly #log = new DownloadLog(nowMs);

  constructor(server: string, localAddress: string) {
    const request = get({ host: server, port: BULK_PORT, localAddress, agent: false }, (response) => {
      this.#log.begin();
      response.on("data", (bytes: Buffer) => this.#log.heard(bytes));
      response.on("end", () => {
        if (response.complete) this.#log.complete();
      });
      response.on("error", (error) => this.#log.fail(error));
    });
    request.on("error", (error) => this.#log.fail(error));
  }

  isIdle(): boolean {
    return this.#log.isOver;
  }

  report(): DownloadReport {
    return this.#log.report();
  }
}
