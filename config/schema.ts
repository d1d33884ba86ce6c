/**
 * Schema: every key of the configuration file, its kind and its default. A key that is not here does not exist.
 * Owns the form of single values; what must fit together is checked in check.ts and src/policy/check.ts.
 */
import { z } from "zod";
import { SEAL_MODES } from "../src/base/seal-mode.ts";
import type { TimeoutsMs } from "../src/dataplane/policy-model.ts";
import { WELL_KNOWN_NAT64_PREFIX } from "../src/policy/address.ts";
import { INTERVAL_MAX_MS, INTERVAL_MIN_MS, LIFETIME_MAX_MS } from "../src/policy/advertise.ts";
import { RESERVE_PERCENT_MAX } from "../src/policy/protection.ts";
import { HELPER_NAMES, MASQUERADE } from "../src/policy/source.ts";
import { TCP_FLAG_NAMES } from "../src/policy/tcp-flags.ts";
import { TIMEOUT_NAMES } from "../src/policy/timeouts.ts";
import {
  absolutePath,
  address,
  addressEntry,
  days,
  durationBetween,
  durationMs,
  etcdEndpoint,
  flag,
  icmpType,
  interfaceAddress,
  interfaceAddress6,
  interfaceLabel,
  interfaceName,
  ipv4Text,
  ipv6,
  keyPrefix,
  listOf,
  mapping,
  name,
  oneOf,
  oneOrMore,
  portRange,
  powerOfTwo,
  prefix,
  protocol,
  ratePerSecond,
  socketPath,
  someOf,
  tcpPort,
  timeOfDay,
  whole,
  words,
} from "./fields.ts";

const LIST_MAX = 1024;
const RULES_MAX = 16_384;
const NEXT_HOPS_MAX = 16;
const DNAT_TARGETS_MAX = 32;

const member = z.discriminatedUnion(
  "role",
  [
    mapping({
      id: whole(1, 255),
      name,
      role: z.literal("node"),
      address: ipv4Text,
      weight: whole(1, 100).default(1),
    }),
    mapping({ id: whole(1, 255), name, role: z.literal("witness"), address: ipv4Text }),
  ],
  { error: "a member whose role is node or witness" },
);

const QUORUM_MODES = ["majority", "pair"] as const;
const FORGIVE_AFTER_MS = 10_000;

/** `quorum: pair` alone, or with the time. */
const quorum = z
  .union(
    [
      z.literal(QUORUM_MODES),
      mapping({
        mode: oneOf(...QUORUM_MODES).default("majority"),
        forgiveAfter: durationBetween(1000, 86_400_000, "10s").default(FORGIVE_AFTER_MS),
      }),
    ],
    { error: "majority, pair, or a mapping like { mode: pair, forgiveAfter: 10s }" },
  )
  .transform((given): { mode: (typeof QUORUM_MODES)[number]; forgiveAfter: number } =>
    typeof given === "string" ? { mode: given, forgiveAfter: FORGIVE_AFTER_MS } : given,
  );

const PORTS_DEFAULT = { grpc: 7400, lifeline: 7401, registration: 7402 };

const cluster = mapping({
  name,
  node: name,
  secretFile: absolutePath,
  profile: oneOf("lan", "vm", "wan").default("vm"),
  slots: powerOfTwo(16, 1024).default(64),
  quorum: quorum.prefault({}),
  affinity: oneOf("source", "flow").default("source"),
  /** Nodes are one network; the witness may be behind so many routers. */
  witnessHops: whole(0, 64).default(0),
  /** Absent: as `cluster init` or `join` left it in control.dataDir. */
  members: someOf(member, 9).optional(),
  ports: mapping({
    grpc: tcpPort.default(PORTS_DEFAULT.grpc),
    lifeline: tcpPort.default(PORTS_DEFAULT.lifeline),
    registration: tcpPort.default(PORTS_DEFAULT.registration),
  }).default(PORTS_DEFAULT),
  /** `caKey`: where it is there, this node lets members in. */
  tls: mapping({ ca: absolutePath, cert: absolutePath, key: absolutePath, caKey: absolutePath.optional() }),
});

const HTTP_DEFAULT = { address: "127.0.0.1", port: 9470 };

/** A cluster of the site's. `cert` and `key`: for etcd with client certificates; `user`: for etcd with roles. */
const etcd = mapping({
  endpoints: someOf(etcdEndpoint, 9),
  prefix: keyPrefix.default("/synwall"),
  tls: mapping({
    ca: absolutePath,
    cert: absolutePath.optional(),
    key: absolutePath.optional(),
  }).optional(),
  user: words(64).optional(),
  passwordFile: absolutePath.optional(),
  timeout: durationBetween(50, 10_000, "1s").default(1_000),
});

