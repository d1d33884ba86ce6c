/**
 * Policy model: the checked, resolved policy that the engine runs on. src/policy compiles the operator's YAML into it.
 * Owns no syntax and no checks. Addresses are IPv4, host order, unsigned; IPv6 comes later beside them.
 */

export interface Prefix {
  readonly address: number;
  /** 0..32. */
  readonly bits: number;
}

export interface PortRange {
  readonly from: number;
  readonly to: number;
}

export interface ZoneModel {
  readonly id: number;
  readonly name: string;
  /** Higher trusts more; the end of a flow in the more trusted zone anchors its slot (affinity `source`). */
  readonly trust: number;
  /** Gateway address of the cluster in this zone and its on-link prefix. */
  readonly gateway: number;
  readonly prefix: Prefix;
  /** Port indices of the zone's interfaces. */
  readonly ports: readonly number[];
}

export interface RouteModel {
  readonly to: Prefix;
  readonly zone: number;
  /** Next hop, or 0 when on-link. */
  readonly via: number;
}

export interface SnatModel {
  readonly fromZone: number;
  readonly toZone: number;
  /** Empty: any. */
  readonly sources: readonly Prefix[];
  readonly pool: readonly number[];
}

export interface DnatModel {
  readonly zone: number;
  readonly address: number;
  readonly protocol: number;
  readonly ports: PortRange;
  readonly to: number;
  /** First target port; ranges map one to one. */
  readonly toPort: number;
}

export const ACTION_DROP = 0;
export const ACTION_ACCEPT = 1;
export const COMMIT_DEFAULT = 0;
export const COMMIT_SYNC = 1;
export const COMMIT_ASYNC = 2;

export interface RuleModel {
  readonly id: number;
  readonly name: string;
  /** -1: any. */
  readonly fromZone: number;
  readonly toZone: number;
  /** Empty: any. Matched after DNAT and before SNAT. */
  readonly sources: readonly Prefix[];
  readonly destinations: readonly Prefix[];
  /** IP protocol number; -1: any. */
  readonly protocol: number;
  /** Empty: any. */
  readonly sourcePorts: readonly PortRange[];
  readonly destinationPorts: readonly PortRange[];
  /** -1: any. */
  readonly icmpType: number;
  readonly icmpCode: number;
  /** Only packets whose destination a DNAT entry translated: so that an inside host is reached by its forwarded port alone. */
  readonly isTranslated?: boolean;
  readonly action: number;
  readonly commit: number;
  readonly log: boolean;
}

export interface TimeoutsMs {
  readonly tcpSynSent: number;
  readonly tcpSynReceived: number;
  readonly tcpEstablished: number;
  readonly tcpFinWait: number;
  readonly tcpCloseWait: number;
  readonly tcpLastAck: number;
  readonly tcpTimeWait: number;
  readonly tcpClose: number;
  readonly udpUnreplied: number;
  readonly udpReplied: number;
  readonly icmp: number;
  readonly other: number;
}

export interface PolicyModel {
  readonly zones: readonly ZoneModel[];
  readonly routes: readonly RouteModel[];
  readonly snat: readonly SnatModel[];
  readonly dnat: readonly DnatModel[];
  /** First match wins; no match: drop. */
  readonly rules: readonly RuleModel[];
  readonly affinity: "source" | "flow";
  readonly timeoutsMs: TimeoutsMs;
  /** How long a `sync` commit holds a first packet. */
  readonly syncDeadlineMs: number;
  /** Addresses that the cluster answers for besides gateways (pools, DNAT), sorted; the i-th belongs to slot i mod slots. */
  readonly answered: readonly { readonly zone: number; readonly address: number }[];
}
