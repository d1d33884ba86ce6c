/**
 * Sync doorbells: when the control thread looks into the rings that it shares with the dataplane worker, and when it wakes the
 * worker. At most one wake-up for all that came in one go, none while the worker has nothing to do.
 *
 *   worker --changes--> drain() --> peers          peers --acknowledgements, records--> wake() --replicas--> worker
 */
import type { SyncLink } from "../../cluster/sync/link.ts";
import type { Replication } from "../../cluster/sync/replication.ts";
import type { RecordRing } from "../base/ring.ts";

export interface SyncDoorbellOptions {
  readonly changes: RecordRing;
  readonly replicas: RecordRing;
  /** Asked for when it is needed: it is made with links that are watched here. */
  readonly replication: () => Replication;
  readonly nowMs: () => number;
  /** Runs work once input had its turn. */
  readonly afterInput: (work: () => void) => void;
  /** The worker waits for acknowledgements. */
  readonly isAwaited: () => boolean;
  readonly wake: () => void;
}

export class SyncDoorbells {
  readonly #options: SyncDoorbellOptions;
  #isDrainDue = false;
  #isWakeDue = false;
  #isStopped = false;
  #claimsSeen = 0;

  constructor(options: SyncDoorbellOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** The rings have news: send changes, acknowledge replicas, wake the worker when peers acknowledged ours. */
  drain(): void {
    if (this.#isStopped) return;
    const { replication, changes, nowMs, afterInput } = this.#options;
    const isMore = replication().onDoorbell(nowMs());
    this.#wake();
    // Before sleeping: ask to be woken, and look once more, so that nothing comes between.
    if ((isMore || !changes.arm()) && !this.#isDrainDue) {
      this.#isDrainDue = true;
      afterInput(() => {
        this.#isDrainDue = false;
        this.drain();
      });
    }
  }

  /** The same link; after each message, the worker is woken when there is something for it. */
  watched<Out, In>(link: SyncLink<Out, In>): SyncLink<Out, In> {
    return {
      bind: (handlers) =>
        link.bind({
          onOpen: () => handlers.onOpen(),
          onMessage: (message) => {
            handlers.onMessage(message);
            this.#wakeSoon();
          },
          onWritable: () => handlers.onWritable(),
          onClose: (why) => handlers.onClose(why),
        }),
      send: (message) => link.send(message),
      pause: () => link.pause(),
      resume: () => link.resume(),
      close: () => link.close(),
    };
  }

  /** A peer said something: replicas may lie in the ring, or its acknowledgement may let packets go. One doorbell for all of it. */
  #wakeSoon(): void {
    if (this.#isWakeDue) return;
    this.#isWakeDue = true;
    queueMicrotask(() => {
      this.#isWakeDue = false;
      this.#wake();
    });
  }

  #wake(): void {
    const { replication, replicas, isAwaited, wake } = this.#options;
    const { claims } = replication().router.counts;
    const isAckNews = claims !== this.#claimsSeen && isAwaited();
    this.#claimsSeen = claims;
    if ((replicas.length() > 0 && replicas.takeArmed()) || isAckNews) wake();
  }
}
