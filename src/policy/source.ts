/**
 * Policy source: the operator's policy after its syntax was read, with the names that they chose. check.ts looks for
 * mistakes in it, compile.ts turns it into the model that the engine runs on. Owns the shape only.
 */
import type { Address } from "../base/address.ts";
import type {
  FragmentModel,
  PortRange,
  Prefix,
  ProtectionModel,
  TimeoutsMs,
} from "../dataplane/policy-model.ts";
import type { InterfaceAddress } from "./address.ts";
import type { ScheduleSource } from "./schedule.ts";
import type { TcpFlagsSource } from "./tcp-flags.ts";

/** A network, or the name of an address set. */
export type AddressEntry = Prefix | string;

/** A pool of addresses, or the gateway addresses of the zone that the traffic goes to. */
export type PoolSource = readonly Address[] | typeof MASQUERADE;
export const MASQUERADE = "masquerade";

export interface ZoneSource {
  readonly trust: number;
  /** One of the two at least. */
  readonly gateway?: InterfaceAddress<number> | undefined;
  readonly gateway6?: InterfaceAddress<bigint> | undefined;
  /** The cluster's link-local address; absent: fe80::1. */
  readonly linkLocal?: bigint | undefined;
  /** Absent: no router advertisements. */
  readonly advertise?: AdvertiseSource | undefined;
  readonly bogons?: readonly AddressEntry[] | undefined;
  readonly mssMax?: number | undefined;
}

/** All of it may be absent: advertise.ts owns the defaults. */
export interface AdvertiseSource {
  readonly intervalMs?: number | undefined;
  readonly lifetimeMs?: number | undefined;
  readonly managed?: boolean | undefined;
  readonly otherConfig?: boolean | undefined;
  readonly autonomous?: boolean | undefined;
  readonly validMs?: number | undefined;
  readonly preferredMs?: number | undefined;
  readonly dns?: readonly bigint[] | undefined;
}

export interface RouteSource {
  readonly to: Prefix;
  readonly zone: string;
  /** Next hops of equal cost; none: on-link. */
  readonly via?: readonly Address[] | undefined;
}

export interface SnatSource {
  readonly from: string;
  readonly to: string;
  readonly sources: readonly AddressEntry[];
  readonly pool: PoolSource;
  readonly ports?: PortRange | undefined;
  readonly mapping?: "endpoint-dependent" | "endpoint-independent" | undefined;
  readonly filtering?: "endpoint-dependent" | "endpoint-independent" | undefined;
}

export interface DnatSource {
  readonly zone: string;
  /** Zones whose hosts reach the forwarded ports by the same address. */
  readonly hairpin?: readonly string[] | undefined;
  readonly address: Address;
  readonly protocol: number;
  readonly ports: PortRange;
  readonly to: readonly Address[];
  readonly toPort?: number | undefined;
}

/** Static translation, and NPTv6. */
export interface StaticSource {
  readonly innerZone: string;
  readonly outerZone: string;
  readonly inner: Prefix;
  readonly outer: Prefix;
}

export interface Nat64Source {
  readonly from: string;
  readonly to: string;
  readonly prefix: Prefix;
  readonly pool: PoolSource;
}

export interface NatSource {
  readonly snat: readonly SnatSource[];
  readonly dnat: readonly DnatSource[];
  readonly static?: readonly StaticSource[] | undefined;
  readonly nptv6?: readonly StaticSource[] | undefined;
  readonly nat64?: readonly Nat64Source[] | undefined;
}

/** What a packet may be besides its addresses. */
export interface ServiceSource {
  readonly protocol: number;
  readonly ports: readonly PortRange[];
  readonly sourcePorts: readonly PortRange[];
  /** A number, or a name of the protocol's (icmp-types.ts). */
  readonly icmpType?: number | string | undefined;
  readonly icmpCode?: number | undefined;
}

/** A service, or the name of a service set. */
export type ServiceEntry = ServiceSource | string;

export const HELPER_NAMES = ["ftp", "tftp", "sip"] as const;
export type HelperName = (typeof HELPER_NAMES)[number];

export interface RuleSource {
  readonly name: string;
  readonly comment?: string | undefined;
  readonly owner?: string | undefined;
  /** Absent: any. */
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  /** Ingress interfaces by label; none: any. */
  readonly interfaces?: readonly string[] | undefined;
  readonly sources: readonly AddressEntry[];
  readonly destinations: readonly AddressEntry[];
  readonly services?: readonly ServiceEntry[] | undefined;
  readonly protocol?: number | undefined;
  readonly sourcePorts: readonly PortRange[];
  readonly destinationPorts: readonly PortRange[];
  readonly icmpType?: number | string | undefined;
  readonly icmpCode?: number | undefined;
  readonly tcpFlags?: TcpFlagsSource | undefined;
  readonly schedule?: ScheduleSource | undefined;
  readonly rate?: { readonly perSecond: number; readonly burst?: number | undefined } | undefined;
  readonly helpers?: readonly HelperName[] | undefined;
  /** Only what a DNAT entry translated. */
  readonly translated?: boolean | undefined;
  readonly action: "accept" | "drop" | "reject";
  readonly commit?: "sync" | "async" | undefined;
  readonly log: boolean;
}

type Partially<Whole> = { readonly [Key in keyof Whole]?: Whole[Key] | undefined };

export type ProtectionSource = Partially<Omit<ProtectionModel, "allow">> & {
  readonly allow?: readonly AddressEntry[] | undefined;
};

export interface PolicySource {
  readonly affinity: "source" | "flow";
  /** By zone name. */
  readonly zones: Readonly<Record<string, ZoneSource>>;
  /** Labels of the zones' interfaces ("eth1", "eth1.100") and their zones. */
  readonly interfaces?: ReadonlyMap<string, string> | undefined;
  readonly addressSets?: Readonly<Record<string, readonly AddressEntry[]>> | undefined;
  readonly serviceSets?: Readonly<Record<string, readonly ServiceEntry[]>> | undefined;
  readonly routes: readonly RouteSource[];
  readonly nat: NatSource;
  readonly rules: readonly RuleSource[];
  /** Capacity of the flow table; absent: no protection, whose defaults are parts of it. */
  readonly flowsMax?: number | undefined;
  readonly protection?: ProtectionSource | undefined;
  readonly fragments?: Partially<FragmentModel> | undefined;
  readonly timeouts: Partially<TimeoutsMs>;
  readonly syncDeadlineMs: number;
}

/** One mistake: where (path of keys and list positions) and what to do about it. */
export interface PolicyMistake {
  readonly path: Path;
  /** "what is wrong: what to do". */
  readonly message: string;
}

export type Path = readonly (string | number)[];
