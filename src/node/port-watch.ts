/**
 * Port watch: tells when a port loses its carrier or has another MTU, or has it back. Owns how often the kernel is asked.
 */
import type { Port } from "../io/port.ts";
import type { FromWorker } from "./worker-protocol.ts";

/** Between two looks at the carriers at least: a system call for each port. */
const CARRIER_INTERVAL_MS = 10;

export interface PortWatchOptions {
  readonly ports: readonly Port[];
  readonly mtuIntervalMs: number;
  readonly post: (message: FromWorker) => void;
  /** A port's MTU is another one. */
  readonly onMtu: (port: number, mtuBytes: number) => void;
}

export class PortWatch {
  readonly #options: PortWatchOptions;
  readonly #isUp: boolean[];
  readonly #mtus: number[];
  #nextCarrierMs = 0;
  #nextMtuMs = 0;

  constructor(options: PortWatchOptions) {
    this.#options = options;
    this.#isUp = options.ports.map(() => true);
    this.#mtus = options.ports.map((port) => port.mtuBytes);
  }

  tick(nowMs: number): void {
    if (nowMs >= this.#nextCarrierMs) this.#watchCarriers(nowMs);
    if (nowMs >= this.#nextMtuMs) this.#watchMtus(nowMs);
  }

  #watchCarriers(nowMs: number): void {
    this.#nextCarrierMs = nowMs + CARRIER_INTERVAL_MS;
    const { ports, post } = this.#options;
    for (let index = 0; index < ports.length; index++) {
      const isUp = ports[index]!.carrier();
      if (isUp === this.#isUp[index]) continue;
      this.#isUp[index] = isUp;
      post({ type: "carrier", port: index, isUp, atMs: nowMs });
    }
  }

  #watchMtus(nowMs: number): void {
    const { ports, post, mtuIntervalMs, onMtu } = this.#options;
    this.#nextMtuMs = nowMs + mtuIntervalMs;
    for (let index = 0; index < ports.length; index++) {
      const mtuBytes = ports[index]!.mtuNow();
      if (mtuBytes === this.#mtus[index]) continue;
      this.#mtus[index] = mtuBytes;
      onMtu(index, mtuBytes);
      post({ type: "mtu", port: index, mtuBytes, atMs: nowMs });
    }
  }
}
