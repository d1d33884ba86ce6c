/**
 * Liveness model: the profiles of the failure detector and the words that the worker, the witness and the control plane
 * use about links and peers. Owns no protocol (bfd.ts, envelope.ts, heartbeats.ts).
 */

export interface LivenessProfile {
  readonly name: "lan" | "vm" | "wan";
  /** BFD desired minimum TX interval. */
  readonly intervalMs: number;
  /** BFD detect multiplier. */
  readonly multiplier: number;
  readonly leaseMs: number;
}

export const PROFILES: Readonly<Record<LivenessProfile["name"], LivenessProfile>> = {
  lan: { name: "lan", intervalMs: 10, multiplier: 6, leaseMs: 60 },
  vm: { name: "vm", intervalMs: 50, multiplier: 3, leaseMs: 200 },
  wan: { name: "wan", intervalMs: 300, multiplier: 3, leaseMs: 1200 },
};

/** Parts of an interval, and milliseconds. */
const REST_INTERVALS = 0.4;
const REST_MS_MAX = 20;

/**
 * The longest time between two calls of tick(), whatever is due: leases are asked for and links are compared in it. And the time in
 * which a loop stands still unseen, if it happens to begin to right after a call.
 */
export function restMsOf({ intervalMs }: Pick<LivenessProfile, "intervalMs">): number {
  return Math.min(REST_MS_MAX, REST_INTERVALS * intervalMs);
}

/** Link 0 is the cluster link; link 1 + i is the i-th zone port, as numbered in the node's configuration by zone name order. */
export const CLUSTER_LINK = 0;
/** Links a member may have, so that every table over them is bounded. */
export const MAX_LINKS = 64;

export interface PeerConfig {
  readonly nodeId: number;
  readonly role: "node" | "witness";
  /** Links that this member and the peer share; a witness has the cluster link only. */
  readonly links: readonly number[];
}

/**
 * Why a peer counts as dead.
 *
 * | cause    | what was seen                                                | is its process provably gone? |
 * |----------|--------------------------------------------------------------|-------------------------------|
 * | silent   | nothing on any link for the detection time                   | no: it may be cut off         |
 * | lifeline | its lifeline closed and an interval was missed on every link | yes                           |
 * | restart  | a new life of it answered our challenge                      | yes: the old life             |
 * | admin    | it said that it stops (AdminDown) on every link              | no: it may be stopping still  |
 */
export type DeathCause = "silent" | "lifeline" | "restart" | "admin";

/** What a node hears on the wire of one of its zones. */
export interface LinkHearing {
  /** Number of the zone link. */
  readonly link: number;
  /** Whose heartbeats come in there. */
  readonly nodes: readonly number[];
  /** Frames of others than nodes do. */
  readonly hasOthers: boolean;
}

/** What the detector tells. */
export type LivenessEvent =
  | {
      readonly type: "linkUp" | "linkDown";
      readonly node: number;
      readonly link: number;
      readonly atMs: number;
    }
  /** The first link came up. */
  | { readonly type: "peerUp"; readonly node: number; readonly atMs: number }
  /** The last link went silent, or a quicker proof of death came. */
  | {
      readonly type: "peerDown";
      readonly node: number;
      readonly atMs: number;
      readonly cause: DeathCause;
      readonly lastHeardMs: number;
      /** The highest incarnation that the life in question has shown; 0: none. A later life may be up already. */
      readonly incarnation: number;
      /** This member hears no majority: it may well be itself that is cut off, so the silence proves nothing to others. */
      readonly isDeaf?: true;
    }
  /**
   * The process that was this peer is provably gone: its lifeline closed while it is silent, or a new life of it answered.
   * It follows the peerDown of the same life, at once or later. Says nothing about incarnations above `incarnation`: they may
   * belong to a life that we have not met.
   */
  | { readonly type: "peerGone"; readonly node: number; readonly atMs: number; readonly incarnation: number }
  /** The peer says that what we send it on this link comes late or not at all, while other links are fine; or that this is over. */
  | {
      readonly type: "linkPace";
      readonly node: number;
      readonly link: number;
      readonly isLate: boolean;
      readonly atMs: number;
    }
  /** Our own loop stalled: judgements were put off. */
  | { readonly type: "stalled"; readonly lateMs: number; readonly atMs: number };

/** Where the heartbeats of this member stand, for status and metrics. A snapshot, safe to keep. */
export interface LinkStatus {
  readonly node: number;
  readonly link: number;
  readonly isUp: boolean;
  readonly lastHeardMs: number;
}
