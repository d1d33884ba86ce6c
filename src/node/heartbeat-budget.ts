/**
 * Heartbeat budget: how many heartbeats of a port are authenticated a second. Each costs an HMAC before anything about it is known, so whoever
 * is on a zone's wire could fill the packet worker with forged ones. Senders whose MAC address a proven heartbeat came from have a
 * budget that those of others cannot use up. Owns the levels; who is refused is counted by heartbeat-wire.ts.
 */
import { TokenBucket } from "../dataplane/token-bucket.ts";
import { MAC_BYTES } from "../packet/ethernet.ts";

/** Of seven peers at the fastest profile come about 700; 2000 that are forged cost 2 % of a core. */
export const HEARTBEATS_PER_SECOND = 2000;

export class HeartbeatBudget {
  readonly #clock = new Float64Array(1);
  readonly #known = new TokenBucket(HEARTBEATS_PER_SECOND);
  readonly #others = new TokenBucket(HEARTBEATS_PER_SECOND);

  /** `macs`: those of peers on this port; false: not to be looked at. The sender's MAC address is at `at` in `bytes`. */
  take(macs: Iterable<Uint8Array>, bytes: Uint8Array, at: number, nowMs: number): boolean {
    this.#clock[0] = nowMs;
    for (const mac of macs) {
      if (isEqual(mac, bytes, at)) return this.#known.take(this.#clock);
    }
    return this.#others.take(this.#clock);
  }
}

function isEqual(mac: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < MAC_BYTES; i++) if (mac[i] !== bytes[at + i]) return false;
  return true;
}
