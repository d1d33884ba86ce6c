/**
 * Files that a lab's members run on: certificates of a CA of its own, the cluster secret, and one YAML file a member.
 * The YAML is computed (pure); the node's own schema checks it when the member starts.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { stringify } from "yaml";
import { run } from "./run.ts";
import type { LabPaths } from "./state.ts";
import { STORE_URL } from "./store.ts";
import {
  HOP_ADDRESS,
  HOP_ADDRESS6,
  INSIDE_GATEWAY,
  INSIDE6,
  isPair,
  type LabMember,
  type LabOptions,
  LINK_LOCAL_GATEWAY,
  LINKS,
  NAT_POOL,
  OUTSIDE_GATEWAY,
  OUTSIDE6,
  STORE_ADDRESS,
  STORE_HOST,
  type Topology,
  WEB_ADDRESS,
  WEB_ADDRESS6,
} from "./topology.ts";

const SECRET_BYTES = 32;
const HTTP_PORT = 9470;
const CERTIFICATE_DAYS = 30;
const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/** Writes everything that the members need before they start. */
export async function writeFiles(options: LabOptions, topology: Topology, paths: LabPaths): Promise<void> {
  writeFileSync(paths.secret, `${randomBytes(SECRET_BYTES).toString("hex")}\n`, { mode: 0o600 });
  await makeAuthority(options.name, paths);
  for (const member of topology.members) {
    mkdirSync(paths.data(member.name), { recursive: true, mode: 0o700 });
    writeFileSync(paths.clock(member.name), "0\n");
    await makeCertificate(member.name, member.address, paths);
    writeFileSync(paths.config(member.name), memberYaml(options, topology, member, paths), { mode: 0o600 });
  }
  if (options.store === "etcd") await makeCertificate(STORE_HOST, STORE_ADDRESS, paths);
}

/** The member's configuration file. */
export function memberYaml(
  options: LabOptions,
  topology: Topology,
  member: LabMember,
  paths: LabPaths,
): string {
  const base = baseConfig(options, member, paths);
  const members = topology.members.map(({ id, name, role, address }) => ({ id, name, role, address }));
  const tls = {
    ca: paths.ca,
    cert: paths.certificate(member.name),
    key: paths.key(member.name),
    // Nodes let others in; a witness may be on a machine that is trusted less.
    ...(member.role === "node" ? { caKey: paths.caKey } : {}),
  };
  const config = { ...base, cluster: { ...base.cluster, secretFile: paths.secret, members, tls } };
  return toYaml(member.role === "node" ? { ...config, ...nodeConfig(options, topology) } : config);
}

/** The configuration of a node that joins later: who belongs to the cluster it is told when it joins. */
export function newcomerYaml(
  options: LabOptions,
  topology: Topology,
  member: LabMember,
  paths: LabPaths,
): string {
  return toYaml(newcomerConfig(options, topology, member, paths));
}

/** The same for a node that takes the place of one whose disk was lost: it may let others in. */
export function returnerYaml(
  options: LabOptions,
  topology: Topology,
  member: LabMember,
  paths: LabPaths,
): string {
  const config = newcomerConfig(options, topology, member, paths);
  const { cluster } = config;
  const tls = { ...cluster.tls, caKey: paths.ownCaKey(member.name) };
  return toYaml({ ...config, cluster: { ...cluster, tls } });
}

/** Files that joining writes: its own, as on a machine of its own. */
export function newcomerFiles(paths: LabPaths, name: string) {
  return {
    ca: paths.ownCa(name),
    cert: paths.certificate(name),
    key: paths.key(name),
    secretFile: paths.ownSecret(name),
  };
}

function newcomerConfig(options: LabOptions, topology: Topology, member: LabMember, paths: LabPaths) {
  const base = baseConfig(options, member, paths);
  const { secretFile, ...tls } = newcomerFiles(paths, member.name);
  return { ...base, cluster: { ...base.cluster, secretFile, tls }, ...nodeConfig(options, topology) };
}

function toYaml(config: object): string {
  return stringify(config, { lineWidth: 0 });
}

