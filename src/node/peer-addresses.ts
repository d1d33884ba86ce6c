/**
 * Peer addresses: where the dataplane worker sends to its peers, as far as that is known when it first hears of them.
 */
import type { PeerAddress } from "../dataplane/cluster-view.ts";
import { parseIpv4 } from "../policy/address.ts";
import type { WorkerPeer } from "./worker-protocol.ts";

/** `ports`: how many there are; MACs are learned. */
export function addressOf(peer: WorkerPeer, ports: number): PeerAddress {
  return {
    nodeId: peer.nodeId,
    clusterIp: parseIpv4(peer.address) ?? 0,
    clusterMac: new Uint8Array(6).fill(0xff),
    zoneMac: Array.from({ length: ports }, () => new Uint8Array(6)),
  };
}

/** Those that forward packets. */
export function nodesOf(peers: readonly WorkerPeer[]): ReadonlySet<number> {
  return new Set(peers.filter(({ role }) => role === "node").map(({ nodeId }) => nodeId));
}
