/**
 * A cluster's committed state for tests: members 1, 2, ... in the given states, four slots of member 1 without a backup.
 */
import type { ClusterState, MemberState, SlotTable } from "../../../cluster/control/model.ts";

const SLOTS = 4;

export function clusterState(
  members: readonly (readonly [role: "node" | "witness", state: MemberState])[],
  table: Partial<SlotTable> = {},
): ClusterState {
  const each = <T>(value: T): T[] => Array.from({ length: SLOTS }, () => value);
  return {
    revision: 1,
    members: members.map(([role, state], i) => ({
      id: i + 1,
      name: role === "witness" ? "witness" : `fw${i + 1}`,
      role,
      address: `192.0.2.${i + 1}`,
      weight: 1,
      state,
      incarnation: 1,
    })),
    table: {
      epoch: 1,
      owner: each(1),
      backup: each(0),
      synced: each(false),
      awaiting: each([]),
      movedEpoch: each(1),
      backupEpoch: each(0),
      cause: "initial",
      ...table,
    },
  };
}
