/**
 * Machines that join. Who has another store for the cluster's log than the cluster is turned away in one line, with an unused token
 * and nothing written; who joins while the CA is replaced trusts what members trust; who cannot write its files leaves nothing. The registrar and the new machine are real, the
 * cluster behind them is played.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { Command, JoinToken } from "../../../cluster/control/model.ts";
import type { RegistrarOptions } from "../../../cluster/registration/registrar.ts";
import { parseTicket, ticketKey } from "../../../cluster/registration/token.ts";
import { fingerprint, issue, makeAuthority, makeRequest } from "../../../cluster/registration/x509.ts";
import { zeroRefusals } from "../../../cluster/transport/refusals.ts";
import { loadTls } from "../../../cluster/transport/tls.ts";
import { loadNewcomer, loadNodeConfig } from "../../../config/load.ts";
import type { MemberConfig, NodeConfig } from "../../../config/node-config.ts";
import { SynwallError } from "../../../src/base/errors.ts";
import { initCluster, joinWithToken } from "../../../src/node/cluster-setup.ts";
import type { Controller } from "../../../src/node/controller.ts";
import { logIdOf } from "../../../src/node/open-driver.ts";
import { initStore, openStore } from "../../../src/node/open-store.ts";
import { Registration } from "../../../src/node/registration.ts";
import { ETCD, EtcdServer } from "../../support/etcd.ts";
import { freePort } from "../cluster/transport/free-port.ts";
import { exampleText } from "../config/site.ts";

const ADDRESS = "127.0.0.1";
const NEW_ADDRESS = "192.0.2.2";
const RAFT = "store: raft";
const folder = mkdtempSync(join(tmpdir(), "synwall-join-"));
const open: (() => void)[] = [];
afterEach(() => {
  for (const close of open.splice(0)) close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What each registrar was made with: a question that is put there has not travelled, so that two can come at the same moment. */
const offices: RegistrarOptions[] = [];
vi.mock("../../../cluster/registration/registrar.ts", async (original) => {
  const { Registrar } = await original<typeof import("../../../cluster/registration/registrar.ts")>();
  return {
    Registrar: class extends Registrar {
      constructor(options: RegistrarOptions) {
        super(options);
        offices.push(options);
      }
    },
  };
});

const etcd = (url: string, prefix = "/synwall"): string =>
  `store: etcd\n  etcd: { endpoints: [${url}], prefix: ${prefix}, timeout: 2s }`;

/** A configuration that lists no members, in a folder of its own. */
function configure(machine: string, node: string, store: string, port: number, quorum = "majority"): string {
  const home = join(folder, machine);
  mkdirSync(home);
  const text = exampleText("fw1")
    .replaceAll("/etc/synwall", join(home, "etc"))
    .replace("/var/lib/synwall", join(home, "data"))
    .replace(/^ {2}members:.*\n(?: {4}- .*\n)+/m, "")
    .replace("node: fw1", `node: ${node}`)
    .replace("registration: 7402", `registration: ${port}`)
    .replace("mode: majority", `mode: ${quorum}`)
    .replace(RAFT, store);
  const file = join(home, "node.yaml");
  writeFileSync(file, text);
  return file;
}

interface Office {
  readonly token: string;
  /** Of the first one unless told. */
  readonly isUsed: (token?: string) => boolean;
  readonly issueToken: () => Promise<string>;
  readonly registration: Registration;
  readonly files: NodeConfig["cluster"]["tls"] & { readonly caKey: string };
  /** Tokens as the log has them. */
  readonly kept: () => readonly JoinToken[];
  /** Warnings of its log. */
  readonly lines: readonly string[];
}

