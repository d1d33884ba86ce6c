/**
 * Heartbeat budget: how many heartbeats of a port are authenticated a second. Each costs an HMAC before anything about it is known, so whoever
 * is on a zone's wire could fill the packet worker with forged ones. Each MAC address that a proven heartbeat came from has a budget of its
 * own: who forges one crowds out that member on that link, and nobody else. Owns the levels; what is refused heartbeat-wire.ts counts.
 */
import { TokenBucket } from "../dataplane/token-bucket.ts";
import { isGroup, isMac, isZero } from "../packet/ethernet.ts";

/** A peer at the fastest profile sends about 130; 2000 that are forged cost 2 % of a core. */
export const HEARTBEATS_PER_SECOND = 2000;

interface Known {
  /** Learned under way: all zeros or a group address before. */
  readonly mac: Uint8Array;
  readonly bucket: TokenBucket;
}

export class HeartbeatBudget {
  readonly #clock = new Float64Array(1);
  readonly #others = new TokenBucket(HEARTBEATS_PER_SECOND);
  #known: readonly Known[] = [];

  /** The addresses of peers on this port, where they are kept. */
  useMacs(macs: readonly Uint8Array[]): void {
    this.#known = macs.map((mac) => ({
      mac,
      bucket:
        this.#known.find((known) => known.mac === mac)?.bucket ?? new TokenBucket(HEARTBEATS_PER_SECOND),
    }));
  }

  /** False: not to be looked at. The sender's MAC address is at `at` in `bytes`. */
  take(bytes: Uint8Array, at: number, nowMs: number): boolean {
    this.#clock[0] = nowMs;
    if (!isGroup(bytes, at) && !isZero(bytes, at)) {
      for (const { mac, bucket } of this.#known)
        if (isMac(bytes, at, mac, 0)) return bucket.take(this.#clock);
    }
    return this.#others.take(this.#clock);
  }
}
