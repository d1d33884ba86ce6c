/**
 * Worker setup: from a node's configuration to what its dataplane worker is given.
 */
import { PROFILES } from "../../cluster/liveness/model.ts";
import { interfaceLabel, type MemberConfig, type NodeConfig } from "../../config/node-config.ts";
import { GENEVE_PORT } from "../packet/geneve.ts";
import { HEARTBEAT_PORT } from "../packet/udp.ts";
import { deriveKeys } from "./keys.ts";
import { leaseVoters } from "./lease-voters.ts";
import type { SharedMemory } from "./shared-memory.ts";
import type { WorkerPeer, WorkerSetup } from "./worker-protocol.ts";

/** A peer as the worker knows it. A witness has the cluster link only. */
export function workerPeer(
  { id, name, role, address }: MemberConfig,
  { dataplane }: Pick<NodeConfig, "dataplane">,
): WorkerPeer {
  const zoneLinks = dataplane!.interfaces.slice(0, -1).map((_, index) => index + 1);
  return { nodeId: id, name, role, address, links: role === "node" ? [0, ...zoneLinks] : [0] };
}

/** `logId`: names the log in a store of the site; see keys.ts. */
export function workerSetup(config: NodeConfig, memory: SharedMemory, logId = ""): WorkerSetup {
  const { cluster, dataplane } = config;
  const { interfaces, policy, driver, realtime, sealRedirects, flowsMax, ruleLogsPerSecond } = dataplane!;
  const peers = cluster.members
    .filter((member) => member.id !== cluster.self.id)
    .map((member) => workerPeer(member, config));
  return {
    memory,
    flowsMax,
    policy,
    ruleLogsPerSecond,
    driver,
    realtime,
    sealRedirects,
    ports: interfaces.map((port) => ({
      interfaceName: port.name,
      label: interfaceLabel(port),
      ...(port.vlan === undefined ? {} : { vlan: port.vlan }),
      filter: port.cluster ? { kind: "cluster", udpPorts: [HEARTBEAT_PORT, GENEVE_PORT] } : { kind: "all" },
    })),
    selfId: cluster.self.id,
    selfAddress: cluster.self.address,
    slots: cluster.slots,
    profile: PROFILES[cluster.profile],
    peers,
    voters: leaseVoters(config),
    isPair: cluster.isPair,
    witnessHops: cluster.witnessHops,
    ...deriveKeys(cluster.secret, cluster.name, logId),
    clusterName: cluster.name,
  };
}