/** A cluster of fw1 whose log is in `store`; answers a token, and whether it was used. `peers`: other members. */
async function cluster(
  machine: string,
  store: string,
  {
    quorum = "majority",
    peers = [],
    onJoin,
  }: { quorum?: string; peers?: readonly MemberConfig[]; onJoin?: () => void } = {},
): Promise<Office> {
  const file = configure(machine, "fw1", store, await freePort(), quorum);
  await initCluster(loadNewcomer(file), "192.0.2.1");
  const loaded = loadNodeConfig(file, "node");
  const self = { ...loaded.cluster.self, address: ADDRESS };
  const config = { ...loaded, cluster: { ...loaded.cluster, self } };
  const opened = await openStore(config);
  const tokens: JoinToken[] = [];
  const members: MemberConfig[] = [...peers];
  const lines: string[] = [];
  const command = async (asked: Command): Promise<void> => {
    if (asked.type === "token") tokens.push(asked.token);
    if (asked.type !== "join") return;
    // Nothing is committed at once: others may ask meanwhile.
    await new Promise(setImmediate);
    const { name, role, address } = asked;
    const at = tokens.findIndex((one) => one.id === asked.token);
    if (at < 0) throw new Error(`no such token: ${asked.token}`);
    const id = 20 + members.length;
    members.push({ id, name, role, address, weight: 1 });
    tokens[at] = { ...tokens[at]!, usedBy: id };
    onJoin?.();
  };
  const played = {
    driver: { state: () => ({ tokens, members }) },
    peers: { present: () => members },
    command,
  };
  const registration = new Registration({
    config,
    tls: loadTls(config.cluster.tls, "fw1"),
    controller: played as unknown as Controller,
    logId: logIdOf(opened.storage),
    refused: zeroRefusals(),
    log: { line: (level, text) => level === "warn" && lines.push(text) },
  });
  await registration.listen();
  open.push(
    () => registration.close(),
    () => opened.close(),
  );
  const issueToken = async (): Promise<string> =>
    (await registration.issueToken({ role: "node", weight: 1, ttlMs: 60_000 })).token;
  const files = { ...config.cluster.tls, caKey: config.cluster.caKey! };
  const token = await issueToken();
  const isUsed = (text = token): boolean =>
    tokens.find(({ id }) => id === parseTicket(text)?.id)?.usedBy !== undefined;
  return { token, isUsed, issueToken, registration, files, kept: () => tokens, lines };
}

/** What a machine with that store is told; empty: it joined. */
async function joins(
  machine: string,
  store: string,
  token: string,
  change: (text: string) => string = (text) => text,
): Promise<string> {
  const file = configure(machine, "fw2", store, 7402);
  writeFileSync(file, change(readFileSync(file, "utf8")));
  const newcomer = loadNewcomer(file);
  try {
    await joinWithToken(newcomer, NEW_ADDRESS, token);
    return "";
  } catch (error) {
    if (!(error instanceof SynwallError)) throw error;
    expect(readdirSync(join(folder, machine))).toEqual(["node.yaml"]);
    return `${error.code} ${error.message.replace(/(127\.0\.0\.1|localhost):\d+/g, "$1")}`;
  }
}

test("a machine that has etcd is turned away by a cluster whose members keep the log, and its etcd is not asked", async () => {
  const { token, isUsed } = await cluster("of-raft-alone", RAFT);
  expect(await joins("has-etcd", etcd("http://127.0.0.1:1"), token)).toBe(
    "SW_CLUSTER_DIFFERS control.store: the cluster at 127.0.0.1 has raft, the configuration has etcd: set it to raft, and remove control.etcd; the token is still unused",
  );
  expect(isUsed()).toBe(false);
  expect(await joins("has-raft", RAFT, token)).toBe("");
  expect(isUsed()).toBe(true);
});

const other = (name: string, role: MemberConfig["role"]): MemberConfig => ({
  ...{ id: 9, name, role, address: "192.0.2.9", weight: 1 },
});

