/**
 * Policy model: the checked, resolved policy that the engine runs on. src/policy compiles the operator's YAML into it.
 * Owns no syntax and no checks. Optional fields are features that are off without them.
 */

import type { Address } from "../base/address.ts";

export interface Prefix {
  readonly address: Address;
  /** 0..32 of an IPv4 address, 0..128 of an IPv6 address. */
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
  /** IPv4 gateway address of the cluster in this zone and its on-link prefix; 0 and 0/32 in a zone without IPv4. */
  readonly gateway: number;
  readonly prefix: Prefix;
  /** Absent: the zone has no IPv6. */
  readonly ipv6?: ZoneIpv6Model;
  /** Port indices of the zone's interfaces. */
  readonly ports: readonly number[];
  /** What comes from the zone may not have a source in these (RFC 6890 and the like); empty: only the built-in ones. */
  readonly bogons?: readonly Prefix[];
  /** Largest TCP MSS that a SYN leaves or enters the zone with (clamped when larger); 0 or absent: untouched. */
  readonly mssMax?: number;
}

export interface ZoneIpv6Model {
  /** The cluster's global (or unique local) address in the zone, and the zone's network. */
  readonly gateway: bigint;
  readonly prefix: Prefix;
  /** The cluster's link-local address: what hosts use as their router. */
  readonly linkLocal: bigint;
  /** Absent: no router advertisements. */
  readonly advertise?: RouterAdvertisementModel;
}

/** RFC 4861 section 4.2 and 4.6.2. */
export interface RouterAdvertisementModel {
  readonly intervalMs: number;
  readonly lifetimeSeconds: number;
  /** M and O flags: addresses, other configuration from DHCPv6. */
  readonly isManaged: boolean;
  readonly isOtherConfig: boolean;
  /** A flag of the prefix: hosts make addresses by themselves. */
  readonly isAutonomous: boolean;
  readonly prefixValidSeconds: number;
  readonly prefixPreferredSeconds: number;
  /** RFC 8106; empty: none. */
  readonly dns: readonly bigint[];
}

export interface RouteModel {
  readonly to: Prefix;
  readonly zone: number;
  /** Next hop, or 0 when on-link. */
  readonly via: Address;
  /** Further next hops of equal cost in the same zone (RFC 2992). */
  readonly more?: readonly Address[];
}

export interface SnatModel {
  readonly fromZone: number;
  readonly toZone: number;
  /** Empty: any. */
  readonly sources: readonly Prefix[];
  /** All of one family. A gateway address in it is masquerading. */
  readonly pool: readonly Address[];
  /** Absent: 1024 to 65535. */
  readonly ports?: PortRange;
  /** Endpoint-independent mapping (RFC 4787 REQ-1); absent: endpoint-dependent. */
  readonly isEndpointIndependent?: boolean;
  /** With endpoint-independent mapping: anybody may send to a mapped endpoint (RFC 4787 REQ-8). */
  readonly isFilteringIndependent?: boolean;
}

export interface DnatModel {
  readonly zone: number;
  readonly address: Address;
  readonly protocol: number;
  readonly ports: PortRange;
  readonly to: Address;
  /** Further targets: a client always gets the same one of all (rendezvous hashing of its address). */
  readonly more?: readonly Address[];
  /** First target port; ranges map one to one. */
  readonly toPort: number;
}

/** Static translation of whole prefixes of equal length and family, one to one, both ways, ports untouched. */
export interface StaticNatModel {
  readonly innerZone: number;
  readonly outerZone: number;
  readonly inner: Prefix;
  readonly outer: Prefix;
  /** IPv6 only: checksum-neutral (NPTv6, RFC 6296). Without it the interface part stays as it is. */
  readonly isChecksumNeutral: boolean;
}

/** NAT64 (RFC 6146): what comes from `fromZone` to `prefix` (RFC 6052) goes on in IPv4, from an address of the pool. */
export interface Nat64Model {
  readonly fromZone: number;
  readonly toZone: number;
  readonly prefix: Prefix;
  readonly pool: readonly number[];
  /** Anybody in `toZone` may send to a mapped endpoint (RFC 6146 section 3.5); absent: only who was sent to. */
  readonly isFilteringIndependent?: boolean;
  /** IPv4 addresses that no address of the prefix may stand for; absent: none. */
  readonly excluded?: readonly Prefix[];
}

export const ACTION_DROP = 0;
export const ACTION_ACCEPT = 1;
/** Drops and answers: RST for TCP, else ICMP administratively prohibited. */
export const ACTION_REJECT = 2;
export const COMMIT_DEFAULT = 0;
export const COMMIT_SYNC = 1;
export const COMMIT_ASYNC = 2;