function baseConfig(options: LabOptions, member: LabMember, paths: LabPaths) {
  return {
    cluster: {
      ...{ name: options.name, node: member.name, profile: options.profile },
      ...(isPair(options) ? { quorum: "pair" } : {}),
      ...(options.isWitnessRouted === true ? { witnessHops: 1 } : {}),
    },
    control: {
      dataDir: paths.data(member.name),
      socket: paths.socket(member.name),
      http: { address: "127.0.0.1", port: HTTP_PORT },
      ...(options.store === undefined
        ? {}
        : { store: options.store, etcd: { endpoints: [STORE_URL], tls: { ca: paths.ca } } }),
    },
    log: { level: "info" },
  };
}

function nodeConfig(options: LabOptions, { features }: Topology) {
  return {
    dataplane: {
      driver: options.port,
      ...(options.isSealed === true ? { sealRedirects: "always" } : {}),
      interfaces: LINKS.map((link) =>
        link === "cluster" ? { name: link, cluster: true } : { name: link, zone: link },
      ),
    },
    zones: {
      inside: {
        trust: 100,
        gateway: `${INSIDE_GATEWAY}/24`,
        ...(features.ipv6 ? { gateway6: `${INSIDE6}1/64`, linkLocal: LINK_LOCAL_GATEWAY } : {}),
      },
      outside: {
        trust: 0,
        gateway: `${OUTSIDE_GATEWAY}/24`,
        ...(features.ipv6 ? { gateway6: `${OUTSIDE6}1/64`, linkLocal: LINK_LOCAL_GATEWAY } : {}),
      },
    },
    routes: [
      { to: "0.0.0.0/0", zone: "outside", via: HOP_ADDRESS },
      ...(features.ipv6 ? [{ to: "::/0", zone: "outside", via: HOP_ADDRESS6 }] : []),
    ],
    nat: {
      snat: [{ from: "inside", to: "outside", pool: [...NAT_POOL] }],
      dnat: [
        { zone: "outside", address: NAT_POOL[0], protocol: "tcp", ports: 8080, to: WEB_ADDRESS, toPort: 80 },
      ],
    },
    rules: [
      ...(features.helpers ? HELPER_RULES : []),
      { name: "out", from: "inside", to: "outside", action: "accept" },
      {
        name: "web",
        from: "outside",
        to: "inside",
        destinations: [WEB_ADDRESS],
        protocol: "tcp",
        destinationPorts: [80],
        translated: true,
        action: "accept",
      },
      ...(features.ipv6 ? [WEB6_RULE] : []),
    ],
    ...(options.flowsMax === undefined ? {} : { flows: { max: options.flowsMax } }),
  };
}

const WEB6_RULE = {
  name: "web6",
  from: "outside",
  to: "inside",
  destinations: [WEB_ADDRESS6],
  protocol: "tcp",
  destinationPorts: [80],
  action: "accept",
};

/** Before "out", which would take these flows without their helpers. */
const HELPER_RULES = (
  [
    ["ftp", "tcp", 21],
    ["tftp", "udp", 69],
    ["sip", "udp", 5060],
  ] as const
).map(([helper, protocol, port]) => ({
  name: helper,
  from: "inside",
  to: "outside",
  protocol,
  destinationPorts: [port],
  helpers: [helper],
  action: "accept",
}));

async function makeAuthority(lab: string, paths: LabPaths): Promise<void> {
  await run("openssl", [
    ...["req", "-x509", ...NEW_KEY, "-keyout", paths.caKey, "-out", paths.ca],
    ...["-subj", `/CN=synwall lab ${lab}`, "-days", String(CERTIFICATE_DAYS)],
  ]);
}

async function makeCertificate(name: string, address: string, paths: LabPaths): Promise<void> {
  await run("openssl", [
    ...["req", "-x509", "-CA", paths.ca, "-CAkey", paths.caKey, ...NEW_KEY],
    ...["-keyout", paths.key(name), "-out", paths.certificate(name)],
    ...["-subj", `/CN=${name}`, "-days", String(CERTIFICATE_DAYS)],
    ...["-addext", `subjectAltName=DNS:${name},IP:${address}`],
    ...["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth,clientAuth"],
  ]);
}
