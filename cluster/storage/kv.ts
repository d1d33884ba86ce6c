/**
 * Key-value store: the little that the control plane needs of a replicated store at a site, in etcd's terms: one history of
 * revisions, transactions that compare and then act, and a watch that misses nothing. Owns the interface; implemented by
 * cluster/transport/etcd-kv.ts for etcd and by memory-kv.ts for tests and simulation.
 */

export interface KvPair {
  readonly key: string;
  readonly value: Uint8Array;
  /** The revision that wrote this value. */
  readonly modRevision: number;
}

/** True when the key was written last in `modRevision` (0: it is not there), or has exactly this value. */
export type KvCompare =
  | { readonly key: string; readonly modRevision: number }
  | { readonly key: string; readonly value: Uint8Array };

export type KvOperation =
  | { readonly type: "put"; readonly key: string; readonly value: Uint8Array }
  /** The key alone, or with `to` all keys from `key` up to but without `to`, in their order. */
  | { readonly type: "get"; readonly key: string; readonly to?: string; readonly limit?: number }
  | { readonly type: "delete"; readonly key: string; readonly to?: string };

export interface KvTransaction {
  /** All must hold for `success`; none: it always does. */
  readonly compare: readonly KvCompare[];
  readonly success: readonly KvOperation[];
  readonly failure: readonly KvOperation[];
}

export interface KvResult {
  /** All compares held. */
  readonly succeeded: boolean;
  /** Of the store when this was done. */
  readonly revision: number;
  /** What the branch that was taken read: one list for each get, in their order. */
  readonly reads: readonly (readonly KvPair[])[];
}

/** A change: `value` is absent when the key was deleted. */
export interface KvEvent {
  readonly key: string;
  readonly value?: Uint8Array;
  readonly modRevision: number;
}

export interface KvWatcher {
  /** In the order of their revisions; those of one revision come together. */
  onEvents(events: readonly KvEvent[]): void;
  /** Nothing more comes: the connection broke, or the store has forgotten what was asked for. Read, then watch again. */
  onEnd(why: string): void;
}

/** What a request came to; "unknown": it may have been done, or may still be. */
export type KvFailure = "unknown" | "refused";

export class KvError extends Error {
  override readonly name = "KvError";
  readonly failure: KvFailure;

  constructor(failure: KvFailure, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.failure = failure;
  }
}

export interface Kv {
  /** Where the store is, for people. */
  readonly place: string;
  /**
   * Linearizable: it sees all that any other transaction did that was answered before this one began. Rejects with KvError:
   * in bounded time, but not before a refusal or the deadline.
   */
  transact(transaction: KvTransaction): Promise<KvResult>;
  /** All changes under `prefix` from `revision` on. Gives the function that ends it; then neither callback is called. */
  watch(prefix: string, revision: number, watcher: KvWatcher): () => void;
  close(): void;
}

/** The first key behind all keys that begin with `prefix`, which must end in a character below 0x7f. */
export function endOfPrefix(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}
