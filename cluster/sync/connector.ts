/**
 * Connector: when to open the next link to a peer that has none. At once the first time, then ever less eagerly while links do
 * not come to a welcome. Owns the waits; the transport opens links, the sender uses them.
 */
import type { SyncLimits } from "./limits.ts";
import type { SenderLink } from "./link.ts";
import type { Sender } from "./sender.ts";

export class Connector {
  readonly #limits: SyncLimits;
  readonly #open: (peerId: number) => SenderLink;
  readonly #nextMs = new Float64Array(256).fill(Number.NEGATIVE_INFINITY);
  readonly #waitMs = new Float64Array(256);

  constructor(limits: SyncLimits, open: (peerId: number) => SenderLink) {
    this.#limits = limits;
    this.#open = open;
  }

  tick(sender: Sender, nowMs: number): void {
    const { peerId } = sender;
    if (sender.isOpen) this.#waitMs[peerId] = 0;
    if (sender.hasLink || nowMs < this.#nextMs[peerId]!) return;
    const { reconnectMs, reconnectMsMax } = this.#limits;
    const waitMs = Math.min(reconnectMsMax, Math.max(reconnectMs, 2 * this.#waitMs[peerId]!));
    this.#waitMs[peerId] = waitMs;
    this.#nextMs[peerId] = nowMs + waitMs;
    sender.attach(this.#open(peerId));
  }
}