/** What a packet may be besides its addresses; all given fields must hold. */
export interface ServiceModel {
  /** IP protocol number; -1: any. ICMPv6 is 58. */
  readonly protocol: number;
  /** Empty: any. */
  readonly sourcePorts: readonly PortRange[];
  readonly destinationPorts: readonly PortRange[];
  /** -1: any. */
  readonly icmpType: number;
  readonly icmpCode: number;
}

/** When a rule holds: on these days, from `fromMinute` to before `toMinute` of the day, UTC. */
export interface ScheduleModel {
  /** Bit 0 is Sunday. */
  readonly days: number;
  /** 0..1440; a span with from > to goes over midnight and belongs to the day on which it began. */
  readonly fromMinute: number;
  readonly toMinute: number;
}

/** Helpers (application layer gateways) that a rule may turn on, as bits. */
export const HELPER_FTP = 1;
export const HELPER_TFTP = 2;
export const HELPER_SIP = 4;

export interface RuleModel extends ServiceModel {
  readonly id: number;
  readonly name: string;
  /** With entries: one of these must hold, and the rule's own service fields are all "any". */
  readonly services?: readonly ServiceModel[];
  /** Port indices of ingress interfaces; absent or empty: any. */
  readonly interfaces?: readonly number[];
  /** TCP flags: of those in `mask` exactly `value` are set; absent: any opening segment. */
  readonly tcpFlags?: { readonly mask: number; readonly value: number };
  /** Absent: always. */
  readonly schedule?: ScheduleModel;
  /** New flows a second that the rule may take; what is beyond is dropped and counted. Absent: no limit. */
  readonly rate?: { readonly perSecond: number; readonly burst: number };
  /** HELPER_* bits; absent: none. */
  readonly helpers?: number;
  /** -1: any. */
  readonly fromZone: number;
  readonly toZone: number;
  /** Empty: any. Matched after DNAT and before SNAT. */
  readonly sources: readonly Prefix[];
  readonly destinations: readonly Prefix[];
  /** Only packets whose destination a DNAT entry translated: so that an inside host is reached by its forwarded port alone. */
  readonly isTranslated?: boolean;
  readonly action: number;
  readonly commit: number;
  readonly log: boolean;
  /** The operator's own words: why the rule is there, and who answers for it. */
  readonly comment?: string;
  readonly owner?: string;
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
  /** UDP with several packets in both directions; absent: as udpReplied. */
  readonly udpStream?: number;
  readonly icmp: number;
  /** SCTP, GRE and ESP in both directions; absent: as other. */
  readonly sctp?: number;
  readonly gre?: number;
  readonly esp?: number;
  readonly other: number;
  /** All but TCP, UDP and ICMP in one direction only; absent: as other. */
  readonly otherUnreplied?: number;
}

/** Withstanding load. 0 or absent: no limit of that kind. */
export interface ProtectionModel {
  /** Half-open TCP connections of one source, to one destination, and in all. */
  readonly halfOpenPerSource: number;
  readonly halfOpenPerDestination: number;
  readonly halfOpenMax: number;
  /** Half-open connections to one destination or in all beyond which SYNs are answered with cookies. */
  readonly synProxyAbove: number;
  /** New flows a second of one source (an IPv6 source is its /64), and the burst. */
  readonly newFlowsPerSecond: number;
  readonly newFlowsBurst: number;
  /** Percent of the table from which time-outs of unassured flows shrink, and at which they reach their least. */
  readonly shrinkFromPercent: number;
  readonly shrinkToPercent: number;
  /** Percent of the table that only management and cluster traffic and allowlisted sources may fill. */
  readonly reservePercent: number;
  /** Sources without any of these limits. */
  readonly allow: readonly Prefix[];
}

/** Virtual reassembly. */
export interface FragmentModel {
  readonly datagramsMax: number;
  readonly datagramsPerSource: number;
  readonly timeoutMs: number;
}

export interface PolicyModel {
  readonly zones: readonly ZoneModel[];
  readonly routes: readonly RouteModel[];
  readonly snat: readonly SnatModel[];
  readonly dnat: readonly DnatModel[];
  /** First match wins; no match: drop. */
  readonly rules: readonly RuleModel[];
  readonly statics?: readonly StaticNatModel[];
  readonly nat64?: readonly Nat64Model[];
  readonly protection?: ProtectionModel;
  readonly fragments?: FragmentModel;
  readonly affinity: "source" | "flow";
  readonly timeoutsMs: TimeoutsMs;
  /** How long a `sync` commit holds a first packet. */
  readonly syncDeadlineMs: number;
  /** Addresses that the cluster answers for besides gateways (pools, DNAT), sorted; the i-th belongs to slot i mod slots. */
  readonly answered: readonly { readonly zone: number; readonly address: Address }[];
}
