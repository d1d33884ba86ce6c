/**
 * Journal: the last events of this node, in order, stamped on both clocks. Operators read it after a failover, and drills
 * take their timings from it. Owns memory for a fixed number of events; logs are another matter (pino).
 */

import type { JournalEvent, JournalKind } from "./admin-model.ts";
import { nowMs } from "./clock.ts";

const CAPACITY = 4096;

/** The two clocks that events are stamped on. */
export interface JournalClock {
  /** As Env.nowMs(). */
  nowMs(): number;
  /** Milliseconds since 1970. */
  wallMs(): number;
}

const systemClock: JournalClock = { nowMs, wallMs: () => Date.now() };

export class Journal {
  readonly #events: JournalEvent[] = [];
  readonly #onEvent: (event: JournalEvent) => void;
  readonly #clock: JournalClock;

  constructor(onEvent: (event: JournalEvent) => void, clock: JournalClock = systemClock) {
    this.#onEvent = onEvent;
    this.#clock = clock;
  }

  /** Adds an event. `atMs` is when it happened (CLOCK_MONOTONIC), which may be before it became known here. */
  add(
    kind: JournalKind,
    text: string,
    fields: { atMs?: number; epoch?: number; node?: number; slots?: readonly number[] } = {},
  ): void {
    const now = this.#clock.nowMs();
    const atMs = fields.atMs ?? now;
    const event: JournalEvent = {
      atMs,
      wallMs: this.#clock.wallMs() - (now - atMs),
      kind,
      epoch: fields.epoch ?? 0,
      node: fields.node ?? 0,
      slots: fields.slots ?? [],
      text,
    };
    this.#events.push(event);
    if (this.#events.length > CAPACITY) this.#events.shift();
    this.#onEvent(event);
  }

  /** Events after `sinceMs`, oldest first, the newest `limit` of them. */
  since(sinceMs: number, limit: number): JournalEvent[] {
    const matching = this.#events.filter((event) => event.atMs >= sinceMs);
    return matching.slice(Math.max(0, matching.length - limit));
  }
}
