/**
 * Fragment limits: how much virtual reassembly may hold, and their defaults. The policy gives what an operator decides.
 */
import { assert } from "../base/assert.ts";
import type { FragmentModel } from "./policy-model.ts";

export interface FragmentLimits {
  /** Datagrams that are collected or remembered as refused. */
  readonly datagramsMax: number;
  /** The same of one source: an IPv4 address or an IPv6 /64, in one zone. */
  readonly datagramsPerSource: number;
  /** 64 carry the longest datagram down to an MTU of 1280 bytes, and 35 kB at 576. */
  readonly fragmentsPerDatagram: number;
  /** Frames that are held; a share of the pool. */
  readonly framesMax: number;
  readonly framesPerSource: number;
  /** Frames that the pool must have left, or held ones make room. */
  readonly freeFramesMin: number;
  /** From a datagram's first fragment to arrive to the end of waiting; also how long a refusal is remembered. */
  readonly timeoutMs: number;
  /** A datagram younger than this makes no room for others' newer ones. */
  readonly graceMs: number;
  /** Percent of datagrams and frames that only datagrams which were whole on another node may use. */
  readonly reservePercent: number;
}

/** The kernel's time-out (RFC 8200 allows up to 60 s). */
export const FRAGMENT_LIMITS: FragmentLimits = {
  datagramsMax: 1024,
  datagramsPerSource: 64,
  fragmentsPerDatagram: 64,
  framesMax: 1024,
  framesPerSource: 256,
  freeFramesMin: 64,
  timeoutMs: 30_000,
  graceMs: 20,
  reservePercent: 12.5,
};

/** At most this part of a pool waits for reassembly. */
const POOL_SHARE = 1 / 4;

/** The limits for a pool of `poolFrames`, with what the policy says: the defaults, or less where something else is smaller. */
export function fragmentLimits(
  poolFrames: number,
  model?: FragmentModel,
  changed?: Partial<FragmentLimits>,
): FragmentLimits {
  const wanted = { ...FRAGMENT_LIMITS, ...model, ...changed };
  const framesMax = Math.min(wanted.framesMax, Math.floor(poolFrames * POOL_SHARE));
  const framesPerSource = Math.min(wanted.framesPerSource, Math.ceil(framesMax / 2));
  const limits = {
    ...wanted,
    framesMax,
    framesPerSource,
    fragmentsPerDatagram: Math.min(wanted.fragmentsPerDatagram, framesPerSource),
    datagramsPerSource: Math.min(wanted.datagramsPerSource, wanted.datagramsMax),
    graceMs: Math.min(wanted.graceMs, wanted.timeoutMs / 2),
  };
  assert(
    limits.fragmentsPerDatagram >= 2,
    `a pool of ${poolFrames} frames is too small to reassemble anything`,
  );
  assert(limits.datagramsPerSource >= 1, "no datagram could be reassembled");
  assert(
    limits.reservePercent >= 0 && limits.reservePercent <= 50,
    "a reserve leaves half of the room at least",
  );
  return limits;
}
