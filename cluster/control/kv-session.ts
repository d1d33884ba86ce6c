/**
 * Session with a store: whether it answers, whether its history only ever grows, and the watch on it. Owns what is true of any store,
 * whatever is in it; kv-driver.ts owns what is.
 */
import { type Kv, KvError, type KvEvent, type KvOperation, type KvResult } from "../storage/kv.ts";

export interface KvSessionOptions {
  readonly kv: Kv;
  readonly root: string;
  readonly onEvents: (events: readonly KvEvent[]) => void;
  readonly onWatchEnd: (why: string) => void;
  /** It answers again, or not any more, or its history went back. */
  readonly onChange: () => void;
  readonly onLog?: ((level: "debug" | "info" | "warn", message: string) => void) | undefined;
}

export type KvCompares = Parameters<Kv["transact"]>[0]["compare"];

export class KvSession {
  readonly #options: KvSessionOptions;
  /** The newest one that was seen. */
  #revision = 0;
  #isConnected = false;
  /** It was told that it does not answer. */
  #isFailing = false;
  #isClosed = false;
  #stopWatch: (() => void) | undefined;

  constructor(options: KvSessionOptions) {
    this.#options = options;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** Rejects with KvError; undefined: what was read is older than what is known. `onBack`: the store has forgotten revisions. */
  async transact(
    compare: KvCompares,
    success: readonly KvOperation[],
    failure: readonly KvOperation[],
    onBack: (why: string) => void,
  ): Promise<KvResult | undefined> {
    const known = this.#revision;
    const result = await this.#options.kv.transact({ compare, success, failure });
    if (this.#isClosed) return undefined;
    this.#isFailing = false;
    if (!this.#isConnected) {
      this.#isConnected = true;
      this.#options.onLog?.("info", "the store answers");
      this.#options.onChange();
    }
    if (result.revision < known) {
      onBack(`its history went back from revision ${known} to ${result.revision}`);
      return undefined;
    }
    if (result.revision < this.#revision) return undefined;
    this.#revision = result.revision;
    return result;
  }

  /** Throws what is not about the store being away. */
  failed(error: unknown): void {
    if (!(error instanceof KvError)) throw error;
    if (this.#isFailing || this.#isClosed) return;
    this.#isFailing = true;
    const what = error.failure === "refused" ? "refuses" : "does not answer";
    this.#options.onLog?.("warn", `the store ${what}: ${error.message}`);
    if (!this.#isConnected) return;
    this.#isConnected = false;
    this.#options.onChange();
  }

  /** Watches from behind `revision`, unless it does already. */
  watch(revision: number): void {
    if (this.#stopWatch !== undefined || this.#isClosed) return;
    const { kv, root, onEvents, onWatchEnd, onLog } = this.#options;
    this.#stopWatch = kv.watch(root, revision + 1, {
      onEvents: (events) => {
        for (const { modRevision } of events) this.#revision = Math.max(this.#revision, modRevision);
        onEvents(events);
      },
      onEnd: (why) => {
        this.#stopWatch = undefined;
        onLog?.("debug", `the watch on the store ended: ${why}`);
        onWatchEnd(why);
      },
    });
  }

  unwatch(): void {
    this.#stopWatch?.();
    this.#stopWatch = undefined;
  }

  close(): void {
    this.#isClosed = true;
    this.unwatch();
    this.#options.kv.close();
  }
}
