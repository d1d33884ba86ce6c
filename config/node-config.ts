/**
 * Node configuration: the shape that the rest of the code sees, after YAML was read and checked (load.ts, schema.ts).
 * Owns no defaults and no checks.
 */
import type { SealMode } from "../src/base/seal-mode.ts";
import type { PolicyModel } from "../src/dataplane/policy-model.ts";

export interface MemberConfig {
  readonly id: number;
  readonly name: string;
  readonly role: "node" | "witness";
  /** IPv4 on the cluster link, dotted. */
  readonly address: string;
  readonly weight: number;
}

export interface InterfaceConfig {
  /** Kernel interface name. */
  readonly name: string;
  /** 802.1Q tag of the frames that belong to this one; absent: frames without a tag. */
  readonly vlan?: number;
  /** Zone name; absent on the cluster interface. */
  readonly zone?: string;
  readonly cluster: boolean;
}

/** How people name an interface: "eth1", or "eth1.100" for its VLAN 100. */
export function interfaceLabel({
  name,
  vlan,
}: {
  readonly name: string;
  readonly vlan?: number | undefined;
}): string {
  return vlan === undefined ? name : `${name}.${vlan}`;
}

/** An etcd cluster of the site that keeps the cluster's log. */
export interface EtcdConfig {
  readonly endpoints: readonly string[];
  /** Keys are under <prefix>/<name of the cluster>/. */
  readonly prefix: string;
  /** File paths, readable (checked while loading). */
  readonly tls?: { readonly ca: string; readonly cert?: string; readonly key?: string };
  readonly user?: { readonly name: string; readonly passwordFile: string };
  readonly timeoutMs: number;
}

/** What `synwall node` and `synwall witness` run on. A witness has no dataplane, zones or rules. */
export interface NodeConfig {
  readonly cluster: {
    readonly name: string;
    readonly self: MemberConfig;
    /** Listed in the file, or else as they were known when this member ran last. */
    readonly members: readonly MemberConfig[];
    readonly areMembersListed: boolean;
    /** Ids of the voters that the log was begun with, the same on all members for ever. */
    readonly founders: readonly number[];
    readonly secret: Uint8Array;
    readonly profile: "lan" | "vm" | "wan";
    readonly slots: number;
    /** A voter that was silent for so long does not vote until it is back. */
    readonly forgiveAfterMs: number;
    /** `quorum: pair`: of two nodes that nobody else votes with, one may go on alone. */
    readonly isPair: boolean;
    /** Routers between the nodes and the witness, at most. */
    readonly witnessHops: number;
    readonly ports: { readonly grpc: number; readonly lifeline: number; readonly registration: number };
    /** File paths, readable and matching (checked while loading). */
    readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
    /** Path of the CA's key. Where it is there, this node lets members in. */
    readonly caKey?: string;
  };
  readonly control: {
    readonly dataDir: string;
    /** Absent: the members keep the log among themselves, by Raft. */
    readonly etcd?: EtcdConfig;
    /** With less room there the member does not start, and a node gives up its slots. */
    readonly diskFreeMiBMin: number;
    readonly socket: string;
    readonly http: { readonly address: string; readonly port: number };
  };
  /** Absent on a witness. */
  readonly dataplane?: {
    readonly driver: "auto" | "xdp" | "cap";
    readonly realtime: "auto" | "never";
    readonly sealRedirects: SealMode;
    /** Zone interfaces first, in zone name order (their index + 1 is the link number); the cluster interface last. */
    readonly interfaces: readonly InterfaceConfig[];
    readonly flowsMax: number;
    readonly policy: PolicyModel;
    /** Lines of rules with `log: true`, at most. */
    readonly ruleLogsPerSecond: number;
  };
  /** What is right and most likely not meant, one line each. */
  readonly notes?: readonly string[];
  readonly logLevel: "fatal" | "error" | "warn" | "info" | "debug";
}