const control = mapping({
  dataDir: absolutePath.default("/var/lib/synwall"),
  /** Who keeps the cluster's log: the members among themselves, or an etcd cluster. The same on all members, for ever. */
  store: oneOf("raft", "etcd").default("raft"),
  etcd: etcd.optional(),
  /** 0: never mind. */
  diskFreeMiBMin: whole(0, 1_048_576).default(64),
  /** Absent: /run/synwall/<node>.sock. */
  socket: socketPath.optional(),
  http: mapping({
    address: ipv4Text.default(HTTP_DEFAULT.address),
    port: tcpPort.default(HTTP_DEFAULT.port),
  }).default(HTTP_DEFAULT),
});

const dataplane = mapping({
  driver: oneOf("auto", "xdp", "cap").default("auto"),
  realtime: oneOf("auto", "never").default("auto"),
  sealRedirects: oneOf(...SEAL_MODES).default("never"),
  interfaces: someOf(
    mapping({
      name: interfaceName,
      vlan: whole(1, 4094).optional(),
      zone: name.optional(),
      cluster: flag.default(false),
    }),
    64,
  ),
});

const addresses = listOf(addressEntry, LIST_MAX);

/** Router advertisements (RFC 4861 section 6.2.1). */
const advertise = mapping({
  interval: durationBetween(INTERVAL_MIN_MS, INTERVAL_MAX_MS, "10m").optional(),
  lifetime: durationBetween(INTERVAL_MIN_MS, LIFETIME_MAX_MS, "30m").optional(),
  managed: flag.optional(),
  otherConfig: flag.optional(),
  autonomous: flag.optional(),
  valid: durationMs.optional(),
  preferred: durationMs.optional(),
  dns: listOf(ipv6, 8).optional(),
});

const zones = z.record(
  name,
  mapping({
    trust: whole(0, 1000),
    gateway: interfaceAddress.optional(),
    gateway6: interfaceAddress6.optional(),
    linkLocal: ipv6.optional(),
    advertise: advertise.optional(),
    bogons: addresses.default([]),
    mssMax: whole(536, 8960).optional(),
  }),
  { error: "zones by name, like inside: { trust: 100, gateway: 10.10.0.1/24 }" },
);

const addressSets = z.record(name, someOf(addressEntry, LIST_MAX), {
  error: "address sets by name, like servers: [10.0.0.1, 2001:db8::/64]",
});

const service = mapping({
  protocol,
  ports: oneOrMore(portRange, LIST_MAX).default([]),
  sourcePorts: oneOrMore(portRange, LIST_MAX).default([]),
  icmpType: icmpType.optional(),
  icmpCode: whole(0, 255).optional(),
});

const serviceEntry = z.union([name, service], {
  error: "a service, like { protocol: tcp, ports: 443 }, or the name of a service set",
});

const serviceSets = z.record(name, someOf(serviceEntry, LIST_MAX), {
  error: "service sets by name, like web: [{ protocol: tcp, ports: [80, 443] }]",
});

const routes = listOf(
  mapping({ to: prefix, zone: name, via: oneOrMore(address, NEXT_HOPS_MAX).optional() }),
  LIST_MAX,
);

/** Addresses, or those of the zone's gateway. */
const pool = z.union([z.literal(MASQUERADE), someOf(address, 256)], {
  error: `${MASQUERADE}, or a list of 1 to 256 addresses, like [192.0.2.10]`,
});
const endpoint = oneOf("endpoint-dependent", "endpoint-independent").default("endpoint-dependent");
const staticNat = mapping({ innerZone: name, inner: prefix, outerZone: name, outer: prefix });

const nat = mapping({
  snat: listOf(
    mapping({
      from: name,
      to: name,
      sources: addresses.default([]),
      pool,
      ports: portRange.optional(),
      mapping: endpoint,
      filtering: endpoint,
    }),
    LIST_MAX,
  ).default([]),
  dnat: listOf(
    mapping({
      zone: name,
      hairpin: oneOrMore(name, LIST_MAX).default([]),
      address,
      protocol,
      ports: portRange,
      to: oneOrMore(address, DNAT_TARGETS_MAX),
      toPort: tcpPort.optional(),
    }),
    LIST_MAX,
  ).default([]),
  static: listOf(staticNat, LIST_MAX).default([]),
  nptv6: listOf(staticNat, LIST_MAX).default([]),
  nat64: listOf(
    mapping({ from: name, to: name, prefix: prefix.default(WELL_KNOWN_NAT64_PREFIX), pool }),
    LIST_MAX,
  ).default([]),
});

const tcpFlagNames = listOf(oneOf(...TCP_FLAG_NAMES), TCP_FLAG_NAMES.length).default([]);

/** 100/s alone, or with its burst. */
const rate = z
  .union([ratePerSecond, mapping({ limit: ratePerSecond, burst: whole(1, 10_000_000).optional() })], {
    error: "a rate, like 100/s, or { limit: 100/s, burst: 200 }",
  })
  .transform((given): { limit: number; burst?: number | undefined } =>
    typeof given === "number" ? { limit: given } : given,
  );

