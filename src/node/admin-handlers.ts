/**
 * Admin handlers: what each method of the admin socket does on a node. Owns no fact: node-report.ts has them.
 */
import { interfaceLabel } from "../../config/node-config.ts";
import { addressWords } from "../base/address.ts";
import { SynwallError } from "../base/errors.ts";
import { slotOfAddress } from "../dataplane/slot.ts";
import { parseAddress } from "../policy/address.ts";
import type { AdminHandlers } from "./admin-server.ts";
import { type ClusterAdminParts, clusterHandlers } from "./cluster-admin.ts";
import { leaseVoters } from "./lease-voters.ts";
import type { LoadedPolicy } from "./loaded-policy.ts";
import type { NodeReport } from "./node-report.ts";
import { loadPolicyApart } from "./policy-loader.ts";
import { type TraceReport, type TraceRequest, trace } from "./replay/trace.ts";
import type { WitnessCore } from "./witness-core.ts";

const DRAIN_MS_MAX = 60_000;
const EVENTS_MAX = 4096;

/** `loadPolicy` may take its time, as long as it does not keep this thread. */
export function adminHandlers(
  report: NodeReport,
  loadPolicy: (path: string) => Promise<LoadedPolicy> = loadPolicyApart,
  parts: Partial<ClusterAdminParts> = {},
): AdminHandlers {
  const { core } = report;
  return {
    status: () => report.status(),
    "flows.list": (filter) => report.flows(filter),
    "flows.count": (filter) => report.countFlows(filter),
    locate: ({ address }) => {
      const parsed = typeof address === "string" ? parseAddress(address) : undefined;
      if (parsed === undefined) {
        throw new SynwallError(
          "SW_ADMIN_BAD_REQUEST",
          `address "${String(address)}" is no IP address: write it like 10.10.0.2 or 2001:db8::2`,
        );
      }
      const slot = slotOfAddress(report.flowKey, core.config.cluster.slots, addressWords(parsed), 0);
      const { controller } = core;
      const { table } = controller.driver.state();
      return {
        slot,
        owner: table.owner[slot] ? controller.name(table.owner[slot]) : "",
        backup: table.backup[slot] ? controller.name(table.backup[slot]) : "",
      };
    },
    trace: (request) => traceHere(report, request),
    drain: async ({ node: name, timeoutMs }) => ({
      epoch: await core.controller.drain(name, timeoutMs ?? DRAIN_MS_MAX),
    }),
    rejoin: async ({ node: name, timeoutMs }) => ({
      epoch: await core.controller.rejoin(name, timeoutMs ?? DRAIN_MS_MAX),
    }),
    journal: ({ sinceMs, limit }) => ({
      nowMs: core.nowMs(),
      events: core.journal.since(sinceMs ?? 0, Math.min(limit ?? EVENTS_MAX, EVENTS_MAX)),
    }),
    lag: ({ sinceMs, reset }) => {
      const answer = { samples: core.lag.since(sinceMs ?? 0), ack: report.ackSummary() };
      if (reset === true) report.resetAck();
      return answer;
    },
    "policy.apply": async ({ config: path }) => {
      if (typeof path !== "string") {
        throw new SynwallError("SW_ADMIN_BAD_REQUEST", "policy.apply needs the path of the file: config");
      }
      const loaded = await loadPolicy(path);
      core.applyPolicy(loaded, path);
      const { config, fingerprint } = loaded;
      return { rules: config.dataplane!.policy.rules.length, fingerprint, notes: config.notes ?? [] };
    },
    "sync.full": ({ peer }) => ({ slots: core.forceFullSync(peer) }),
    counters: () => report.counters(),
    ...clusterHandlers({
      controller: core.controller,
      founders: leaseVoters(core.config),
      registration: () => undefined,
      ...parts,
    }),
  };
}

/** By the policy and the table of slots that this node runs on. */
function traceHere({ core, flowKey }: NodeReport, request: TraceRequest): TraceReport {
  const { cluster, dataplane } = core.config;
  const { table } = core.controller.driver.state();
  const name = (id: number | undefined): string => (id ? core.controller.name(id) : "");
  return trace(
    {
      policy: core.policies.current,
      slots: cluster.slots,
      key: flowKey,
      portNames: dataplane!.interfaces.map(interfaceLabel),
      ownerOf: (slot) => ({ owner: name(table.owner[slot]), backup: name(table.backup[slot]) }),
    },
    request,
  );
}

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
      registration: () => undefined,
      ...parts,
    }),
  };
}
