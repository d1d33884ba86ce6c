/**
 * Lifeline host: the control thread's end of the lifeline worker. Owns starting, stopping and passing on what it says.
 */
import { Worker } from "node:worker_threads";
import { type RefusalCounts, zeroRefusals } from "../../cluster/transport/refusals.ts";
import type { TlsMaterial } from "../../cluster/transport/tls.ts";
import type { TransportPeer } from "../../cluster/transport/transport.ts";
import { type ErrorCode, SynwallError } from "../base/errors.ts";
import type { FromLifeline, LifelineSetup, ToLifeline } from "./lifeline-worker.ts";
import { hurryStart } from "./priorities.ts";

/** Closing connections takes no time; a thread that needs longer hangs, or something keeps it. */
const STOP_MS_MAX = 2000;

export interface LifelineHostEvents {
  onUp(node: number): void;
  onClosed(node: number): void;
  /** Somebody was refused, or something is not as it should be: one line for the log. */
  onWarning(text: string): void;
  /** The thread ended by itself: peers now think that this process is gone, so it must go. */
  onDeath(error: Error): void;
}

export class LifelineHost {
  readonly refused: RefusalCounts = zeroRefusals();
  readonly #setup: LifelineSetup;
  readonly #events: LifelineHostEvents;
  #worker: Worker | undefined;
  #isStopping = false;

  constructor(setup: LifelineSetup, events: LifelineHostEvents) {
    this.#setup = setup;
    this.#events = events;
  }

  /** Resolves when it listens. Rejects with SW_PORT_TAKEN. */
  start(): Promise<void> {
    const worker = new Worker(new URL("./lifeline-worker.js", import.meta.url), {
      workerData: this.#setup,
      name: "lifeline",
    });
    hurryStart(this.#setup.realtime);
    this.#worker = worker;
    return new Promise((resolve, reject) => {
      worker.on("message", (message: FromLifeline) => {
        switch (message.type) {
          case "started":
            resolve();
            return;
          case "failed":
            this.#isStopping = true;
            reject(new SynwallError(message.code as ErrorCode, message.message));
            return;
          case "up":
            this.#events.onUp(message.node);
            return;
          case "closed":
            this.#events.onClosed(message.node);
            return;
          case "refused":
            this.refused[message.reason]++;
            this.#events.onWarning(message.why);
            return;
          case "warning":
            this.#events.onWarning(message.text);
            return;
          default:
            message satisfies never;
        }
      });
      const died = (error: Error): void => {
        reject(error);
        if (!this.#isStopping) this.#events.onDeath(error);
      };
      worker.on("error", died);
      worker.on("exit", (code) => died(new Error(`the lifeline worker ended with status ${code}`)));
    });
  }

  setPeers(peers: readonly TransportPeer[]): void {
    this.#post({ type: "peers", peers });
  }

  setTls(tls: TlsMaterial): void {
    this.#post({ type: "tls", tls });
  }

  #post(message: ToLifeline): void {
    if (!this.#isStopping) this.#worker?.postMessage(message);
  }

  /** Closes the lifelines; ends the thread when it does not end by itself. */
  async stop(): Promise<void> {
    if (this.#isStopping || this.#worker === undefined) return;
    this.#isStopping = true;
    const worker = this.#worker;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => void worker.terminate(), STOP_MS_MAX);
      worker.once("exit", () => {
        clearTimeout(timer);
        resolve();
      });
      worker.postMessage({ type: "stop" } satisfies ToLifeline);
    });
  }
}
