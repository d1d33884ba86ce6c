/**
 * Witness admin: what each method of the admin socket does on a witness. Apart from the nodes' (admin-handlers.ts), which bring the whole
 * dataplane with them: a witness has no memory for that.
 */
import { SynwallError } from "../base/errors.ts";
import type { AdminHandlers } from "./admin-server.ts";
import { type ClusterAdminParts, clusterHandlers, DRAIN_MS_MAX, EVENTS_MAX } from "./cluster-admin.ts";
import type { WitnessCore } from "./witness-core.ts";

/** What a witness answers: it has no flows, but it can be asked about the cluster. */
export function witnessHandlers(witness: WitnessCore, parts: Partial<ClusterAdminParts> = {}): AdminHandlers {
  const noDataplane = (): never => {
    throw new SynwallError("SW_ADMIN_BAD_REQUEST", "a witness has no dataplane: ask a node");
  };
  return {
    status: () => witness.status(),
    "flows.list": noDataplane,
    "flows.count": noDataplane,
    locate: noDataplane,
    trace: noDataplane,
    drain: async ({ node, timeoutMs }) => ({
      epoch: await witness.controller.drain(node, timeoutMs ?? DRAIN_MS_MAX),
    }),
    rejoin: async ({ node, timeoutMs }) => ({
      epoch: await witness.controller.rejoin(node, timeoutMs ?? DRAIN_MS_MAX),
    }),
    journal: ({ sinceMs, limit }) => ({
      nowMs: witness.nowMs(),
      events: witness.journal.since(sinceMs ?? 0, Math.min(limit ?? EVENTS_MAX, EVENTS_MAX)),
    }),
    lag: noDataplane,
    "sync.full": noDataplane,
    "policy.apply": noDataplane,
    counters: noDataplane,
    ...clusterHandlers({
      controller: witness.controller,
      founders: witness.founders,
      processes: witness.processes,
      registration: () => undefined,
      ...parts,
    }),
  };
}
