/**
 * Dataplane host: the control thread's end of the dataplane worker. Starts and stops the thread and passes on what it says.
 */
import { Worker } from "node:worker_threads";
import { type ErrorCode, SynwallError } from "../base/errors.ts";
import { hurryStart } from "./priorities.ts";
import type { FromWorker, ToWorker, WorkerSetup } from "./worker-protocol.ts";

/** Opening ports takes well under a second; a worker that needs longer hangs. */
const START_MS_MAX = 15_000;
const STOP_MS_MAX = 2000;

export type Started = Extract<FromWorker, { type: "started" }>;

export interface DataplaneHostEvents {
  onMessage(message: FromWorker): void;
  /** The thread ended by itself: the node must end too. */
  onDeath(error: Error): void;
}

export class DataplaneHost {
  readonly #worker: Worker;
  readonly #events: DataplaneHostEvents;
  #started: Started | undefined;
  #isStopping = false;
  #onStopped: (() => void) | undefined;

  constructor(setup: WorkerSetup, events: DataplaneHostEvents) {
    this.#events = events;
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData: setup,
      name: "dataplane",
    });
    hurryStart(setup.realtime);
    this.#worker.on("message", (message: FromWorker) => events.onMessage(message));
  }

  /** Resolves when the ports are open. Rejects with the error of the ports. */
  start(): Promise<Started> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(
            new SynwallError("SW_IO_INTERFACE", `the dataplane did not start within ${START_MS_MAX} ms`),
          ),
        START_MS_MAX,
      );
      this.#worker.on("error", (error: Error) => {
        clearTimeout(timer);
        reject(error);
        if (!this.#isStopping && this.#started !== undefined) this.#events.onDeath(error);
      });
      this.#worker.on("exit", (code) => {
        this.#onStopped?.();
        if (!this.#isStopping && this.#started !== undefined) {
          this.#events.onDeath(new Error(`the dataplane worker ended with status ${code}`));
        }
      });
      const onMessage = (message: FromWorker): void => {
        if (typeof message !== "object") return;
        if (message.type === "failed") {
          clearTimeout(timer);
          this.#isStopping = true;
          reject(new SynwallError(message.code as ErrorCode, message.message));
        } else if (message.type === "started") {
          clearTimeout(timer);
          this.#started = message;
          resolve(message);
        }
      };
      this.#worker.on("message", onMessage);
    });
  }

  post(message: ToWorker): void {
    if (!this.#isStopping) this.#worker.postMessage(message);
  }

  /** Gives up the lease, says good-bye, closes the ports; ends the thread when it does not answer. */
  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#worker.postMessage({ type: "stop" } satisfies ToWorker);
    this.#isStopping = true;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => void this.#worker.terminate().then(() => resolve()), STOP_MS_MAX);
      this.#onStopped = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
