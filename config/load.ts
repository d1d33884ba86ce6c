/**
 * Loading: from a path to a frozen NodeConfig, or to a SynwallError whose message is one line per mistake. The only place
 * that reads the configuration file. Owns the order: YAML, form, meaning, then the files that it names.
 */
import { readFileSync } from "node:fs";
import { type Document, LineCounter, parseDocument } from "yaml";
import { whyUnreadable } from "../cluster/transport/tls.ts";
import { SynwallError } from "../src/base/errors.ts";
import { checkPolicy, notesOf } from "../src/policy/check.ts";
import { compilePolicy, zoneNames } from "../src/policy/compile.ts";
import type { AdvertiseSource, PolicySource } from "../src/policy/source.ts";
import { checkCluster, checkInterfaces, type ZoneNetwork, zoneNetworks } from "./check.ts";
import { checkCaKey, checkTls, type FileMistake, raise, readSecret } from "./files.ts";
import { type KnownMembers, readMembers } from "./members-file.ts";
import { formatMistake, lineOf, type Mistake, mistakesOf } from "./mistakes.ts";
import {
  type EtcdConfig,
  type InterfaceConfig,
  interfaceLabel,
  type MemberConfig,
  type NodeConfig,
} from "./node-config.ts";
import {
  type NodeFile,
  nodeSchema,
  type RawNodeFile,
  type RawWitnessFile,
  type WitnessFile,
  witnessSchema,
} from "./schema.ts";
import { checkStore, checkStoreFiles } from "./store.ts";

/** A file's text, its place lines, and what it says. */
export interface ReadFile {
  readonly path: string;
  readonly document: Document;
  readonly lines: LineCounter;
  readonly raw: unknown;
}

/** What a configuration needs of the files that it names. */
interface Surroundings {
  readonly secret: Uint8Array | FileMistake;
  readonly tlsMistakes: readonly FileMistake[];
}

interface Look {
  readonly surroundings: (
    content: NodeFile | WitnessFile,
    founders: readonly number[] | undefined,
  ) => Surroundings;
  /** Of a file that lists none. */
  readonly members: (content: RawNodeFile | RawWitnessFile) => KnownMembers | FileMistake;
}

/**
 * Loads and checks the configuration of a node or a witness.
 * Throws SW_CONFIG_UNREADABLE, SW_CONFIG_INVALID or SW_TLS_INVALID; the message has one line per mistake.
 */
export function loadNodeConfig(path: string, role: "node" | "witness"): NodeConfig {
  const file = readYaml(path);
  const look: Look = {
    surroundings: ({ cluster, control }, founders) => ({
      secret: readSecret(cluster.secretFile),
      tlsMistakes: [
        ...checkTls(cluster.tls, cluster.node, Date.now(), joinedAs(cluster, founders)),
        ...checkCaKey(cluster.tls),
        ...checkStoreFiles(etcdConfig(control)),
      ],
    }),
    members: ({ control }) => readMembers(control.dataDir),
  };
  return role === "node" ? loadNode(file, look) : loadWitness(file, look);
}

/**
 * The same for a text that is in no file, for members that are simulated: the secret is handed in, and no file that the text
 * names is looked at. `name` stands for the path in messages.
 */
export function parseNodeConfig(
  text: string,
  role: "node" | "witness",
  { name, secret }: { readonly name: string; readonly secret: Uint8Array },
): NodeConfig {
  const file = parseYaml(name, text);
  const message = "no members are listed: list them";
  const look: Look = {
    surroundings: () => ({ secret, tlsMistakes: [] }),
    members: () => ({ code: "SW_CONFIG_INVALID", path: ["cluster", "members"], message }),
  };
  return role === "node" ? loadNode(file, look) : loadWitness(file, look);
}

/** What `cluster init` and `join` need of a file whose member is none yet. Throws as loadNodeConfig(). */
export function loadNewcomer(path: string): Newcomer {
  const role = roleInFile(path);
  const file = readYaml(path);
  const content = role === "node" ? parse(file, nodeSchema) : parse(file, witnessSchema);
  const { cluster, control } = content;
  if (cluster.members !== undefined) {
    const message = "the members are listed here, so there is nothing to join or begin: remove the list";
    raiseIfAny(file, [{ path: ["cluster", "members"], message }]);
  }
  const { name, node, profile, slots, secretFile, tls } = cluster;
  raiseIfAny(file, checkStore({ cluster, control }));
  const etcd = etcdConfig(control);
  const unusable = checkStoreFiles(etcd);
  if (unusable[0] !== undefined) raise(unusable[0].code, formatAll(file, unusable));
  const rest = { dataDir: control.dataDir, ...(etcd === undefined ? {} : { etcd }) };
  const zones = role === "node" ? zoneNetworks((content as RawNodeFile).zones) : [];
  return { role, name, node, profile, slots, secretFile, tls, zones, ...rest };
}