const RULE_NAME_NEED = "a name of 1 to 64 letters, digits, dots, dashes and underscores";
const rules = listOf(
  mapping({
    name: z.string({ error: RULE_NAME_NEED }).regex(/^[A-Za-z0-9._-]{1,64}$/, { error: RULE_NAME_NEED }),
    comment: words(200).optional(),
    owner: words(64).optional(),
    from: name.optional(),
    to: name.optional(),
    interfaces: listOf(interfaceLabel, 64).default([]),
    sources: addresses.default([]),
    destinations: addresses.default([]),
    services: listOf(serviceEntry, LIST_MAX).default([]),
    protocol: protocol.optional(),
    sourcePorts: oneOrMore(portRange, LIST_MAX).default([]),
    destinationPorts: oneOrMore(portRange, LIST_MAX).default([]),
    icmpType: icmpType.optional(),
    icmpCode: whole(0, 255).optional(),
    tcpFlags: mapping({ set: tcpFlagNames, clear: tcpFlagNames }).optional(),
    schedule: mapping({
      days: oneOrMore(days, 7).default([]),
      from: timeOfDay.optional(),
      to: timeOfDay.optional(),
    }).optional(),
    translated: flag.default(false),
    action: oneOf("accept", "drop", "reject"),
    rate: rate.optional(),
    helpers: listOf(oneOf(...HELPER_NAMES), HELPER_NAMES.length).default([]),
    commit: oneOf("sync", "async").optional(),
    log: flag.default(false),
  }),
  RULES_MAX,
);

const CONNECTIONS_MAX = 8_388_608;
const connections = whole(0, CONNECTIONS_MAX).optional();
const percent = whole(0, 100).optional();

const protection = mapping({
  halfOpenPerSource: connections,
  halfOpenPerDestination: connections,
  halfOpenMax: connections,
  synProxyAbove: connections,
  newFlowsPerSecond: whole(0, 10_000_000).optional(),
  newFlowsBurst: whole(0, 10_000_000).optional(),
  shrinkFromPercent: percent,
  shrinkToPercent: percent,
  reservePercent: whole(0, RESERVE_PERCENT_MAX).optional(),
  allow: addresses.default([]),
});

const fragments = mapping({
  datagramsMax: whole(16, 65_536).optional(),
  datagramsPerSource: whole(1, 65_536).optional(),
  timeout: durationBetween(1000, 120_000, "30s").optional(),
});

const timeouts = mapping(
  Object.fromEntries(TIMEOUT_NAMES.map((key) => [key, durationMs.optional()])) as Record<
    keyof TimeoutsMs,
    z.ZodOptional<typeof durationMs>
  >,
);

const flows = mapping({
  max: whole(1024, CONNECTIONS_MAX).default(262_144),
  syncDeadlineMs: whole(1, 1000).default(5),
  timeouts: timeouts.default({}),
});

const level = oneOf("fatal", "error", "warn", "info", "debug").default("info");
const log = mapping({ level });
/** `flowsPerSecond`: lines of rules with `log: true`; what is beyond is counted. */
const nodeLog = mapping({ level, flowsPerSecond: whole(0, 100_000).default(1000) });

/** The file of a member that forwards packets. */
export const nodeSchema = mapping({
  cluster,
  control: control.prefault({}),
  dataplane,
  zones,
  addressSets: addressSets.default({}),
  serviceSets: serviceSets.default({}),
  routes: routes.default([]),
  nat: nat.prefault({}),
  rules: rules.default([]),
  protection: protection.prefault({}),
  fragments: fragments.prefault({}),
  flows: flows.prefault({}),
  log: nodeLog.prefault({}),
});

/** A policy alone, for replay and trace: what a node's file says about packets, without cluster and machine. */
export const policySchema = mapping({
  ...policyShape(nodeSchema.shape),
  affinity: oneOf("source", "flow").default("source"),
});

function policyShape({
  cluster: _,
  control: __,
  dataplane: ___,
  log: ____,
  ...shape
}: typeof nodeSchema.shape) {
  return shape;
}

/** The file of a witness: no packets, so no zones, rules or interfaces. */
export const witnessSchema = mapping({
  cluster,
  control: control.prefault({}),
  log: log.default({ level: "info" }),
});

type Listed<File extends { cluster: { members?: unknown } }> = Omit<File, "cluster"> & {
  cluster: Omit<File["cluster"], "members"> & { members: NonNullable<File["cluster"]["members"]> };
};

/** As it stands in the file: members need not be listed. */
export type RawNodeFile = z.infer<typeof nodeSchema>;
export type RawWitnessFile = z.infer<typeof witnessSchema>;
export type NodeFile = Listed<RawNodeFile>;
export type WitnessFile = Listed<RawWitnessFile>;
