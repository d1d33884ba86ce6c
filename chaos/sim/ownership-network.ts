/**
 * Virtual time and network of the ownership simulator. Owns the order of events, what each link loses, delays and doubles,
 * and which one-way cuts stand; knows nothing of what is sent.
 */

interface SimEvent {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** Events in order of true time; ties in order of scheduling, so a seed replays exactly. */
export class Scheduler {
  nowMs = 0;
  #order = 0;
  readonly #heap: SimEvent[] = [];

  at(atMs: number, run: () => void): void {
    const event = { atMs: Math.max(atMs, this.nowMs), order: this.#order++, run };
    const heap = this.#heap;
    let i = heap.length;
    heap.push(event);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(event, heap[parent] as SimEvent)) break;
      heap[i] = heap[parent] as SimEvent;
      i = parent;
    }
    heap[i] = event;
  }

  after(ms: number, run: () => void): void {
    this.at(this.nowMs + ms, run);
  }

  /** Runs the next event if it is due by `untilMs`; false when there is none. */
  step(untilMs: number): boolean {
    const first = this.#heap[0];
    if (first === undefined || first.atMs > untilMs) return false;
    this.#removeFirst();
    this.nowMs = first.atMs;
    first.run();
    return true;
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop() as SimEvent;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as SimEvent, heap[child] as SimEvent)) child++;
      if (!isBefore(heap[child] as SimEvent, last)) break;
      heap[i] = heap[child] as SimEvent;
      i = child;
    }
    heap[i] = last;
  }
}

function isBefore(a: SimEvent, b: SimEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

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
