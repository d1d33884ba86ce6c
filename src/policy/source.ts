/**
 * Policy source: the operator's policy after its syntax was read, with the names that they chose. check.ts looks for
 * mistakes in it, compile.ts turns it into the model that the engine runs on. Owns the shape only.
 */
import type { PortRange, Prefix, TimeoutsMs } from "../dataplane/policy-model.ts";

export interface ZoneSource {
  readonly trust: number;
  readonly gateway: { readonly address: number; readonly prefix: Prefix };
}

export interface RouteSource {
  readonly to: Prefix;
  readonly zone: string;
  readonly via?: number | undefined;
}

export interface SnatSource {
  readonly from: string;
  readonly to: string;
  readonly sources: readonly Prefix[];
  readonly pool: readonly number[];
}

export interface DnatSource {
  readonly zone: string;
  readonly address: number;
  readonly protocol: number;
  readonly ports: PortRange;
  readonly to: number;
  readonly toPort?: number | undefined;
}

export interface RuleSource {
  readonly name: string;
  /** Absent: any. */
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly sources: readonly Prefix[];
  readonly destinations: readonly Prefix[];
  readonly protocol?: number | undefined;
  readonly sourcePorts: readonly PortRange[];
  readonly destinationPorts: readonly PortRange[];
  readonly icmpType?: number | undefined;
  readonly icmpCode?: number | undefined;
  /** Only what a DNAT entry translated. */
  readonly translated?: boolean | undefined;
  readonly action: "accept" | "drop";
  readonly commit?: "sync" | "async" | undefined;
  readonly log: boolean;
}

export interface PolicySource {
  readonly affinity: "source" | "flow";
  /** By zone name. */
  readonly zones: Readonly<Record<string, ZoneSource>>;
  readonly routes: readonly RouteSource[];
  readonly nat: { readonly snat: readonly SnatSource[]; readonly dnat: readonly DnatSource[] };
  readonly rules: readonly RuleSource[];
  readonly timeouts: Readonly<Partial<Record<keyof TimeoutsMs, number | undefined>>>;
  readonly syncDeadlineMs: number;
}

/** One mistake: where (path of keys and list positions) and what to do about it. */
export interface PolicyMistake {
  readonly path: readonly (string | number)[];
  /** "what is wrong: what to do". */
  readonly message: string;
}
