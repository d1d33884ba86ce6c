/**
 * Memory store: a Kv with etcd's semantics and no network, for tests and simulation. Several members share one MemoryKv through
 * clients of their own; requests and answers take time by the clock that is handed in, and can get lost on either way.
 * test/conformance/kv-suite.ts holds it against a real etcd.
 */
import {
  endOfPrefix,
  type Kv,
  type KvCompare,
  KvError,
  type KvEvent,
  type KvPair,
  type KvResult,
  type KvTransaction,
  type KvWatcher,
} from "./kv.ts";

export interface KvClock {
  /** Calls back once, in `ms`. */
  schedule(ms: number, callback: () => void): void;
}

/** How a client reaches the store; may be changed at any time. */
export interface KvWay {
  /** Each way. */
  delayMs: number;
  timeoutMs: number;
  /** Requests do not arrive. */
  isCut: boolean;
  /** Requests arrive and are carried out, answers and events do not come. */
  isMute: boolean;
}

interface Watch {
  readonly prefix: string;
  readonly deliver: (events: readonly KvEvent[]) => void;
  readonly end: (why: string) => void;
}

export class MemoryKv {
  #pairs = new Map<string, KvPair>();
  /** All changes since `#compacted`, oldest first. */
  #history: KvEvent[] = [];
  #compacted = 0;
  #revision = 1;
  readonly #watches = new Set<Watch>();

  get revision(): number {
    return this.#revision;
  }

  get keys(): readonly string[] {
    return [...this.#pairs.keys()].sort();
  }

  /** As `etcdctl compact`: forgets what there was before the present revision, but no key's present value. */
  compact(): void {
    this.#compacted = this.#revision;
    this.#history = [];
  }

  /** All that is in it, to be put back with restore(). */
  backup(): ReadonlyMap<string, KvPair> {
    return new Map(this.#pairs);
  }

  /** As after a restore of an older backup, or of none: the history begins anew. */
  restore(pairs: ReadonlyMap<string, KvPair>): void {
    this.#pairs = new Map(pairs);
    this.#revision = Math.max(1, ...[...pairs.values()].map(({ modRevision }) => modRevision));
    this.#compacted = this.#revision;
    this.#history = [];
    for (const watch of this.#watches) watch.end("the store was restored");
    this.#watches.clear();
  }

  client(clock: KvClock, way: KvWay): MemoryKvClient {
    return new MemoryKvClient(this, clock, way);
  }

  transact({ compare, success, failure }: KvTransaction): KvResult {
    const succeeded = compare.every((one) => this.#holds(one));
    const reads: (readonly KvPair[])[] = [];
    const events: KvEvent[] = [];
    const revision = this.#revision + 1;
    const operations = succeeded ? success : failure;
    const puts = operations.filter(({ type }) => type === "put").map(({ key }) => key);
    if (new Set(puts).size < puts.length) throw new KvError("refused", "duplicate key given in txn");
    for (const operation of operations) {
      if (operation.type === "get") reads.push(this.#get(operation));
      else if (operation.type === "put") this.#put(operation.key, operation.value, revision, events);
      else for (const { key } of this.#get(operation)) this.#delete(key, revision, events);
    }
    if (events.length > 0) {
      this.#revision = revision;
      this.#history.push(...events);
      for (const watch of this.#watches) notify(watch, events);
    }
    return { succeeded, revision: this.#revision, reads };
  }

  /** Answers what ends it. */
  attach(watch: Watch, fromRevision: number): () => void {
    if (fromRevision <= this.#compacted) {
      watch.end("required revision has been compacted");
      return () => {};
    }
    notify(
      watch,
      this.#history.filter(({ modRevision }) => modRevision >= fromRevision),
    );
    this.#watches.add(watch);
    return () => void this.#watches.delete(watch);
  }

  #holds(compare: KvCompare): boolean {
    const pair = this.#pairs.get(compare.key);
    if ("modRevision" in compare) return (pair?.modRevision ?? 0) === compare.modRevision;
    return pair !== undefined && isSame(pair.value, compare.value);
  }

  #get({ key, to, limit = 0 }: { key: string; to?: string; limit?: number }): KvPair[] {
    const pair = this.#pairs.get(key);
    if (to === undefined) return pair === undefined ? [] : [pair];
    const found = [...this.#pairs.values()].filter((one) => one.key >= key && one.key < to);
    found.sort((a, b) => (a.key < b.key ? -1 : 1));
    return limit === 0 ? found : found.slice(0, limit);
  }

  #put(key: string, value: Uint8Array, modRevision: number, events: KvEvent[]): void {
    this.#pairs.set(key, { key, value, modRevision });
    events.push({ key, value, modRevision });
  }

  #delete(key: string, modRevision: number, events: KvEvent[]): void {
    this.#pairs.delete(key);
    events.push({ key, modRevision });
  }
}

export class MemoryKvClient implements Kv {
  readonly place = "memory";
  readonly way: KvWay;
  readonly #store: MemoryKv;
  readonly #clock: KvClock;
  readonly #ends = new Set<(why: string) => void>();
  #isClosed = false;

  constructor(store: MemoryKv, clock: KvClock, way: KvWay) {
    this.#store = store;
    this.#clock = clock;
    this.way = way;
  }

  transact(transaction: KvTransaction): Promise<KvResult> {
    const { delayMs, timeoutMs } = this.way;
    return new Promise((resolve, reject) => {
      this.#clock.schedule(timeoutMs, () => reject(new KvError("unknown", "deadline exceeded")));
      if (this.way.isCut || this.#isClosed) return;
      this.#clock.schedule(delayMs, () => {
        let result: KvResult;
        try {
          result = this.#store.transact(transaction);
        } catch (error) {
          reject(error);
          return;
        }
        this.#clock.schedule(delayMs, () => {
          if (!this.way.isMute && !this.way.isCut && !this.#isClosed) resolve(result);
        });
      });
    });
  }

  watch(prefix: string, revision: number, watcher: KvWatcher): () => void {
    let isOver = false;
    let detach = (): void => {};
    const stop = (): void => {
      isOver = true;
      detach();
      this.#ends.delete(end);
    };
    const end = (why: string): void => {
      if (isOver) return;
      stop();
      watcher.onEnd(why);
    };
    const later = (work: () => void): void =>
      this.#clock.schedule(this.way.delayMs, () => {
        if (!isOver && !this.#isClosed) work();
      });
    this.#ends.add(end);
    later(() => {
      const deliver = (events: readonly KvEvent[]): void => {
        if (this.way.isCut || this.way.isMute) later(() => end("the connection broke"));
        else later(() => watcher.onEvents(events));
      };
      detach = this.#store.attach({ prefix, deliver, end: (why) => later(() => end(why)) }, revision);
    });
    return stop;
  }

  /** The connection breaks: watches end, requests go on to need their time. */
  breakWatches(): void {
    for (const end of [...this.#ends]) end("the connection broke");
  }

  close(): void {
    this.#isClosed = true;
    this.#ends.clear();
  }
}

function notify({ prefix, deliver }: Watch, events: readonly KvEvent[]): void {
  const to = endOfPrefix(prefix);
  const meant = events.filter(({ key }) => key >= prefix && key < to);
  if (meant.length > 0) deliver(meant);
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
