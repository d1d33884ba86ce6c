/**
 * Protection and reassembly: limits that hold a flood off, with their defaults and what does not go together.
 *
 * Defaults only bite when something is wrong: half-open connections and the table's own fill are limited, single sources that
 * are busy are not. Numbers of connections are parts of the flow table, so that they fit any size of it.
 */
import type { FragmentModel, ProtectionModel } from "../dataplane/policy-model.ts";
import { checkAddressNames, expandAddresses } from "./sets.ts";
import type { PolicyMistake, PolicySource } from "./source.ts";

/** Parts of the table: half-open connections in all, of one source, and when cookies begin. */
const HALF_OPEN_PART = 4;
const HALF_OPEN_SOURCE_PART = 64;
const SYN_PROXY_PART = 64;
/** The small parts of a small table. */
const PART_MIN = 128;
/** Adaptive time-outs as in other stateful filters: from 60 % of the table on. The rest above 95 % is the reserve. */
const SHRINK_FROM_PERCENT = 60;
const SHRINK_TO_PERCENT = 95;
const RESERVE_PERCENT = 5;
export const RESERVE_PERCENT_MAX = 50;

/** RFC 791 and RFC 8200 leave the time to routers of old; 30 s is what hosts' and filters' stacks use. */
export const DEFAULT_FRAGMENTS: FragmentModel = {
  datagramsMax: 1024,
  datagramsPerSource: 64,
  timeoutMs: 30_000,
};

/** Absent when the policy does not know its table's size. */
export function compileProtection(policy: PolicySource): ProtectionModel | undefined {
  const { flowsMax, protection: given = {} } = policy;
  if (flowsMax === undefined) return undefined;
  const part = (of: number): number => Math.max(PART_MIN, Math.floor(flowsMax / of));
  const newFlowsPerSecond = given.newFlowsPerSecond ?? 0;
  const halfOpenMax = given.halfOpenMax ?? part(HALF_OPEN_PART);
  // A default gives way to the larger limit that it must not exceed.
  const below = (value: number): number => (halfOpenMax === 0 ? value : Math.min(value, halfOpenMax));
  return {
    halfOpenPerSource: given.halfOpenPerSource ?? below(part(HALF_OPEN_SOURCE_PART)),
    halfOpenPerDestination: given.halfOpenPerDestination ?? 0,
    halfOpenMax,
    synProxyAbove: given.synProxyAbove ?? below(part(SYN_PROXY_PART)),
    newFlowsPerSecond,
    newFlowsBurst: given.newFlowsBurst ?? newFlowsPerSecond,
    shrinkFromPercent: given.shrinkFromPercent ?? SHRINK_FROM_PERCENT,
    shrinkToPercent: given.shrinkToPercent ?? SHRINK_TO_PERCENT,
    reservePercent: given.reservePercent ?? RESERVE_PERCENT,
    allow: expandAddresses(policy, given.allow ?? []),
  };
}

export function compileFragments(policy: PolicySource): FragmentModel | undefined {
  const given = policy.fragments;
  if (given === undefined) return undefined;
  const datagramsMax = given.datagramsMax ?? DEFAULT_FRAGMENTS.datagramsMax;
  return {
    datagramsMax,
    datagramsPerSource:
      given.datagramsPerSource ?? Math.min(DEFAULT_FRAGMENTS.datagramsPerSource, datagramsMax),
    timeoutMs: given.timeoutMs ?? DEFAULT_FRAGMENTS.timeoutMs,
  };
}

export function checkProtection(policy: PolicySource): PolicyMistake[] {
  const model = compileProtection(policy);
  const mistakes = checkAddressNames(policy, policy.protection?.allow ?? [], ["protection", "allow"]);
  const wrong = (key: keyof ProtectionModel, message: string): void => {
    mistakes.push({ path: ["protection", key], message });
  };
  if (model === undefined) return mistakes;
  const { halfOpenMax } = model;
  if (halfOpenMax > policy.flowsMax!) {
    wrong(
      "halfOpenMax",
      `${halfOpenMax} is more than flows.max, ${policy.flowsMax}: lower it or raise flows.max`,
    );
  }
  for (const key of ["halfOpenPerSource", "halfOpenPerDestination", "synProxyAbove"] as const) {
    if (halfOpenMax > 0 && model[key] > halfOpenMax) {
      wrong(
        key,
        `${model[key]} is never reached, since halfOpenMax is ${halfOpenMax}: lower it or raise halfOpenMax`,
      );
    }
  }
  if (model.newFlowsBurst > 0 && model.newFlowsPerSecond === 0) {
    wrong("newFlowsBurst", "a burst needs a rate: add newFlowsPerSecond");
  } else if (model.newFlowsPerSecond > 0 && model.newFlowsBurst === 0) {
    wrong("newFlowsBurst", "0 would let no new flow in: write 1 or more, or remove it");
  }
  if (model.shrinkFromPercent >= model.shrinkToPercent && model.shrinkFromPercent > 0) {
    wrong(
      "shrinkFromPercent",
      `${model.shrinkFromPercent} must be below shrinkToPercent, ${model.shrinkToPercent}: lower it, or write 0 for time-outs that do not shrink`,
    );
  }
  return mistakes;
}

export function checkFragments(policy: PolicySource): PolicyMistake[] {
  const model = compileFragments(policy);
  if (model === undefined || model.datagramsPerSource <= model.datagramsMax) return [];
  return [
    {
      path: ["fragments", "datagramsPerSource"],
      message: `${model.datagramsPerSource} is never reached, since datagramsMax is ${model.datagramsMax}: lower it or raise datagramsMax`,
    },
  ];
}
