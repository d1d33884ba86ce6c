/**
 * Probe end: one end of the 1 ms UDP probes. Both ends send a stream of their own on the same flow, so each direction is
 * measured alone. Owns numbering and the logs; sockets and the timer are handed in.
 */
import { PROBES_MAX, ProbeLog, type ProbeRecord, rounded } from "./probe-log.ts";
import { decodeProbe, encodeProbe, TO_CLIENT, TO_SERVER } from "./probe-packet.ts";

/** sendAll() is due this often. */
export const PROBE_INTERVAL_MS = 1;
const FLOWS_MAX = 8;
/** Datagrams that Node.js reads of a socket before it goes on: more may lie there. */
const READ_MAX = 32;

export interface ProbePeer {
  readonly address: string;
  readonly port: number;
}

/** What one end saw. */
export interface ProbeReport {
  readonly flows: readonly ProbeRecord[];
  /** When this end had just read all that had come, ascending: in between it may have stood still. */
  readonly readMs: readonly number[];
}

/** Sends a datagram to the other end of a flow, before it returns. */
export type SendProbe = (bytes: Buffer, to: ProbePeer) => void;

interface ProbeFlow {
  readonly log: ProbeLog;
  readonly send: SendProbe;
  /** Where to send; the server learns it from what it hears. */
  peer: ProbePeer | undefined;
}

export class ProbeEnd {
  readonly #role: "client" | "server";
  readonly #nowMs: () => number;
  readonly #flows = new Map<number, ProbeFlow>();
  readonly #readMs = new Float64Array(PROBES_MAX);
  #readCount = 0;
  /** Datagrams since the last readAll(). */
  #heard = 0;
  #isQuiet = false;

  constructor(role: "client" | "server", nowMs: () => number) {
    this.#role = role;
    this.#nowMs = nowMs;
  }

  /** A flow that this end begins. */
  add(flow: number, peer: ProbePeer, send: SendProbe): void {
    this.#flows.set(flow, { log: new ProbeLog(flow), send, peer });
  }

  sendAll(): void {
    if (this.#isQuiet) return;
    for (const [flow, { log, send, peer }] of this.#flows) {
      const sequence = log.nextSequence();
      if (peer === undefined || sequence < 0) continue;
      const bytes = encodeProbe({ flow, direction: this.#direction, sequence });
      const atMs = this.#nowMs();
      send(bytes, peer);
      log.sent(atMs, this.#nowMs());
    }
  }

  /** A datagram arrived; `send` answers on the way that it came, for a flow that the other end begins. */
  hear(bytes: Buffer, from: ProbePeer, send?: SendProbe): void {
    const atMs = this.#nowMs();
    this.#heard++;
    const probe = decodeProbe(bytes);
    if (probe === undefined || probe.direction === this.#direction) return;
    let flow = this.#flows.get(probe.flow);
    if (flow === undefined) {
      if (send === undefined || this.#flows.size === FLOWS_MAX) return;
      flow = { log: new ProbeLog(probe.flow), send, peer: undefined };
      this.#flows.set(probe.flow, flow);
    }
    flow.log.heardProbe(probe.sequence, atMs);
    flow.log.sawPeer(`${from.address}:${from.port}`);
    if (this.#role === "server") flow.peer = { address: from.address, port: from.port };
  }

  /** Each socket has been read since sendAll(): all that had come was handed to hear(), unless it was much. */
  readAll(): void {
    const isAll = this.#heard < READ_MAX;
    this.#heard = 0;
    if (isAll && this.#readCount < PROBES_MAX) this.#readMs[this.#readCount++] = this.#nowMs();
  }

  quiet(): void {
    this.#isQuiet = true;
  }

  report(): ProbeReport {
    return {
      flows: Array.from(this.#flows.values(), ({ log }) => log.record()),
      readMs: rounded(this.#readMs.subarray(0, this.#readCount)),
    };
  }

  get #direction(): number {
    return this.#role === "client" ? TO_SERVER : TO_CLIENT;
  }
}
