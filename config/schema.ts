/**
 * Schema: every key of the configuration file, its kind and its default. A key that is not here does not exist.
 * Owns the form of single values; what must fit together is checked in check.ts and src/policy/check.ts.
 */
import { z } from "zod";
import type { TimeoutsMs } from "../src/dataplane/policy-model.ts";
import { TIMEOUT_NAMES } from "../src/policy/timeouts.ts";
import {
  absolutePath,
  durationMs,
  flag,
  interfaceAddress,
  interfaceName,
  ipv4,
  ipv4Text,
  listOf,
  mapping,
  name,
  oneOf,
  portRange,
  powerOfTwo,
  prefix,
  protocol,
  socketPath,
  someOf,
  tcpPort,
  whole,
} from "./fields.ts";

const LIST_MAX = 1024;
const RULES_MAX = 16_384;

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

const cluster = mapping({
  name,
  node: name,
  secretFile: absolutePath,
  profile: oneOf("lan", "vm", "wan").default("vm"),
  slots: powerOfTwo(16, 1024).default(64),
  affinity: oneOf("source", "flow").default("source"),
  members: someOf(member, 9),
  ports: mapping({ grpc: tcpPort.default(7400), lifeline: tcpPort.default(7401) }).default({
    grpc: 7400,
    lifeline: 7401,
  }),
  tls: mapping({ ca: absolutePath, cert: absolutePath, key: absolutePath }),
});

const HTTP_DEFAULT = { address: "127.0.0.1", port: 9470 };

const control = mapping({
  dataDir: absolutePath.default("/var/lib/synwall"),
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
  interfaces: someOf(
    mapping({ name: interfaceName, zone: name.optional(), cluster: flag.default(false) }),
    64,
  ),
});

const zones = z.record(name, mapping({ trust: whole(0, 1000), gateway: interfaceAddress }), {
  error: "zones by name, like inside: { trust: 100, gateway: 10.10.0.1/24 }",
});

const routes = listOf(mapping({ to: prefix, zone: name, via: ipv4.optional() }), LIST_MAX);

const nat = mapping({
  snat: listOf(
    mapping({ from: name, to: name, sources: listOf(prefix, LIST_MAX).default([]), pool: someOf(ipv4, 256) }),
    LIST_MAX,
  ).default([]),
  dnat: listOf(
    mapping({
      zone: name,
      address: ipv4,
      protocol,
      ports: portRange,
      to: ipv4,
      toPort: tcpPort.optional(),
    }),
    LIST_MAX,
  ).default([]),
});

const RULE_NAME_NEED = "a name of 1 to 64 letters, digits, dots, dashes and underscores";
const rules = listOf(
  mapping({
    name: z.string({ error: RULE_NAME_NEED }).regex(/^[A-Za-z0-9._-]{1,64}$/, { error: RULE_NAME_NEED }),
    from: name.optional(),
    to: name.optional(),
    sources: listOf(prefix, LIST_MAX).default([]),
    destinations: listOf(prefix, LIST_MAX).default([]),
    protocol: protocol.optional(),
    sourcePorts: listOf(portRange, LIST_MAX).default([]),
    destinationPorts: listOf(portRange, LIST_MAX).default([]),
    icmpType: whole(0, 255).optional(),
    icmpCode: whole(0, 255).optional(),
    translated: flag.default(false),
    action: oneOf("accept", "drop"),
    commit: oneOf("sync", "async").optional(),
    log: flag.default(false),
  }),
  RULES_MAX,
);

const timeouts = mapping(
  Object.fromEntries(TIMEOUT_NAMES.map((key) => [key, durationMs.optional()])) as Record<
    keyof TimeoutsMs,
    z.ZodOptional<typeof durationMs>
  >,
);

const flows = mapping({
  max: whole(1024, 8_388_608).default(262_144),
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
  routes: routes.default([]),
  nat: nat.default({ snat: [], dnat: [] }),
  rules: rules.default([]),
  flows: flows.prefault({}),
  log: nodeLog.prefault({}),
});

/** The file of a witness: no packets, so no zones, rules or interfaces. */
export const witnessSchema = mapping({
  cluster,
  control: control.prefault({}),
  log: log.default({ level: "info" }),
});

export type NodeFile = z.infer<typeof nodeSchema>;
export type WitnessFile = z.infer<typeof witnessSchema>;
