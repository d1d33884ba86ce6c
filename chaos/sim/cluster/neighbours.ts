/**
 * Neighbours of a simulated host: which MAC an address on the wire has (RFC 826). Asks, remembers, asks again now and then, and
 * keeps a few packets for those that have not answered yet. As Linux does it, in little: the answer is good for half a minute,
 * unsolicited news only changes what is known already.
 */
const REACHABLE_MS = 30_000;
const RETRY_MS = 1_000;
const ATTEMPTS_MAX = 3;
const WAITING_MAX = 64;

interface Entry {
  mac: Uint8Array | undefined;
  confirmedAtMs: number;
  attempts: number;
  isAsking: boolean;
  waiting: Buffer[];
}

export interface NeighboursOptions {
  nowMs(): number;
  after(ms: number, callback: () => void): () => void;
  /** Sends a request for `target` in the name of `sender`. */
  ask(target: number, sender: number): void;
  /** Sends a frame whose MACs are still to be written. */
  send(frame: Buffer, mac: Uint8Array): void;
}

export class Neighbours {
  readonly #options: NeighboursOptions;
  readonly #entries = new Map<number, Entry>();

  constructor(options: NeighboursOptions) {
    this.#options = options;
  }

  /** Sends `frame` to whoever has `address`, now or when that is known. `sender` is our address in it. */
  send(frame: Buffer, address: number, sender: number): void {
    const { nowMs, send } = this.#options;
    const entry = this.#entries.get(address) ?? this.#make(address);
    if (entry.mac !== undefined) {
      if (nowMs() - entry.confirmedAtMs > REACHABLE_MS) this.#ask(entry, address, sender);
      send(frame, entry.mac);
      return;
    }
    if (entry.waiting.length < WAITING_MAX) entry.waiting.push(frame);
    this.#ask(entry, address, sender);
  }

  /** `address` said that it has `mac`. */
  heard(address: number, mac: Uint8Array): void {
    const entry = this.#entries.get(address);
    if (entry === undefined) return;
    entry.mac = mac;
    entry.confirmedAtMs = this.#options.nowMs();
    entry.attempts = 0;
    for (const frame of entry.waiting.splice(0)) this.#options.send(frame, mac);
  }

  #make(address: number): Entry {
    const entry: Entry = {
      mac: undefined,
      confirmedAtMs: Number.NEGATIVE_INFINITY,
      attempts: 0,
      isAsking: false,
      waiting: [],
    };
    this.#entries.set(address, entry);
    return entry;
  }

  #ask(entry: Entry, address: number, sender: number): void {
    if (entry.isAsking) return;
    const { nowMs, after, ask } = this.#options;
    entry.isAsking = true;
    const askedAtMs = nowMs();
    ask(address, sender);
    after(RETRY_MS, () => {
      entry.isAsking = false;
      if (entry.confirmedAtMs >= askedAtMs) return;
      if (++entry.attempts < ATTEMPTS_MAX) this.#ask(entry, address, sender);
      else this.#entries.delete(address);
    });
  }
}
