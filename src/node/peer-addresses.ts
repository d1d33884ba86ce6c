/**
 * Peer addresses: where the dataplane worker sends to its peers, as far as that is known when it first hears of them, and the view of
 * the cluster that its engine begins with.
 */
import { type ClusterView, MAX_NODE_ID, MAX_SLOTS, type PeerAddress } from "../dataplane/cluster-view.ts";
import { parseIpv4 } from "../policy/address.ts";
import type { WorkerPeer, WorkerSetup } from "./worker-protocol.ts";

/** `ports`: how many there are; MACs are learned. */
export function addressOf(peer: WorkerPeer, ports: number): PeerAddress {
  return {
    nodeId: peer.nodeId,
    clusterIp: parseIpv4(peer.address) ?? 0,
    clusterMac: new Uint8Array(6).fill(0xff),
    zoneMac: Array.from({ length: ports }, () => new Uint8Array(6)),
  };
}

/** Nobody owns anything yet. */
export function makeView(setup: WorkerSetup, peers: readonly (PeerAddress | undefined)[]): ClusterView {
  return {
    slots: setup.slots,
    selfId: setup.selfId,
    clusterIp: parseIpv4(setup.selfAddress) ?? 0,
    epoch: 0,
    owner: new Uint8Array(MAX_SLOTS),
    backup: new Uint8Array(MAX_SLOTS),
    coBackup: new Uint8Array(MAX_SLOTS),
    home: new Uint8Array(MAX_SLOTS),
    state: new Uint8Array(MAX_SLOTS),
    gainedEpoch: new Uint32Array(MAX_SLOTS),
    peerFlags: new Uint8Array(MAX_NODE_ID + 1),
    peers,
    leaseUntilMs: new Float64Array(setup.memory.lease),
    ackedSequence: new Float64Array(setup.memory.acked),
  };
}
