/**
 * Visits: new TCP connections at a steady rate from all client addresses. Each connects, sends, is answered and closes.
 * Owns what counts as failed and as slow.
 */
import { systemNet, type TrafficNet } from "./net.ts";
import { reply, request } from "./pattern.ts";
import { VISIT_PORTS } from "./ports.ts";

const TICK_MS = 10;
const MESSAGE_BYTES = 64;
const TIMEOUT_MS = 8_000;
const SLOW_MS = 1_000;
const UNDER_WAY_MAX = 4_000;
/** Visits of one tick at most, so that a stall of ours is not followed by a flood. */
const BURST_MAX = 50;

export interface VisitReport {
  readonly attempted: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Why, counted. */
  readonly reasons: Readonly<Record<string, number>>;
  /** Took longer than a second: the first packet was lost and sent again. */
  readonly slow: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** Not attempted, since too many were under way. */
  readonly skipped: number;
}

export class Visits {
  readonly #server: string;
  readonly #addresses: readonly string[];
  readonly #net: TrafficNet;
  readonly #stop: () => void;
  readonly #latenciesMs: number[] = [];
  readonly #reasons: Record<string, number> = {};
  readonly #startedAtMs: number;
  readonly #perSecond: number;
  #due = 0;
  #attempted = 0;
  #failed = 0;
  #slow = 0;
  #skipped = 0;
  #underWay = 0;

  constructor(server: string, addresses: readonly string[], perSecond: number, net: TrafficNet = systemNet) {
    this.#net = net;
    this.#startedAtMs = net.nowMs();
    this.#server = server;
    this.#addresses = addresses;
    this.#perSecond = perSecond;
    this.#stop = net.every(TICK_MS, () => this.#begin());
  }

  quiet(): void {
    this.#stop();
  }

  isIdle(): boolean {
    return this.#underWay === 0;
  }

  report(): VisitReport {
    this.#stop();
    const sorted = this.#latenciesMs.toSorted((a, b) => a - b);
    const quantile = (q: number): number =>
      sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
    return {
      attempted: this.#attempted,
      succeeded: sorted.length,
      failed: this.#failed,
      reasons: this.#reasons,
      slow: this.#slow,
      latencyMs: { p50: quantile(0.5), p99: quantile(0.99), max: sorted.at(-1) ?? 0 },
      skipped: this.#skipped,
    };
  }

  #begin(): void {
    const due = Math.floor(((this.#net.nowMs() - this.#startedAtMs) * this.#perSecond) / 1000);
    const count = Math.min(BURST_MAX, due - this.#due);
    this.#due = due;
    for (let i = 0; i < count; i++) {
      if (this.#underWay < UNDER_WAY_MAX) this.#visit();
      else this.#skipped++;
    }
  }

  #visit(): void {
    const number = this.#attempted++;
    this.#underWay++;
    const startedAtMs = this.#net.nowMs();
    const socket = this.#net.connect({
      host: this.#server,
      port: VISIT_PORTS[number % VISIT_PORTS.length]!,
      localAddress: this.#addresses[number % this.#addresses.length]!,
    });
    let got = 0;
    let isDone = false;
    const done = (failure?: string): void => {
      if (isDone) return;
      isDone = true;
      this.#underWay--;
      if (failure === undefined) this.#succeeded(this.#net.nowMs() - startedAtMs);
      else this.#fail(failure);
    };
    socket.setTimeout(TIMEOUT_MS, () => {
      done("timeout");
      socket.destroy();
    });
    socket.on("connect", () => void socket.write(request(number, 0, MESSAGE_BYTES)));
    socket.on("data", (bytes: Buffer) => {
      if (bytes.compare(reply(number, 0, MESSAGE_BYTES).subarray(got, got + bytes.length)) !== 0) {
        done("wrong byte");
        socket.destroy();
        return;
      }
      got += bytes.length;
      if (got === MESSAGE_BYTES) socket.end();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
    socket.on("close", () => done(got === MESSAGE_BYTES ? undefined : "closed"));
  }

  #succeeded(tookMs: number): void {
    this.#latenciesMs.push(tookMs);
    if (tookMs > SLOW_MS) this.#slow++;
  }

  #fail(reason: string): void {
    this.#failed++;
    this.#reasons[reason] = (this.#reasons[reason] ?? 0) + 1;
  }
}
