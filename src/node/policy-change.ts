/**
 * Policy change: whether a configuration can hold in a process that runs on another one. Rules, NAT, routes, time-outs and limits
 * can change while packets pass; what threads, memory, ports or the cluster were made for cannot. Owns the list of the latter. Pure.
 */
import type { NodeConfig } from "../../config/node-config.ts";
import { SynwallError } from "../base/errors.ts";

/** Throws SW_ADMIN_BAD_REQUEST when `wanted` differs from `present` in more than what can change while running. */
export function checkPolicyChange(present: NodeConfig, wanted: NodeConfig, path: string): void {
  const before = fixedParts(present);
  const after = fixedParts(wanted);
  const differing = Object.keys(before).filter((name) => textOf(before[name]) !== textOf(after[name]));
  if (differing.length === 0) return;
  throw new SynwallError(
    "SW_ADMIN_BAD_REQUEST",
    `Cannot apply the policy of ${path}: ${differing.join(", ")} must stay as this node was started with; restart it, drained first`,
  );
}

/** By the words of the configuration file. */
function fixedParts({ cluster, control, dataplane, logLevel }: NodeConfig): Record<string, unknown> {
  const { policy, interfaces, driver, realtime, sealRedirects, flowsMax, ruleLogsPerSecond } = dataplane!;
  return {
    cluster: [{ ...cluster, secret: [...cluster.secret] }, policy.affinity],
    control,
    "dataplane.interfaces": interfaces,
    "dataplane.driver": [driver, realtime, sealRedirects],
    zones: policy.zones,
    "flows.max": flowsMax,
    fragments: policy.fragments,
    log: [logLevel, ruleLogsPerSecond],
  };
}

function textOf(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => (typeof part === "bigint" ? `${part}n` : part)) ?? "";
}
