/**
 * Peer flags: what the engine is told of a peer, from what heartbeats and probes say of it. Owns nothing.
 */
import type { Heartbeats } from "../../cluster/liveness/heartbeats.ts";
import { CLUSTER_LINK } from "../../cluster/liveness/model.ts";
import { PEER_ALIVE, PEER_LATE, PEER_NARROW, PEER_ON_CLUSTER_LINK } from "../dataplane/cluster-view.ts";
import type { PathWatch } from "./path-watch.ts";

export function peerFlagsOf(
  heartbeats: Pick<Heartbeats, "isLinkUp" | "isAlive" | "isLateThere">,
  paths: Pick<PathWatch, "isNarrow">,
  node: number,
): number {
  return (
    (heartbeats.isLinkUp(node, CLUSTER_LINK) ? PEER_ON_CLUSTER_LINK : 0) |
    (heartbeats.isAlive(node) ? PEER_ALIVE : 0) |
    (heartbeats.isLateThere(node) ? PEER_LATE : 0) |
    (paths.isNarrow(node) ? PEER_NARROW : 0)
  );
}
