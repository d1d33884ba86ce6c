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
import { checkCluster, checkInterfaces } from "./check.ts";
import { checkTls, type FileMistake, raise, readSecret } from "./files.ts";
import { formatMistake, lineOf, type Mistake, mistakesOf } from "./mistakes.ts";
import { type InterfaceConfig, interfaceLabel, type MemberConfig, type NodeConfig } from "./node-config.ts";
import { type NodeFile, nodeSchema, type WitnessFile, witnessSchema } from "./schema.ts";

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

type Look = (content: NodeFile | WitnessFile) => Surroundings;

/**
 * Loads and checks the configuration of a node or a witness.
 * Throws SW_CONFIG_UNREADABLE, SW_CONFIG_INVALID or SW_TLS_INVALID; the message has one line per mistake.
 */
export function loadNodeConfig(path: string, role: "node" | "witness"): NodeConfig {
  const file = readYaml(path);
  const look = (content: NodeFile | WitnessFile): Surroundings => ({
    secret: readSecret(content.cluster.secretFile),
    tlsMistakes: checkTls(content.cluster.tls, content.cluster.node, Date.now()),
  });
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
  const look = (): Surroundings => ({ secret, tlsMistakes: [] });
  return role === "node" ? loadNode(file, look) : loadWitness(file, look);
}

/** The role of the member that a configuration is for, as far as it can be told; a node when it cannot. */
export function roleInFile(path: string): "node" | "witness" {
  const { raw } = readYaml(path);
  const cluster = (raw as { cluster?: { node?: unknown; members?: unknown } } | null)?.cluster;
  const members: unknown[] = Array.isArray(cluster?.members) ? cluster.members : [];
  const self = members.find((member) => (member as { name?: unknown } | null)?.name === cluster?.node);
  return (self as { role?: unknown } | undefined)?.role === "witness" ? "witness" : "node";
}

function loadNode(file: ReadFile, look: Look): NodeConfig {
  const content = parse(file, nodeSchema);
  const policy = policySource(content);
  const mistakes = [
    ...checkCluster(content, "node"),
    ...checkInterfaces(content, policy),
    ...checkPolicy(policy),
  ];
  raiseIfAny(file, mistakes);
  const interfaces = orderInterfaces(content);
  const portsOf = (zone: string): readonly number[] =>
    interfaces.flatMap((entry, index) => (entry.zone === zone ? [index] : []));
  const labels = interfaces.map(interfaceLabel);
  return deepFreeze<NodeConfig>({
    ...common(file, content, look(content)),
    notes: formatAll(file, notesOf(policy)),
    dataplane: {
      driver: content.dataplane.driver,
      realtime: content.dataplane.realtime,
      interfaces,
      flowsMax: content.flows.max,
      ruleLogsPerSecond: content.log.flowsPerSecond,
      policy: compilePolicy(policy, portsOf, (label) => labels.indexOf(label)),
    },
  });
}

function loadWitness(file: ReadFile, look: Look): NodeConfig {
  const content = parse(file, witnessSchema);
  raiseIfAny(file, checkCluster(content, "witness"));
  return deepFreeze<NodeConfig>(common(file, content, look(content)));
}

/** What nodes and witnesses share. */
function common(
  file: ReadFile,
  content: NodeFile | WitnessFile,
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
  return {
    cluster: {
      name: cluster.name,
      self: members.find((member) => member.name === cluster.node)!,
      members,
      secret,
      profile: cluster.profile,
      slots: cluster.slots,
      forgiveAfterMs: cluster.quorum.forgiveAfter,
      ports: cluster.ports,
      tls: cluster.tls,
    },
    control: {
      dataDir: control.dataDir,
      socket: control.socket ?? `/run/synwall/${cluster.node}.sock`,
      http: control.http,
    },
    logLevel: content.log.level,
  };
}

/** Zone interfaces in zone name order, as in the file within a zone; the cluster link last. */
export function orderInterfaces(content: NodeFile): InterfaceConfig[] {
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
export function policySource(content: NodeFile): PolicySource {
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
