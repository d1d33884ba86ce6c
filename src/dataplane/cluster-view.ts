/**
 * Cluster view: what the engine knows of the cluster, as plain data that the worker's shell writes.
 * Owns no rule of ownership (cluster/takeover decides); the engine only reads it, per packet.
 */
import { SLOT_OWNED } from "../base/slot-state.ts";

export { SLOT_HANDOVER, SLOT_OWNED, SLOT_REMOTE, SLOT_TAKEOVER } from "../base/slot-state.ts";

/** Slots of a cluster are a power of two, 16..1024. */
export const MAX_SLOTS = 1024;
/** Node ids are 1..255 on the wire; 0 means nobody. */
export const MAX_NODE_ID = 255;

/** The peer answers heartbeats on the cluster link: GENEVE redirects reach it. */
export const PEER_ON_CLUSTER_LINK = 1;
/** The peer answers on at least one link: it is alive. */
export const PEER_ALIVE = 2;
/** The peer says that what comes from here over the cluster link comes late or not at all: the zones are the better way. */
export const PEER_LATE = 4;
/** Frames of the cluster link's full MTU do not come through from the peer, and by all likelihood not to it. */
export const PEER_NARROW = 8;

export interface PeerAddress {
  readonly nodeId: number;
  /** IPv4 of the peer on the cluster link, host order, unsigned. */
  readonly clusterIp: number;
  /** MAC on the cluster link, 6 bytes; all ones until learned. */
  readonly clusterMac: Uint8Array;
  /** By port index: the peer's own MAC on that zone's wire, 6 bytes; all zero until learned. */
  readonly zoneMac: readonly Uint8Array[];
}

/** One instance per engine; mutable on purpose. */
export interface ClusterView {
  readonly slots: number;
  readonly selfId: number;
  /** Own IPv4 on the cluster link, host order. */
  readonly clusterIp: number;
  /** Epoch of the table that is acted on. */
  epoch: number;
  /** By slot: node id, 0 = nobody. */
  readonly owner: Uint8Array;
  readonly backup: Uint8Array;
  /** By slot: another node whose copy first packets wait for, while the slot changes its backup; 0: none. */
  readonly coBackup: Uint8Array;
  /** By slot: the node that owns it when all members are there. Changes with the member set alone. */
  readonly home: Uint8Array;
  /** By slot: SLOT_*. */
  readonly state: Uint8Array;
  /** By slot: the epoch in which this node gained it; a flow last tracked before then re-seeds its windows. */
  readonly gainedEpoch: Uint32Array;
  /** By node id: PEER_* bits. */
  readonly peerFlags: Uint8Array;
  /** By node id. */
  readonly peers: readonly (PeerAddress | undefined)[];
  /** Exclusive actions are allowed while now < leaseUntilMs[0] (Env clock). */
  readonly leaseUntilMs: Float64Array;
  /** By node id: the last change sequence that this peer's dataplane has applied (base: change count, see Engine). */
  readonly ackedSequence: Float64Array;
}

/** A view in which this node owns all slots for ever: a single node, tests, `policy test`, replay. */
export function standaloneView(slots: number, selfId = 1): ClusterView {
  const view: ClusterView = {
    slots,
    selfId,
    clusterIp: 0,
    epoch: 1,
    owner: new Uint8Array(MAX_SLOTS).fill(selfId, 0, slots),
    backup: new Uint8Array(MAX_SLOTS),
    coBackup: new Uint8Array(MAX_SLOTS),
    home: new Uint8Array(MAX_SLOTS).fill(selfId, 0, slots),
    state: new Uint8Array(MAX_SLOTS).fill(SLOT_OWNED, 0, slots),
    gainedEpoch: new Uint32Array(MAX_SLOTS),
    peerFlags: new Uint8Array(MAX_NODE_ID + 1),
    peers: [],
    leaseUntilMs: Float64Array.of(Number.POSITIVE_INFINITY),
    ackedSequence: new Float64Array(MAX_NODE_ID + 1),
  };
  return view;
}