test("a third node is turned away by a pair, with the way to have it; who replaces one of the two is not", async () => {
  const pair = await cluster("of-a-pair", RAFT, { quorum: "pair", peers: [other("fw3", "node")] });
  expect(await joins("third", RAFT, pair.token)).toMatch(
    /^SW_REGISTRATION_FAILED .*cluster\.quorum: the cluster is a pair .*set it to majority .*; the token is still unused$/,
  );
  expect(pair.isUsed()).toBe(false);
  const again = await cluster("of-the-same", RAFT, { quorum: "pair", peers: [other("fw2", "node")] });
  expect(await joins("second", RAFT, again.token)).toBe("");
});

test("of two machines that join a pair at the same moment one gets in, and the other's token stays unused", async () => {
  const { token, isUsed, issueToken } = await cluster("of-one-yet", RAFT, { quorum: "pair" });
  const other = await issueToken();
  const { join } = offices.at(-1)!;
  const ask = (claim: Parameters<typeof join>[0]): ReturnType<typeof join> => join(claim, () => true);
  const [first, second] = await Promise.all(
    [token, other].map((text, i) =>
      ask({
        ...{ type: "join", role: "node", request: "", proof: "" },
        ...{ token: parseTicket(text)!.id, name: `fw${2 + i}`, address: `192.0.2.${2 + i}` },
      }),
    ),
  );
  expect(first).toMatchObject({ name: "fw2" });
  expect(second).toMatch(/^cluster\.quorum: the cluster is a pair .*; the token is still unused$/);
  expect([isUsed(token), isUsed(other)]).toEqual([true, false]);
});

test("a machine that left before its turn came is not taken in, and its token stays unused", async () => {
  const { token, isUsed, issueToken } = await cluster("of-who-stays", RAFT);
  const other = await issueToken();
  const { join } = offices.at(-1)!;
  const claim = (text: string, name: string, address: string): Parameters<typeof join>[0] => ({
    ...{ type: "join", role: "node", request: "", proof: "" },
    ...{ token: parseTicket(text)!.id, name, address },
  });
  let isThere = true;
  const first = join(claim(token, "fw2", "192.0.2.2"), () => true);
  const second = join(claim(other, "fw3", "192.0.2.3"), () => isThere);
  isThere = false;
  expect(await first).toMatchObject({ name: "fw2" });
  expect(await second).toBe("it left before its turn came; the token is still unused");
  expect([isUsed(token), isUsed(other)]).toEqual([true, false]);
});

test("what the log holds of a token lets nobody in", async () => {
  const { token, kept } = await cluster("of-readers", RAFT);
  const ticket = parseTicket(token)!;
  expect(kept()).toHaveLength(1);
  expect(kept()[0]!.key).not.toBe(ticketKey(ticket));
  // And with the cluster's secret it is the key again: the office lets the machine in.
  expect(await joins("a-reader", RAFT, token)).toBe("");
});

test("an address that a start would refuse is refused before anything is written", async () => {
  const file = configure("in-a-zone", "fw1", RAFT, 7402);
  await expect(initCluster(loadNewcomer(file), "10.10.0.5")).rejects.toMatchObject({
    code: "SW_ADMIN_BAD_REQUEST",
    message: expect.stringMatching(/^--address: 10\.10\.0\.5 is in the network of zone /),
  });
  expect(readdirSync(join(folder, "in-a-zone"))).not.toContain("data");
});

test("a join that fails does not hold up the next one", async () => {
  const { token } = await cluster("of-some", RAFT);
  const { join } = offices.at(-1)!;
  const ask = (claim: Parameters<typeof join>[0]): ReturnType<typeof join> => join(claim, () => true);
  const machine = { name: "fw2", address: NEW_ADDRESS, token: parseTicket(token)!.id } as const;
  const claim = { type: "join", role: "node", request: "", proof: "", ...machine } as const;
  const failed = ask({ ...claim, token: "0" });
  const joined = ask(claim);
  await expect(failed).rejects.toThrow(/no such token/);
  expect(await joined).toMatchObject({ name: "fw2" });
});

