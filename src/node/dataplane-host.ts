/**
 * Dataplane host: the control thread's end of the dataplane worker. Starts and stops the thread and keeps what it said last:
 * who is heard on which link, which carriers are up, whether the lease holds.
 */
import { Worker } from "node:worker_threads";
import { CLUSTER_LINK, type LivenessEvent } from "../../cluster/liveness/model.ts";
import { type ErrorCode, SynwallError } from "../base/errors.ts";
import type { FromWorker, ToWorker, WorkerSetup } from "./worker-protocol.ts";

/** Opening ports takes well under a second; a worker that needs longer hangs. */
const START_MS_MAX = 15_000;
const STOP_MS_MAX = 2000;

export type Started = Extract<FromWorker, { type: "started" }>;

export interface DataplaneHostEvents {
  onDoorbell(): void;
  onMessage(message: Exclude<FromWorker, 0>): void;
  /** The thread ended by itself: the node must end too. */
  onDeath(error: Error): void;
}

export class DataplaneHost {
  readonly #worker: Worker;
  readonly #setup: WorkerSetup;
  readonly #events: DataplaneHostEvents;
  readonly #links = new Map<number, Set<number>>();
  readonly #carriers: boolean[];
  #started: Started | undefined;
  #isStopping = false;
  #onStopped: (() => void) | undefined;

  constructor(setup: WorkerSetup, events: DataplaneHostEvents) {
    this.#setup = setup;
    this.#events = events;
    this.#carriers = setup.ports.map(() => true);
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData: setup,
      name: "dataplane",
    });
    this.#worker.on("message", (message: FromWorker) => this.#receive(message));
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

  /** Peers heard on at least one link. */
  alive(): ReadonlySet<number> {
    const alive = new Set<number>([this.#setup.selfId]);
    for (const [node, links] of this.#links) if (links.size > 0) alive.add(node);
    return alive;
  }

  /** Link name -> heard, for one peer. */
  links(node: number): Record<string, boolean> {
    const peer = this.#setup.peers.find((candidate) => candidate.nodeId === node);
    const heard = this.#links.get(node);
    const names = (peer?.links ?? []).map(
      (link) => [this.#linkName(link), heard?.has(link) === true] as const,
    );
    return Object.fromEntries(names);
  }

  carrier(port: number): boolean {
    return this.#carriers[port] === true;
  }

  #linkName(link: number): string {
    return link === CLUSTER_LINK ? "cluster" : (this.#setup.ports[link - 1]?.interfaceName ?? `link ${link}`);
  }

  #receive(message: FromWorker): void {
    if (typeof message === "number") {
      this.#events.onDoorbell();
      return;
    }
    if (message.type === "liveness") this.#onLiveness(message.event);
    if (message.type === "carrier") this.#carriers[message.port] = message.isUp;
    this.#events.onMessage(message);
  }

  #onLiveness(event: LivenessEvent): void {
    if (event.type === "linkUp") {
      const links = this.#links.get(event.node) ?? new Set<number>();
      links.add(event.link);
      this.#links.set(event.node, links);
    } else if (event.type === "linkDown") {
      this.#links.get(event.node)?.delete(event.link);
    } else if (event.type === "peerDown") {
      this.#links.get(event.node)?.clear();
    }
  }
}
