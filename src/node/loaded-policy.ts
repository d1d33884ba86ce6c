/**
 * Loaded policy: all that is made of a configuration file before its policy can hold: read, checked, its rules compiled. Owns the
 * making; for thousands of rules it takes seconds, so a running node has it made by a thread of its own (policy-loader.ts).
 */
import { loadNodeConfig } from "../../config/load.ts";
import type { NodeConfig } from "../../config/node-config.ts";
import { type CompiledRules, compileRules } from "../dataplane/rules/compile.ts";
import { policyFingerprint } from "../policy/fingerprint.ts";

export interface LoadedPolicy {
  readonly config: NodeConfig;
  readonly compiled: CompiledRules;
  readonly fingerprint: string;
}

/** Throws SW_CONFIG_UNREADABLE, SW_CONFIG_INVALID or SW_TLS_INVALID; the message has one line per mistake. */
export function loadPolicy(path: string): LoadedPolicy {
  const config = loadNodeConfig(path, "node");
  const { policy } = config.dataplane!;
  return {
    config,
    compiled: compileRules(policy.rules),
    fingerprint: policyFingerprint(policy, config.cluster.slots),
  };
}
