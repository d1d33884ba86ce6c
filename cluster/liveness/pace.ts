/**
 * Pace: whether what a peer sends on the cluster link comes as soon as what it sends on the zones. Owns the rule and its message; pure.
 *
 * Every heartbeat carries the sender's clock. The receiver compares stamps with stamps, so no two clocks need to agree, and frames that
 * are lost count like frames that wait:
 *
 *   stamps on the zones:          ... 70   80   90  100        newest 100
 *   stamps on the cluster link:   ... 70                       newest  70: behind by 30
 *
 * Behind by more than two intervals and a bit, in two looks one after the other: the link is late, and the peer is told so on all links.
 * It then sends redirected packets over the zones, which also gives the link's queue room to drain. Timely again only when it was so
 * for a while, which doubles with each relapse: the redirects themselves may be what fills the link.
 */
import type { LivenessProfile } from "./model.ts";

export const MESSAGE_PACE = 7;
/** | sender's clock us u32 | flags u8 | zero u8 u16 | */
export const PACE_BYTES = 8;
const FLAG_LATE = 1;

/** Above two intervals: what ordinary jitter of two links may take. */
const SLACK_MS = 5;
/** Zones that were not heard for so many intervals are no measure. */
const ZONE_INTERVALS_MAX = 4;
const LOOKS_MIN = 2;
/** Stamps wrap after 71 minutes, and look older after half of that: one that was not renewed for so long is compared with nothing. */
const STAMP_MS_MAX = 60_000;
export const PACE_HOLD_MS_MIN = 1_000;
export const PACE_HOLD_MS_MAX = 32_000;
/** Late again within this time after it was timely: a relapse. */
export const PACE_RELAPSE_MS = 10_000;

export class Pace {
  /** What the peer sends on the cluster link comes late. */
  isLate = false;
  /** The peer says so of what we send. */
  isLateThere = false;
  readonly #boundUs: number;
  readonly #zoneMsMax: number;
  #clusterUs = Number.NaN;
  #clusterHeardMs = Number.NEGATIVE_INFINITY;
  #zoneUs = Number.NaN;
  #zoneHeardMs = Number.NEGATIVE_INFINITY;
  #saidUs = Number.NaN;
  #saidMs = Number.NEGATIVE_INFINITY;
  #looks = 0;
  #timelySinceMs = Number.NaN;
  #endedMs = Number.NEGATIVE_INFINITY;
  #holdMs = PACE_HOLD_MS_MIN;

  constructor({ intervalMs }: Pick<LivenessProfile, "intervalMs">) {
    this.#boundUs = (2 * intervalMs + SLACK_MS) * 1000;
    this.#zoneMsMax = ZONE_INTERVALS_MAX * intervalMs;
  }

  /** Writes the message for this peer at `at`. */
  write(view: DataView, at: number, nowMs: number): void {
    view.setUint32(at, (nowMs * 1000) >>> 0);
    view.setUint32(at + 4, this.isLate ? FLAG_LATE << 24 : 0);
  }

  /** The peer's message in a datagram of this life. True: it says something else than before about what we send. */
  read(view: DataView, at: number, length: number, isCluster: boolean, nowMs: number): boolean {
    if (length < PACE_BYTES) return false;
    const stampUs = view.getUint32(at);
    this.#forgetOld(nowMs);
    if (isCluster) {
      this.#clusterUs = later(this.#clusterUs, stampUs);
      this.#clusterHeardMs = nowMs;
    } else {
      this.#zoneUs = later(this.#zoneUs, stampUs);
      this.#zoneHeardMs = nowMs;
    }
    // What waited in a queue was said before what came by a quicker way.
    if (later(this.#saidUs, stampUs) !== stampUs) return false;
    this.#saidUs = stampUs;
    this.#saidMs = nowMs;
    const isLateThere = (view.getUint8(at + 4) & FLAG_LATE) !== 0;
    if (isLateThere === this.isLateThere) return false;
    this.isLateThere = isLateThere;
    return true;
  }

  /**
   * `stampUs` is not known to be as late as the latest one, by the sender's clock; NaN never is. Of no use to tell lives apart
   * whose clocks are not the same.
   */
  isBehind(stampUs: number): boolean {
    if (Number.isNaN(this.#saidUs)) return false;
    return Number.isNaN(stampUs) || later(this.#saidUs, stampUs) !== stampUs;
  }

  /**
   * A look, after all that came in this turn was read. True: the peer must be told. On a cluster link that is down heartbeats are rare:
   * nothing new is said about it.
   */
  judge(nowMs: number, isClusterUp: boolean): boolean {
    const isBehind = isClusterUp && this.#isClusterBehind(nowMs);
    this.#looks = isBehind ? this.#looks + 1 : 0;
    if (!this.isLate) {
      if (this.#looks < LOOKS_MIN) return false;
      const isRelapse = nowMs - this.#endedMs < PACE_RELAPSE_MS;
      this.#holdMs = isRelapse ? Math.min(2 * this.#holdMs, PACE_HOLD_MS_MAX) : PACE_HOLD_MS_MIN;
      this.#timelySinceMs = nowMs;
      this.isLate = true;
      return true;
    }
    if (isBehind || !isClusterUp) this.#timelySinceMs = nowMs;
    // Without zones there is no other way: then it matters no more how late it is.
    if (this.#hasZone(nowMs) && nowMs - this.#timelySinceMs < this.#holdMs) return false;
    this.isLate = false;
    this.#endedMs = nowMs;
    return true;
  }

  /** Another life of the peer: another clock, and nothing said yet. */
  reset(): void {
    this.#clusterUs = Number.NaN;
    this.#zoneUs = Number.NaN;
    this.#zoneHeardMs = Number.NEGATIVE_INFINITY;
    this.#saidUs = Number.NaN;
    this.#looks = 0;
    this.isLate = false;
    this.isLateThere = false;
  }

  #forgetOld(nowMs: number): void {
    if (nowMs - this.#clusterHeardMs > STAMP_MS_MAX) this.#clusterUs = Number.NaN;
    if (nowMs - this.#zoneHeardMs > STAMP_MS_MAX) this.#zoneUs = Number.NaN;
    if (nowMs - this.#saidMs > STAMP_MS_MAX) this.#saidUs = Number.NaN;
  }

  #isClusterBehind(nowMs: number): boolean {
    if (Number.isNaN(this.#clusterUs) || !this.#hasZone(nowMs)) return false;
    return ((this.#zoneUs - this.#clusterUs) | 0) > this.#boundUs;
  }

  #hasZone(nowMs: number): boolean {
    return nowMs - this.#zoneHeardMs <= this.#zoneMsMax;
  }
}

/** The later of two stamps that wrap after 71 minutes. */
function later(a: number, b: number): number {
  return Number.isNaN(a) || ((b - a) | 0) >= 0 ? b : a;
}
