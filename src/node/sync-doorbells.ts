/**
 * Sync doorbells: when the control thread looks into the rings that it shares with the dataplane worker, and when it wakes the
 * worker. At most one wake-up for all that came in one go, none while the worker has nothing to do.
 *
 *   worker --changes--> drain() --> peers          peers --acknowledgements, records--> wake() --replicas--> worker
 *
 * What a batch costs hardly depends on how much is in it. So changes are taken at once after a quiet time, and those that follow together:
 * with the acknowledgement of the batch before theirs, or `gatherUs` after they were last looked for. No timer does that: the worker,
 * which is awake with every packet, rings late, and later still while it is an acknowledgement that they would have to wait for.
 */
import type { SyncLink } from "../../cluster/sync/link.ts";
import { BATCH_RECORDS_MAX } from "../../cluster/sync/messages.ts";
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
  /** When there were changes to take, the last time. */
  #takenMs = Number.NEGATIVE_INFINITY;

  constructor(options: SyncDoorbellOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** The rings have news: send changes, acknowledge replicas, wake the worker when peers acknowledged ours. */
  drain(): void {
    if (this.#isStopped) return;
    const { nowMs, afterInput } = this.#options;
    const now = nowMs();
    const isMore = this.#takeDue(now);
    this.#wake();
    if ((isMore || !this.#maySleep(now)) && !this.#isDrainDue) {
      this.#isDrainDue = true;
      afterInput(() => {
        this.#isDrainDue = false;
        this.drain();
      });
    }
  }

  /** True when more is to be taken at once. */
  #takeDue(now: number): boolean {
    const { replication, changes } = this.#options;
    replication().onApplied();
    if (now < this.#dueMs && changes.length() < BATCH_RECORDS_MAX) return false;
    return this.#take(now);
  }

  #take(now: number): boolean {
    const { replication, changes } = this.#options;
    if (changes.length() > 0) this.#takenMs = now;
    return replication().drain(now);
  }

  /** Changes are taken from then on, or when they fill a batch. */
  get #dueMs(): number {
    const { limits, router } = this.#options.replication();
    return this.#takenMs + (router.isWaiting ? limits.gatherWaitingUs : limits.gatherUs) / 1000;
  }

  /** Asks to be woken, and looks once more, so that nothing comes between. */
  #maySleep(now: number): boolean {
    const { changes } = this.#options;
    const dueMs = this.#dueMs;
    return now < dueMs ? changes.armFrom(dueMs, BATCH_RECORDS_MAX) : changes.arm();
  }

  /** The same link to a peer that is sent changes: what waits in the ring leaves with the acknowledgement that comes. */
  outgoing<Out, In>(link: SyncLink<Out, In>): SyncLink<Out, In> {
    return this.#watched(link, (handle) => {
      if (!this.#isStopped) this.#take(this.#options.nowMs());
      handle();
      this.drain();
    });
  }

  /** The same link from a peer. */
  incoming<Out, In>(link: SyncLink<Out, In>): SyncLink<Out, In> {
    return this.#watched(link, (handle) => handle());
  }

  /** After each message, the worker is woken when there is something for it. */
  #watched<Out, In>(link: SyncLink<Out, In>, around: (handle: () => void) => void): SyncLink<Out, In> {
    return {
      bind: (handlers) =>
        link.bind({
          onOpen: () => handlers.onOpen(),
          onMessage: (message) => {
            around(() => handlers.onMessage(message));
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
