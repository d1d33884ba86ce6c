/**
 * Wires: the three switches of a simulated cluster and what happens to frames on their way through them. Owns delay, loss,
 * doubling and blocked ports; learning and flooding are those of io/memory-segment.ts.
 */

import type { MemoryPort } from "../../../src/io/memory.ts";
import type { Blocked, FrameInFlight } from "../../../src/io/memory-segment.ts";
import { MemorySegment } from "../../../src/io/memory-segment.ts";
import type { Link } from "../../lab/topology.ts";
import type { SimClock } from "./clock.ts";

/** What the network does to frames; changed while a run goes on. */
export interface Weather {
  delayMsMin: number;
  delayMsMax: number;
  /** Of a million frames. */
  lostPpm: number;
  duplicatedPpm: number;
  /** Of a million frames, these may be overtaken by later ones. */
  reorderedPpm: number;
}

export const FAIR_WEATHER: Readonly<Weather> = {
  delayMsMin: 0.02,
  delayMsMax: 0.2,
  lostPpm: 0,
  duplicatedPpm: 0,
  reorderedPpm: 0,
};

const MILLION = 1_000_000;
/** How much longer a frame is under way that others overtake. */
const DETOUR_FACTOR = 10;
const OPEN: Blocked = { fromPort: false, toPort: false };

export class SimWires {
  readonly weather: Weather = { ...FAIR_WEATHER };
  readonly segments: Readonly<Record<Link, MemorySegment>>;
  readonly #clock: SimClock;
  readonly #random: (bound: number) => number;
  readonly #onSent: (frame: FrameInFlight) => void;
  readonly #onArrived: (frame: FrameInFlight, atMs: number) => void;
  /** When the last frame of each way arrives: those behind it come later.. */
  readonly #lastMs = new Map<MemoryPort, Map<MemoryPort, number>>();
  /** Ways between two ports that lead nowhere, "from>to". */
  readonly #cuts = new Set<string>();

  constructor(
    clock: SimClock,
    random: (bound: number) => number,
    events: {
      readonly onSent: (frame: FrameInFlight) => void;
      readonly onArrived: (frame: FrameInFlight, atMs: number) => void;
    },
  ) {
    this.#clock = clock;
    this.#random = random;
    this.#onSent = events.onSent;
    this.#onArrived = events.onArrived;
    const bridge = (): MemorySegment =>
      new MemorySegment({ kind: "bridge", carry: (frame) => this.#carry(frame) });
    this.segments = { inside: bridge(), outside: bridge(), cluster: bridge() };
  }

  block(link: Link, port: MemoryPort, blocked: Blocked): void {
    this.segments[link].setBlocked(port, blocked);
  }

  unblock(link: Link, port: MemoryPort): void {
    this.segments[link].setBlocked(port, OPEN);
  }

  /** Frames from one port to another get lost; both keep their carrier. */
  cutPair(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`);
  }

  healPair(from: string, to: string): void {
    this.#cuts.delete(`${from}>${to}`);
  }

  healPairs(): void {
    this.#cuts.clear();
  }

  /** Which frames get lost, whoever sends them; undefined: none for that. */
  isFiltered: ((frame: FrameInFlight) => boolean) | undefined;

  /** Fair weather from now on. */
  calm(): void {
    Object.assign(this.weather, FAIR_WEATHER);
  }

  #carry(frame: FrameInFlight): void {
    const { lostPpm, duplicatedPpm } = this.weather;
    this.#onSent(frame);
    if (this.#cuts.size > 0 && this.#cuts.has(`${frame.from.name}>${frame.to.name}`)) return;
    if (this.isFiltered?.(frame) === true || this.#chance(lostPpm)) return;
    this.#send(frame);
    if (this.#chance(duplicatedPpm)) this.#send(frame);
  }

  #send(frame: FrameInFlight): void {
    const { delayMsMin, delayMsMax, reorderedPpm } = this.weather;
    const now = this.#clock.nowMs();
    const delayMs = delayMsMin + ((delayMsMax - delayMsMin) * this.#random(1024)) / 1024;
    let atMs = now + delayMs;
    if (this.#chance(reorderedPpm)) {
      atMs += delayMs * DETOUR_FACTOR;
    } else {
      const lasts = this.#lastMs.get(frame.from) ?? new Map<MemoryPort, number>();
      this.#lastMs.set(frame.from, lasts);
      atMs = Math.max(atMs, lasts.get(frame.to) ?? 0);
      lasts.set(frame.to, atMs);
    }
    this.#clock.wire(atMs - now, () => {
      this.#onArrived(frame, this.#clock.nowMs());
      frame.deliver();
    });
  }

  #chance(ppm: number): boolean {
    return ppm > 0 && this.#random(MILLION) < ppm;
  }
}