export interface Newcomer {
  readonly role: "node" | "witness";
  /** Of the cluster. */
  readonly name: string;
  /** Of the member. */
  readonly node: string;
  readonly profile: string;
  readonly slots: number;
  readonly secretFile: string;
  readonly tls: {
    readonly ca: string;
    readonly cert: string;
    readonly key: string;
    readonly caKey?: string | undefined;
  };
  /** The member's address must be in none of them. */
  readonly zones: readonly ZoneNetwork[];
  readonly dataDir: string;
  /** Where the site's etcd is, when it keeps the cluster's log. */
  readonly etcd?: EtcdConfig;
}

/** The role of the member that a configuration is for, as far as it can be told; a node when it cannot. */
export function roleInFile(path: string): "node" | "witness" {
  const { raw } = readYaml(path);
  const file = raw as { cluster?: { node?: unknown; members?: unknown }; dataplane?: unknown } | null;
  const cluster = file?.cluster;
  // A file that lists nobody says what it is for by what it has.
  if (cluster !== undefined && cluster?.members === undefined && file?.dataplane === undefined)
    return "witness";
  const members: unknown[] = Array.isArray(cluster?.members) ? cluster.members : [];
  const self = members.find((member) => (member as { name?: unknown } | null)?.name === cluster?.node);
  return (self as { role?: unknown } | undefined)?.role === "witness" ? "witness" : "node";
}

function loadNode(file: ReadFile, look: Look): NodeConfig {
  const { content, founders } = withMembers(file, parse(file, nodeSchema), look);
  const policy = policySource(content);
  const mistakes = [
    ...checkCluster(content, "node", founders === undefined),
    ...checkStore(content),
    ...checkInterfaces(content, policy),
    ...checkPolicy(policy),
  ];
  raiseIfAny(file, mistakes);
  const interfaces = orderInterfaces(content);
  const portsOf = (zone: string): readonly number[] =>
    interfaces.flatMap((entry, index) => (entry.zone === zone ? [index] : []));
  const labels = interfaces.map(interfaceLabel);
  return deepFreeze<NodeConfig>({
    ...common(file, content, founders, look.surroundings(content, founders)),
    notes: formatAll(file, notesOf(policy)),
    dataplane: {
      driver: content.dataplane.driver,
      realtime: content.dataplane.realtime,
      sealRedirects: content.dataplane.sealRedirects,
      interfaces,
      flowsMax: content.flows.max,
      ruleLogsPerSecond: content.log.flowsPerSecond,
      policy: compilePolicy(policy, portsOf, (label) => labels.indexOf(label)),
    },
  });
}

function loadWitness(file: ReadFile, look: Look): NodeConfig {
  const { content, founders } = withMembers(file, parse(file, witnessSchema), look);
  raiseIfAny(file, [...checkCluster(content, "witness", founders === undefined), ...checkStore(content)]);
  return deepFreeze<NodeConfig>(common(file, content, founders, look.surroundings(content, founders)));
}

type MembersOf = NodeFile["cluster"]["members"];

/** The content with its members, wherever they are listed, and the ids of those that the cluster began with. */
function withMembers<Raw extends RawNodeFile | RawWitnessFile>(
  file: ReadFile,
  raw: Raw,
  look: Look,
): {
  readonly content: Raw & { cluster: { members: MembersOf } };
  readonly founders: readonly number[] | undefined;
} {
  const { members } = raw.cluster;
  if (members !== undefined) {
    return { content: { ...raw, cluster: { ...raw.cluster, members } }, founders: undefined };
  }
  const known = look.members(raw);
  if ("code" in known) return raise(known.code, formatAll(file, [known]));
  return {
    content: { ...raw, cluster: { ...raw.cluster, members: known.members as MembersOf } },
    founders: known.founders,
  };
}

/** The id that a join gave this member; undefined: the cluster was begun with it. */
function joinedAs(
  { members, node }: NodeFile["cluster"],
  founders: readonly number[] | undefined,
): number | undefined {
  const id = members.find(({ name }) => name === node)?.id;
  return id === undefined || founders === undefined || founders.includes(id) ? undefined : id;
}

/** What nodes and witnesses share. */
function common(
  file: ReadFile,
  content: NodeFile | WitnessFile,
  founders: readonly number[] | undefined,
  { secret, tlsMistakes }: Surroundings,
): NodeConfig {
  const { cluster, control } = content;
  const members = cluster.members.map(
    (member): MemberConfig => ({ ...member, weight: member.role === "node" ? member.weight : 0 }),
  );
  const mistakes = [...(secret instanceof Uint8Array ? [] : [secret]), ...tlsMistakes];
  const [first] = mistakes;
  if (first !== undefined || !(secret instanceof Uint8Array)) {
    return raise(first!.code, formatAll(file, mistakes));
  }
  const etcd = etcdConfig(control);
  return {
    cluster: {
      name: cluster.name,
      self: members.find((member) => member.name === cluster.node)!,
      members,
      founders: founders ?? members.map((member) => member.id),
      areMembersListed: founders === undefined,
      secret,
      profile: cluster.profile,
      slots: cluster.slots,
      forgiveAfterMs: cluster.quorum.forgiveAfter,
      isPair: cluster.quorum.mode === "pair",
      witnessHops: cluster.witnessHops,
      ports: cluster.ports,
      tls: { ca: cluster.tls.ca, cert: cluster.tls.cert, key: cluster.tls.key },
      ...(cluster.tls.caKey === undefined ? {} : { caKey: cluster.tls.caKey }),
    },
    control: {
      dataDir: control.dataDir,
      ...(etcd === undefined ? {} : { etcd }),
      diskFreeMiBMin: control.diskFreeMiBMin,
      socket: control.socket ?? `/run/synwall/${cluster.node}.sock`,
      http: control.http,
    },
    logLevel: content.log.level,
  };
}