test("a CA that is replaced while a registrar runs: it signs with the new one, and who joins trusts both", async () => {
  const { registration, issueToken, files } = await cluster("of-two-cas", RAFT);
  const first = readFileSync(files.ca, "utf8");
  const next = await makeAuthority("edge", Date.now());
  writeFileSync(files.ca, `${first}${next.cert}\n`);
  writeFileSync(files.caKey, next.key);
  const { key, request } = await makeRequest("fw1");
  const cert = await issue(
    next,
    request,
    { id: 1, name: "fw1", address: ADDRESS },
    { days: 1, nowMs: Date.now() },
  );
  writeFileSync(files.key, key);
  writeFileSync(files.cert, cert!);
  registration.setTls(loadTls(files, "fw1"));
  const token = await issueToken();
  expect(parseTicket(token)?.fingerprint).toBe(fingerprint(next.cert));
  expect(await joins("of-the-new-ca", RAFT, token)).toBe("");
  const etc = join(folder, "of-the-new-ca/etc");
  const joined = { ca: join(etc, "ca.crt"), cert: join(etc, "fw1.crt"), key: join(etc, "fw1.key") };
  // Else it would refuse members that have certificates of the CA of before.
  expect(readFileSync(joined.ca, "utf8")).toBe(`${next.cert.trim()}\n${first.trim()}\n`);
  expect(loadTls(joined, "fw2").cert.length).toBeGreaterThan(0);
});

test("a CA's key that fits no certificate is not taken over: the one of before signs, and the log says so", async () => {
  const { registration, issueToken, files, lines } = await cluster("of-a-wrong-key", RAFT);
  writeFileSync(files.caKey, (await makeAuthority("edge", Date.now())).key);
  registration.setTls(loadTls(files, "fw1"));
  expect(lines).toEqual([expect.stringMatching(/ca\.key belongs to no certificate in cluster\.tls\.ca/)]);
  expect(await joins("of-the-key-before", RAFT, await issueToken())).toBe("");
});

test("where the CA's key was taken away nobody is let in any more", async () => {
  const { registration, token, isUsed, files, lines } = await cluster("of-a-key-taken-away", RAFT);
  rmSync(files.caKey);
  registration.setTls(loadTls(files, "fw1"));
  expect(registration.isOpen).toBe(false);
  expect(lines).toEqual([expect.stringMatching(/^cluster\.tls\.caKey: .*ca\.key is gone/)]);
  expect(await joins("too-late", RAFT, token)).toMatch(
    /^SW_REGISTRATION_FAILED .*cannot reach the registrar/,
  );
  expect(isUsed()).toBe(false);
});

const inOneFile = (text: string): string => text.replace(/fw1\.key/, "fw1.crt");

test("a machine whose certificate and key are one file joins, and a cluster begins with one", async () => {
  const { token } = await cluster("of-two-files", RAFT);
  expect(await joins("one-file", RAFT, token, inOneFile)).toBe("");
  const etc = join(folder, "one-file/etc");
  const [ca, both] = [join(etc, "ca.crt"), join(etc, "fw1.crt")];
  expect(loadTls({ ca, cert: both, key: both }, "fw2").key.length).toBeGreaterThan(0);
  const file = configure("begins-with-one-file", "fw1", RAFT, 7402);
  writeFileSync(file, inOneFile(readFileSync(file, "utf8")));
  await initCluster(loadNewcomer(file), "192.0.2.1");
  expect(loadNodeConfig(file, "node").cluster.founders).toEqual([1]);
});

test("a machine that cannot write one of its files is told before the token is used, and nothing is left", async () => {
  const { token, isUsed } = await cluster("of-a-closed-folder", RAFT);
  const underAFile = (text: string): string =>
    text.replace(join(folder, "closed/data"), join(folder, "closed/node.yaml/data"));
  expect(await joins("closed", RAFT, token, underAFile)).toMatch(
    /^SW_STORAGE_FAILED cannot write .*node\.yaml\/data\/members\.json \(ENOTDIR.*\); the token is still unused$/,
  );
  expect(isUsed()).toBe(false);
});

