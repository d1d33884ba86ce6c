/**
 * Network of the ownership simulator. Owns what each link loses, delays and doubles, and which one-way cuts stand; knows
 * nothing of what is sent.
 */
import type { Scheduler } from "./scheduler.ts";

export interface Weather {
  /** Chance that a datagram is lost / comes twice. */
  lossP: number;
  duplicateP: number;
  delayMinMs: number;
  delayMaxMs: number;
}

/** Links between members, each direction by itself. */
export class SimNetwork {
  readonly weather: Weather = { lossP: 0, duplicateP: 0, delayMinMs: 0.05, delayMaxMs: 0.5 };
  readonly #scheduler: Scheduler;
  readonly #random: (bound: number) => number;
  readonly #cuts = new Set<number>();

  constructor(scheduler: Scheduler, random: (bound: number) => number) {
    this.#scheduler = scheduler;
    this.#random = random;
  }

  cut(from: number, to: number, link: number): void {
    this.#cuts.add(key(from, to, link));
  }

  heal(): void {
    this.#cuts.clear();
  }

  passes(from: number, to: number, link: number): boolean {
    return this.#cuts.size === 0 || !this.#cuts.has(key(from, to, link));
  }

  /** Datagram: lost, delayed, doubled, overtaken. `bytes` are copied only if they arrive. */
  send(
    from: number,
    to: number,
    link: number,
    bytes: Uint8Array,
    receive: (bytes: Uint8Array) => void,
  ): void {
    const { lossP, duplicateP } = this.weather;
    if (!this.passes(from, to, link) || this.chance(lossP)) return;
    const copy = bytes.slice();
    const deliver = (): void => receive(copy);
    this.#scheduler.after(this.delayMs(), deliver);
    if (this.chance(duplicateP)) this.#scheduler.after(this.delayMs() * 3, deliver);
  }

  delayMs(): number {
    const { delayMinMs, delayMaxMs } = this.weather;
    return this.between(delayMinMs, delayMaxMs);
  }

  chance(p: number): boolean {
    return p > 0 && this.#random(1_000_000) < p * 1_000_000;
  }

  between(low: number, high: number): number {
    return low + ((high - low) * this.#random(1_000_001)) / 1_000_000;
  }
}

function key(from: number, to: number, link: number): number {
  return (from * 256 + to) * 64 + link;
}
