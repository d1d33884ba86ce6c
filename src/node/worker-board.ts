/**
 * Worker board: figures of the worker that are not the engine's, over shared memory: what its ports lost, which heartbeats
 * it refused, and how often its loop turned. The worker writes them, the main thread reads; nothing is posted. The last cell is the main
 * thread's: its own beats, for the worker to see.
 *
 *   | port 0: rx lost, tx lost, rx of unknown VLANs | port 1 | ... | heartbeats refused, by reason | senders of the last ones | beats | main |
 *
 * Float64 cells.
 */
import { ENVELOPE_REFUSALS, type EnvelopeRefusal } from "../../cluster/liveness/envelope.ts";
import type { Heartbeats } from "../../cluster/liveness/heartbeats.ts";
import { MAX_LINKS } from "../../cluster/liveness/model.ts";
import { assert } from "../base/assert.ts";
import type { PortCounters } from "../io/port.ts";
import type { HeartbeatRefusals } from "./refusal-lines.ts";

const PORT_CELLS = 3;
const REFUSALS_AT = MAX_LINKS * PORT_CELLS;
const SENDERS_AT = REFUSALS_AT + ENVELOPE_REFUSALS.length;
const BEATS_AT = SENDERS_AT + ENVELOPE_REFUSALS.length;

const MAIN_AT = BEATS_AT + 1;

export const WORKER_BOARD_BYTES = 8 * (MAIN_AT + 1);

export class WorkerBoard {
  readonly #cells: Float64Array;

  constructor(memory: SharedArrayBuffer) {
    this.#cells = new Float64Array(memory);
  }

  /** The worker's loop turned: a watchdog sees it (watchdog.ts). Costs nothing. */
  beat(): void {
    this.#cells[BEATS_AT] = this.#cells[BEATS_AT]! + 1;
  }

  /** Ticks of the worker since its start. */
  beats(): number {
    return this.#cells[BEATS_AT]!;
  }

  /** The main thread runs: the worker sees it (main-watch.ts). */
  mainBeat(): void {
    this.#cells[MAIN_AT] = this.#cells[MAIN_AT]! + 1;
  }

  mainBeats(): number {
    return this.#cells[MAIN_AT]!;
  }

  /** Costs a system call for each queue of an XDP port: not for every tick. */
  write(
    ports: readonly { readonly counters: PortCounters }[],
    { refused, refusedSender }: Pick<Heartbeats, "refused" | "refusedSender">,
  ): void {
    assert(ports.length <= MAX_LINKS, `more than ${MAX_LINKS} ports`);
    for (let port = 0; port < ports.length; port++) {
      const { rxDropped, txDropped, rxUnknownVlan } = ports[port]!.counters;
      this.#cells[port * PORT_CELLS] = rxDropped;
      this.#cells[port * PORT_CELLS + 1] = txDropped;
      this.#cells[port * PORT_CELLS + 2] = rxUnknownVlan;
    }
    for (let i = 0; i < ENVELOPE_REFUSALS.length; i++) {
      const reason = ENVELOPE_REFUSALS[i]!;
      this.#cells[REFUSALS_AT + i] = refused[reason];
      this.#cells[SENDERS_AT + i] = refusedSender[reason];
    }
  }

  /** Frames that a port lost since the start, received and to be sent, and those of VLANs that nobody has. */
  lostBy(port: number): Pick<PortCounters, "rxDropped" | "txDropped" | "rxUnknownVlan"> {
    const cells = this.#cells.subarray(port * PORT_CELLS, (port + 1) * PORT_CELLS);
    return { rxDropped: cells[0]!, txDropped: cells[1]!, rxUnknownVlan: cells[2]! };
  }

  heartbeatsRefused(): HeartbeatRefusals {
    const cells = ENVELOPE_REFUSALS.map((reason, i) => [reason, this.#cells[REFUSALS_AT + i]!] as const);
    return Object.fromEntries(cells) as HeartbeatRefusals;
  }

  /** Who sent the last heartbeat that was refused for that reason (heartbeat-sender.ts); 0: nobody yet. */
  heartbeatSender(reason: EnvelopeRefusal): number {
    return this.#cells[SENDERS_AT + ENVELOPE_REFUSALS.indexOf(reason)]!;
  }
}
