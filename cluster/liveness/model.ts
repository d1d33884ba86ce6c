/**
 * Liveness model: the profiles of the failure detector and the words that the worker, the witness and the control plane
 * use about links and peers. Owns no protocol (bfd.ts, envelope.ts, detector.ts).
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
  lan: { name: "lan", intervalMs: 10, multiplier: 5, leaseMs: 60 },
  vm: { name: "vm", intervalMs: 50, multiplier: 3, leaseMs: 200 },
  wan: { name: "wan", intervalMs: 300, multiplier: 3, leaseMs: 1200 },
};

/** Link 0 is the cluster link; link 1 + i is the i-th zone port, as numbered in the node's configuration by zone name order. */
export const CLUSTER_LINK = 0;

export interface PeerConfig {
  readonly nodeId: number;
  readonly role: "node" | "witness";
  /** Links that this member and the peer share; a witness has the cluster link only. */
  readonly links: readonly number[];
}

/** What the detector tells. */
export type LivenessEvent =
  | { readonly type: "linkUp" | "linkDown"; readonly node: number; readonly link: number; readonly atMs: number }
  /** The first link came up / the last link went silent (or the lifeline closed and an interval was missed). */
  | { readonly type: "peerUp"; readonly node: number; readonly atMs: number }
  | { readonly type: "peerDown"; readonly node: number; readonly atMs: number; readonly cause: "silent" | "lifeline"; readonly lastHeardMs: number }
  /** Our own loop stalled: judgements were put off. */
  | { readonly type: "stalled"; readonly lateMs: number; readonly atMs: number };
