/**
 * Voice of the store: how a member asks the store for its vote on leases (kv-vote.ts says why that is one). Owns the requests.
 */
import { KvError } from "../storage/kv.ts";
import type { StoreRequest, StoreVoice } from "./control-driver.ts";
import { encodePosition } from "./kv-keys.ts";
import type { KvReplica, SharedLog } from "./kv-replica.ts";
import { mayAsk, StorePromises } from "./kv-vote.ts";

/** Requests that are under way; a holder asks several times in a lease. */
const ASKS_MAX = 4;

export interface KvVoiceOptions {
  readonly log: Pick<SharedLog, "kv" | "keys">;
  readonly self: number;
  readonly replica: KvReplica;
  /** A lease with all that clocks may differ by. */
  readonly promiseMs: number;
  /** The store is the one that this member knows, and was read whole. */
  readonly isAble: () => boolean;
  readonly nowMs: () => number;
  /** The store holds entries that this member has not applied. */
  readonly onBehind: () => void;
}

export class KvVoice implements StoreVoice {
  readonly promises: StorePromises;
  readonly #options: KvVoiceOptions;
  #asks = 0;

  constructor(options: KvVoiceOptions) {
    this.#options = options;
    this.promises = new StorePromises(options.promiseMs);
  }

  async lease({ epoch, incarnation, seq }: StoreRequest): Promise<boolean> {
    const { log, self, replica, isAble, onBehind } = this.#options;
    if (!isAble() || this.#asks >= ASKS_MAX || !mayAsk(replica.cluster, self, epoch, incarnation))
      return false;
    const { kv, keys } = log;
    this.#asks++;
    try {
      const { succeeded } = await kv.transact({
        compare: [{ key: keys.head, value: encodePosition(replica.at) }],
        // What counts is the revision that wrote it.
        success: [{ type: "put", key: keys.lease(self), value: new TextEncoder().encode(String(seq)) }],
        failure: [],
      });
      if (!succeeded) onBehind();
      return succeeded;
    } catch (error) {
      if (error instanceof KvError) return false;
      throw error;
    } finally {
      this.#asks--;
    }
  }

  fence(node: number, epoch: number): ReturnType<StoreVoice["fence"]> {
    const { replica, isAble, nowMs } = this.#options;
    return isAble() ? this.promises.fence(replica.cluster, node, epoch, nowMs()) : undefined;
  }
}
