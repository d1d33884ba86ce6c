/**
 * Lease voters: whose promises back a lease in a cluster as it was begun, by its configuration.
 */
import { votersWithStore } from "../../cluster/control/quorum.ts";
import type { NodeConfig } from "../../config/node-config.ts";

/** The members, and the store that keeps their log where they are even in number. */
export function leaseVoters({
  cluster,
  control,
}: Pick<NodeConfig, "cluster" | "control">): readonly number[] {
  return control.etcd === undefined ? cluster.founders : votersWithStore(cluster.founders);
}
