import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { EtcdKv, type EtcdKvOptions } from "../../cluster/transport/etcd-kv.ts";
import { ETCD, EtcdServer } from "../support/etcd.ts";
import { kvConformance } from "./kv-suite.ts";

/** A CA, and certificates of it for 127.0.0.1 in `folder`. */
function makePki(folder: string, names: readonly string[]): void {
  const openssl = (...args: string[]): void =>
    void execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl("req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca", "-days", "2");
  writeFileSync(join(folder, "ext"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n");
  for (const name of names) {
    openssl("req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    const signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext"];
    openssl("x509", "-req", "-in", `${name}.csr`, ...signed, "-out", `${name}.crt`);
  }
}

const KEY = "/rights/1";
const value = new TextEncoder().encode("x");
const write = { compare: [], success: [{ type: "put", key: KEY, value } as const], failure: [] };

describe.skipIf(ETCD === undefined)("etcd", () => {
  let server: EtcdServer;
  const open = (options: Partial<EtcdKvOptions> = {}): EtcdKv =>
    new EtcdKv({ endpoints: [server.url], timeoutMs: 30_000, ...options });

  beforeAll(async () => {
    server = await EtcdServer.start();
  });
  afterAll(() => server.stop());

  kvConformance("a store in etcd", () => ({
    open: () => open(),
    compact: async () => {
      const { header } = (await server.post("kv/range", { key: "YQ==" })) as { header: { revision: string } };
      await server.post("kv/compaction", { revision: header.revision });
    },
    until: async (isDone) => {
      while (!isDone()) await new Promise((resolve) => setImmediate(resolve));
    },
  }));

  test("an endpoint that is not there is passed over, within the time of the same request", async () => {
    const kv = open({ endpoints: ["http://127.0.0.1:1", server.url] });
    await expect(kv.transact(write)).resolves.toMatchObject({ succeeded: true });
    expect([kv.counters.requests, kv.counters.unanswered]).toEqual([1, 0]);
    expect(kv.counters.latency.count).toBe(1);
    kv.close();
  });

  test("a server that stands still costs the time-out, counts as unanswered, and ends no client", async () => {
    const kv = open();
    await kv.transact(write);
    const hasty = open({ timeoutMs: 200 });
    server.pause();
    try {
      await expect(hasty.transact(write)).rejects.toMatchObject({ name: "KvError", failure: "unknown" });
    } finally {
      server.resume();
    }
    expect(hasty.counters.unanswered).toBe(1);
    await expect(kv.transact(write)).resolves.toMatchObject({ succeeded: true });
    hasty.close();
    kv.close();
  });

  test("a server that crashed ends the watch, and is used again when it is back", async () => {
    const kv = open();
    let why = "";
    const { revision } = await kv.transact(write);
    const isWatching = new Promise<void>((resolve) => {
      kv.watch("/rights/", revision, { onEvents: () => resolve(), onEnd: (told) => (why = told) });
    });
    await isWatching;
    await server.kill();
    await expect(kv.transact(write)).rejects.toMatchObject({ name: "KvError", failure: "unknown" });
    while (why === "") await new Promise((resolve) => setImmediate(resolve));
    await server.run();
    let result: Awaited<ReturnType<EtcdKv["transact"]>> | undefined;
    while (result === undefined) result = await kv.transact(write).catch(() => undefined);
    expect(result.revision).toBeGreaterThan(revision);
    kv.close();
  });

  test("over TLS both ends prove who they are: no certificate, or a server of another CA, and nothing is said", async () => {
    const folder = mkdtempSync(join(tmpdir(), "synwall-etcd-pki-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const other = join(folder, "other");
    mkdirSync(other);
    makePki(folder, ["server", "client"]);
    makePki(other, ["client"]);
    const file = (name: string): string => join(folder, name);
    const secured = await EtcdServer.start({
      ca: file("ca.crt"),
      cert: file("server.crt"),
      key: file("server.key"),
    });
    onTestFinished(() => secured.stop());
    const connect = (ca: string, client?: string): EtcdKv =>
      open({
        endpoints: [secured.url],
        timeoutMs: 5_000,
        tls: {
          ca: readFileSync(file(ca)),
          ...(client === undefined
            ? {}
            : { cert: readFileSync(file(`${client}.crt`)), key: readFileSync(file(`${client}.key`)) }),
        },
      });
    const kv = connect("ca.crt", "client");
    let result: Awaited<ReturnType<EtcdKv["transact"]>> | undefined;
    while (result === undefined) result = await kv.transact(write).catch(() => undefined);
    expect(result.succeeded).toBe(true);
    const strangers = [
      connect("ca.crt"),
      connect("ca.crt", "other/client"),
      connect("other/ca.crt", "client"),
    ];
    for (const stranger of strangers) {
      await expect(stranger.transact(write)).rejects.toMatchObject({ name: "KvError" });
    }
    for (const one of [kv, ...strangers]) one.close();
  });

  // The last one: from here on the server asks who is there.
  test("a user's rights are asked for, and a wrong password or a foreign key is refused", async () => {
    const b64 = (text: string): string => Buffer.from(text).toString("base64");
    await server.post("auth/user/add", { name: "root", password: "root" });
    await server.post("auth/user/grant", { user: "root", role: "root" });
    await server.post("auth/role/add", { name: "synwall" });
    await server.post("auth/role/grant", {
      name: "synwall",
      perm: { permType: "READWRITE", key: b64("/rights/"), range_end: b64("/rights0") },
    });
    await server.post("auth/user/add", { name: "synwall", password: "secret" });
    await server.post("auth/user/grant", { user: "synwall", role: "synwall" });
    await server.post("auth/enable", {});

    const kv = open({ user: { name: "synwall", password: "secret" } });
    await expect(kv.transact(write)).resolves.toMatchObject({ succeeded: true });
    const foreign = { ...write, success: [{ type: "put", key: "/other", value } as const] };
    await expect(kv.transact(foreign)).rejects.toMatchObject({ failure: "refused" });
    expect(kv.counters.refused).toBe(1);
    const stranger = open({ user: { name: "synwall", password: "wrong" } });
    await expect(stranger.transact(write)).rejects.toMatchObject({ failure: "refused" });
    const nobody = open();
    await expect(nobody.transact(write)).rejects.toMatchObject({ failure: "refused" });
    for (const one of [kv, stranger, nobody]) one.close();
  });
});
