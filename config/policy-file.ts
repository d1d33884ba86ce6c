/**
 * Policy files: the policy of a node's configuration, or of a file that holds nothing else, for commands that judge packets
 * without being a node. Owns which of the two a file is. Of a node's file the secret is read when it can be; certificates and
 * interfaces need not exist on this machine.
 */
import type { PolicyModel } from "../src/dataplane/policy-model.ts";
import { checkPolicy } from "../src/policy/check.ts";
import { compilePolicy } from "../src/policy/compile.ts";
import { checkCluster, checkInterfaces } from "./check.ts";
import { readSecret } from "./files.ts";
import { orderInterfaces, parse, policySource, type ReadFile, raiseIfAny, readYaml } from "./load.ts";
import { interfaceLabel } from "./node-config.ts";
import { type NodeFile, nodeSchema, policySchema } from "./schema.ts";

const SLOTS_DEFAULT = 64;

export interface PolicyFile {
  readonly policy: PolicyModel;
  readonly slots: number;
  readonly flowsMax: number;
  /** By port index: the interface's name; of a policy alone the zone's. */
  readonly portNames: readonly string[];
  /** What slots are hashed with; absent in a policy alone, and when the secret cannot be read here. */
  readonly cluster?: { readonly name: string; readonly secret: Uint8Array };
  /** Why slots cannot be told, in a few words; absent when they can. */
  readonly whyNoSlots?: string;
}

/** Throws SW_CONFIG_UNREADABLE or SW_CONFIG_INVALID; the message has one line per mistake. */
export function loadPolicyFile(path: string): PolicyFile {
  const file = readYaml(path);
  const isNodeFile = typeof file.raw === "object" && file.raw !== null && "cluster" in file.raw;
  return isNodeFile ? ofNode(file) : ofPolicy(file);
}

function ofNode(file: ReadFile): PolicyFile {
  const raw = parse(file, nodeSchema);
  const source = policySource(raw);
  // Who is no member as far as the file tells does not matter to a policy.
  const members = raw.cluster.members ?? [];
  const content: NodeFile = { ...raw, cluster: { ...raw.cluster, members } };
  const mistakes = members.length === 0 ? [] : checkCluster(content, "node");
  raiseIfAny(file, [...mistakes, ...checkInterfaces(content, source)]);
  const secret = readSecret(content.cluster.secretFile);
  return {
    ...compile(file, content),
    slots: content.cluster.slots,
    ...(secret instanceof Uint8Array
      ? { cluster: { name: content.cluster.name, secret } }
      : { whyNoSlots: `the cluster secret ${content.cluster.secretFile} cannot be read here` }),
  };
}

/** A policy alone: each zone is its own only interface. */
function ofPolicy(file: ReadFile): PolicyFile {
  const { affinity, ...rest } = parse(file, policySchema);
  const zones = Object.keys(rest.zones);
  if (zones.length === 0) raiseIfAny(file, [{ path: ["zones"], message: "no zone: add at least one" }]);
  const interfaces = zones.map((zone) => ({ name: zone, zone, cluster: false }));
  return {
    ...compile(file, { ...rest, cluster: { affinity }, dataplane: { interfaces } } as unknown as NodeFile),
    slots: SLOTS_DEFAULT,
    whyNoSlots: "the file holds a policy alone, and slots are hashed with the cluster's secret",
  };
}

function compile(file: ReadFile, content: NodeFile): Pick<PolicyFile, "policy" | "flowsMax" | "portNames"> {
  const source = policySource(content);
  raiseIfAny(file, checkPolicy(source));
  const interfaces = orderInterfaces(content);
  const labels = interfaces.map(interfaceLabel);
  const portsOf = (zone: string): readonly number[] =>
    interfaces.flatMap((entry, index) => (entry.zone === zone ? [index] : []));
  return {
    policy: compilePolicy(source, portsOf, (label) => labels.indexOf(label)),
    flowsMax: content.flows.max,
    portNames: labels,
  };
}
