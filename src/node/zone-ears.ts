/**
 * Zone ears: what a node hears on each of its zones' wires: which other nodes' heartbeats, and whether anybody else's frames. Owns how
 * long something heard counts. What follows from it is silent-links.ts.
 */
import type { LinkHearing } from "../../cluster/liveness/model.ts";
import type { Port } from "../io/port.ts";
import type { FromWorker } from "./worker-protocol.ts";

/** What was not heard for so long is not heard. A heartbeat of any profile may get lost in it. */
const HEARD_MS = 700;
const LOOK_MS = 100;
/** When everybody has fallen silent, that is told after this time at the latest, by a thread that has nothing else to do. */
export const HEARING_LAG_MS = HEARD_MS + LOOK_MS;
/** Who is asked answers within this time, or is not heard; longer than a look. */
const ANSWER_MS = 300;

export interface ZoneEarsOptions {
  /** Zone ports first, the cluster port last. */
  readonly ports: readonly Pick<Port, "counters">[];
  readonly post: (message: FromWorker) => void;
  /** Has hosts that were found on a port before say that they are there; how many were asked. */
  readonly ask: (port: number) => number;
}

export class ZoneEars {
  readonly #options: ZoneEarsOptions;
  /** By port: when a heartbeat of a node came last. */
  readonly #nodes: Map<number, number>[];
  /** By port: heartbeats since the last look. */
  readonly #heartbeats: number[];
  readonly #frames: number[];
  readonly #othersMs: number[];
  /** By port: when hosts were asked first since the last of their frames; Infinity: they were not. */
  readonly #askedMs: number[];
  #nextMs = 0;
  #told = "";

  constructor(options: ZoneEarsOptions) {
    this.#options = options;
    const zones = options.ports.slice(0, -1);
    this.#nodes = zones.map(() => new Map());
    this.#heartbeats = zones.map(() => 0);
    this.#frames = zones.map(({ counters }) => counters.rxFrames);
    this.#othersMs = zones.map(() => Number.NEGATIVE_INFINITY);
    this.#askedMs = zones.map(() => Number.POSITIVE_INFINITY);
  }

  /** An authentic heartbeat of `node` came in by a port, or a frame that pretended to be one (`node` 0). */
  heartbeat(port: number, node: number, nowMs: number): void {
    const nodes = this.#nodes[port];
    if (nodes === undefined) return;
    this.#heartbeats[port]!++;
    if (node !== 0) nodes.set(node, nowMs);
  }

  /** Zone links have fallen silent: is anybody there? */
  listen(links: readonly number[], nowMs: number): void {
    for (const link of links) {
      const port = link - 1;
      if (this.#options.ask(port) > 0) this.#askedMs[port] = Math.min(this.#askedMs[port]!, nowMs);
    }
  }

  /** Call it more often than LOOK_MS; tells the main thread when something changed. */
  tick(nowMs: number): void {
    if (nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + LOOK_MS;
    const hearing = this.#nodes.map((nodes, port) => this.#look(nodes, port, nowMs));
    const asked = hearing
      .map(({ link }) => link)
      .filter((link) => nowMs - this.#askedMs[link - 1]! >= ANSWER_MS);
    const told = JSON.stringify([hearing, asked]);
    if (told === this.#told) return;
    this.#told = told;
    this.#options.post({ type: "hearing", hearing, asked });
  }

  #look(nodes: Map<number, number>, port: number, nowMs: number): LinkHearing {
    const frames = this.#options.ports[port]!.counters.rxFrames;
    if (frames - this.#frames[port]! > this.#heartbeats[port]!) {
      this.#othersMs[port] = nowMs;
      this.#askedMs[port] = Number.POSITIVE_INFINITY;
    }
    this.#frames[port] = frames;
    this.#heartbeats[port] = 0;
    const heard = [...nodes].filter(([, atMs]) => nowMs - atMs < HEARD_MS).map(([node]) => node);
    return {
      link: port + 1,
      nodes: heard.sort((a, b) => a - b),
      hasOthers: nowMs - this.#othersMs[port]! < HEARD_MS,
    };
  }
}