test("a machine that cannot write what it was given is told that the token is used, and nothing is left", async () => {
  const inTheWay = join(folder, "late/etc/fw1.crt");
  const { token } = await cluster("of-a-late-failure", RAFT, { onJoin: () => mkdirSync(inTheWay) });
  const newcomer = loadNewcomer(configure("late", "fw2", RAFT, 7402));
  await expect(joinWithToken(newcomer, NEW_ADDRESS, token)).rejects.toMatchObject({
    code: "SW_STORAGE_FAILED",
    message: expect.stringMatching(
      /^cannot write .*fw1\.crt \(.*\); the token is used, and the cluster knows this machine as member 20: .*token --name fw2/,
    ),
  });
  expect(readdirSync(join(folder, "late")).sort()).toEqual(["etc", "node.yaml"]);
  expect(readdirSync(join(folder, "late/etc"))).toEqual(["fw1.crt"]);
});

describe.skipIf(ETCD === undefined)("a cluster whose log is in etcd", () => {
  const servers: EtcdServer[] = [];
  beforeAll(async () => {
    for (let i = 0; i < 3; i++) servers.push(await EtcdServer.start());
    const [its, other] = servers.map(({ url }) => ({
      endpoints: [url],
      prefix: "/synwall",
      timeoutMs: 2_000,
    }));
    await initStore(its!, "edge", 64);
    await initStore(other!, "edge", 64);
  });
  afterAll(async () => {
    for (const server of servers) await server.stop();
  });

  const OTHER: readonly (readonly [what: string, store: () => string, told: string])[] = [
    [
      "raft",
      () => RAFT,
      "SW_CLUSTER_DIFFERS control.store: the cluster at 127.0.0.1 has etcd, the configuration has raft: set it to etcd, and control.etcd to what its members have; the token is still unused",
    ],
    [
      "another-prefix",
      () => etcd(servers[0]!.url, "/site"),
      "SW_REGISTRATION_FAILED 127.0.0.1: control.etcd.prefix: the cluster has /synwall, the configuration has /site: set it to /synwall; the token is still unused",
    ],
    [
      "another-log",
      () => etcd(servers[1]!.url),
      "SW_REGISTRATION_FAILED 127.0.0.1: control.etcd.endpoints: the cluster has its log at http://127.0.0.1, and there is another log where the configuration looks: set them to endpoints of the same etcd; the token is still unused",
    ],
    [
      "an-empty-etcd",
      () => etcd(servers[2]!.url),
      "SW_REGISTRATION_FAILED 127.0.0.1: control.etcd.endpoints: the cluster has its log at http://127.0.0.1, and there is no log where the configuration looks: set them to endpoints of the same etcd; the token is still unused",
    ],
  ];
  test.each(OTHER)("turns away a machine that has %s", async (what, store, told) => {
    const { token, isUsed } = await cluster(`of-${what}`, etcd(servers[0]!.url));
    expect(await joins(what, store(), token)).toBe(told);
    expect(isUsed()).toBe(false);
  });

  test("takes one in that has other words for the same etcd", async () => {
    const { token, isUsed } = await cluster("words", etcd(servers[0]!.url));
    const own = servers[0]!.url.replace("127.0.0.1", "localhost");
    expect(await joins("same", etcd(own), token)).toBe("");
    expect([isUsed(), existsSync(join(folder, "same/etc/fw1.crt"))]).toEqual([true, true]);
  });

  test("tells a machine that does not reach its etcd just that", async () => {
    const { token, isUsed } = await cluster("silent", etcd(servers[0]!.url));
    expect(await joins("unreached", etcd("http://127.0.0.1:1"), token)).toMatch(
      /^SW_STORE_UNREACHABLE the store at http:\/\/127\.0\.0\.1 does not answer/,
    );
    expect(isUsed()).toBe(false);
  });
});