function etcdConfig({ etcd }: NodeFile["control"]): EtcdConfig | undefined {
  if (etcd === undefined) return undefined;
  const { endpoints, prefix, tls, user, passwordFile, timeout } = etcd;
  return {
    endpoints,
    prefix,
    ...(tls === undefined
      ? {}
      : {
          tls: {
            ca: tls.ca,
            ...(tls.cert === undefined ? {} : { cert: tls.cert }),
            ...(tls.key === undefined ? {} : { key: tls.key }),
          },
        }),
    ...(user === undefined || passwordFile === undefined ? {} : { user: { name: user, passwordFile } }),
    timeoutMs: timeout,
  };
}

/** Zone interfaces in zone name order, as in the file within a zone; the cluster link last. */
export function orderInterfaces(content: RawNodeFile): InterfaceConfig[] {
  const { interfaces } = content.dataplane;
  const ordered = zoneNames(content).flatMap((zone) => interfaces.filter((entry) => entry.zone === zone));
  return [...ordered, ...interfaces.filter((entry) => entry.cluster)].map((entry) => ({
    name: entry.name,
    cluster: entry.cluster,
    ...(entry.vlan === undefined ? {} : { vlan: entry.vlan }),
    ...(entry.zone === undefined ? {} : { zone: entry.zone }),
  }));
}

/** The file in the policy's own terms: durations in milliseconds by name, interfaces by label. */
export function policySource(content: RawNodeFile): PolicySource {
  const { interfaces } = content.dataplane;
  const { timeout, ...fragments } = content.fragments;
  return {
    affinity: content.cluster.affinity,
    zones: Object.fromEntries(
      Object.entries(content.zones).map(([zone, { advertise, ...fields }]) => [
        zone,
        { ...fields, advertise: advertise && advertiseSource(advertise) },
      ]),
    ),
    interfaces: new Map(
      interfaces.flatMap((entry) => (entry.zone === undefined ? [] : [[interfaceLabel(entry), entry.zone]])),
    ),
    addressSets: content.addressSets,
    serviceSets: content.serviceSets,
    routes: content.routes,
    nat: content.nat,
    rules: content.rules.map(({ rate, ...rule }) => ({
      ...rule,
      rate: rate && { perSecond: rate.limit, burst: rate.burst },
    })),
    flowsMax: content.flows.max,
    protection: content.protection,
    fragments: { ...fragments, timeoutMs: timeout },
    timeouts: content.flows.timeouts,
    syncDeadlineMs: content.flows.syncDeadlineMs,
  };
}

type AdvertiseFile = NonNullable<NodeFile["zones"][string]["advertise"]>;

function advertiseSource({
  interval,
  lifetime,
  valid,
  preferred,
  ...fields
}: AdvertiseFile): AdvertiseSource {
  return { ...fields, intervalMs: interval, lifetimeMs: lifetime, validMs: valid, preferredMs: preferred };
}

export function readYaml(path: string): ReadFile {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new SynwallError(
      "SW_CONFIG_UNREADABLE",
      `${path}: cannot read the configuration (${whyUnreadable(cause)}): name a file that exists with --config`,
      { path },
      cause,
    );
  }
  return parseYaml(path, text);
}

function parseYaml(path: string, text: string): ReadFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    raise(
      "SW_CONFIG_INVALID",
      document.errors.map((error) => {
        const line = lines.linePos(error.pos[0]).line;
        return formatMistake(path, line, { path: [], message: `not valid YAML: ${error.message}` });
      }),
    );
  }
  return { path, document, lines, raw: document.toJS() as unknown };
}

export function parse<Content>(
  file: ReadFile,
  schema: {
    safeParse(raw: unknown): { success: true; data: Content } | { success: false; error: ZodErrorLike };
  },
): Content {
  const result = schema.safeParse(file.raw);
  if (result.success) return result.data;
  return raise("SW_CONFIG_INVALID", formatAll(file, mistakesOf(result.error, file.raw)));
}

type ZodErrorLike = Parameters<typeof mistakesOf>[0];

export function raiseIfAny(file: ReadFile, mistakes: readonly Mistake[]): void {
  if (mistakes.length > 0) raise("SW_CONFIG_INVALID", formatAll(file, mistakes));
}

function formatAll(file: ReadFile, mistakes: readonly Mistake[]): string[] {
  return mistakes.map((mistake) =>
    formatMistake(file.path, lineOf(file.document, file.lines, mistake.path), mistake),
  );
}

/** Freezes plain data through and through; typed arrays cannot be frozen and stay as they are. */
function deepFreeze<Value>(value: Value): Value {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
