/**
 * Heartbeat peer: what a member remembers of another one that it exchanges heartbeats with. Owns no rule; heartbeats.ts changes it.
 */
import type { Env } from "../../src/base/env.ts";
import { type DetectorLink, PeerDetector } from "./detector.ts";
import { ReplayWindow } from "./envelope.ts";
import type { LivenessEvent, LivenessProfile, PeerConfig } from "./model.ts";
import { Pace } from "./pace.ts";

export interface Wire {
  readonly detector: DetectorLink;
  readonly window: ReplayWindow;
  seq: number;
  answeredMs: number;
}

export interface Peer {
  readonly detector: PeerDetector;
  readonly pace: Pace;
  readonly wires: Wire[];
  /** The proven life; 0: none. */
  nonce: number;
  readonly retired: number[];
  /** A life that seems to be an earlier one than the proven; 0: none. It was there then, and the proven one was not heard since. */
  elder: number;
  elderSinceMs: number;
  /** The life that the lifeline belongs to; 0: unknown or none. */
  lifeline: number;
  /** The lifeline may be a later life's: it goes to the next one that proves itself. */
  isLifelineWaiting: boolean;
  readonly standing: Map<number, Uint8Array>;
}

/** One that was never heard. */
export function newPeer(
  config: PeerConfig,
  profile: LivenessProfile,
  env: Env,
  nowMs: number,
  emit: (event: LivenessEvent) => void,
): Peer {
  const detector = new PeerDetector(config, profile, env, nowMs, emit);
  const wires = detector.links.map((l) => ({
    detector: l,
    window: new ReplayWindow(),
    seq: 0,
    answeredMs: Number.NEGATIVE_INFINITY,
  }));
  return {
    detector,
    pace: new Pace(profile),
    wires,
    nonce: 0,
    retired: [],
    elder: 0,
    elderSinceMs: 0,
    lifeline: 0,
    isLifelineWaiting: false,
    standing: new Map(),
  };
}
