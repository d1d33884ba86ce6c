/**
 * The registration channel over real TLS: who gets a certificate, who does not, and what a machine that was refused is told.
 */

import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect as connectPlain, type Socket } from "node:net";
import { afterAll, afterEach, expect, test } from "vitest";
import { joinCluster, renewCertificate } from "../../../../cluster/registration/client.ts";
import { helloSchema } from "../../../../cluster/registration/messages.ts";
import { Registrar, type RegistrarOptions } from "../../../../cluster/registration/registrar.ts";
import {
  formatTicket,
  type JoinTicket,
  newTicket,
  parseTicket,
  ticketKey,
} from "../../../../cluster/registration/token.ts";
import { fingerprint, issue, makeAuthority, makeRequest } from "../../../../cluster/registration/x509.ts";
import { loadTls, type TlsMaterial } from "../../../../cluster/transport/tls.ts";
import { whyNoMember } from "../../../../config/check.ts";
import { CertificateFolder } from "../transport/certificates.ts";
import { freePort } from "../transport/free-port.ts";
import { until } from "../transport/until.ts";

const authority = await makeAuthority("edge", Date.now());
const fw1 = await tlsOf({ id: 1, name: "fw1" });
const request = (await makeRequest("fw2")).request;
/** 10.10.0.0/24. */
const INSIDE = { address: 0x0a0a_0000, bits: 24 };
const CLAIM = { name: "fw2", role: "node", address: "192.0.2.2", request } as const;

async function tlsOf(
  subject: { id: number; name: string },
  ca = authority,
  nowMs = Date.now(),
): Promise<TlsMaterial> {
  const own = await makeRequest(subject.name);
  const cert = await issue(ca, own.request, { ...subject, address: "127.0.0.1" }, { days: 1, nowMs });
  return { ca: Buffer.from(ca.cert), cert: Buffer.from(cert!), key: Buffer.from(own.key) };
}

const undo: (() => void)[] = [];
afterAll(() => {
  for (const each of undo) each();
});
const open: Registrar[] = [];
afterEach(() => {
  for (const registrar of open.splice(0)) registrar.close();
});

async function office(
  more: Partial<RegistrarOptions> = {},
): Promise<{ ticket: JoinTicket; refused: string[] }> {
  const port = await freePort();
  const ticket = newTicket({ fingerprint: fingerprint(authority.cert), address: "127.0.0.1", port });
  const refused: string[] = [];
  const token = {
    id: ticket.id,
    key: ticketKey(ticket),
    role: "node",
    weight: 1,
    expiresWallMs: 1e15,
  } as const;
  const registrar = new Registrar({
    address: "127.0.0.1",
    port,
    tls: fw1,
    authority,
    days: 90,
    hello: { cluster: "edge", slots: 64, profile: "vm" },
    nowMs: () => Date.now(),
    token: (id) => (id === ticket.id ? token : undefined),
    whyNoMember: (claim) => whyNoMember(claim, [{ name: "inside", prefix: INSIDE }]),
    join: async ({ name, address }) => ({ id: 4, name, address }),
    founders: [1],
    member: (name) => (name === "fw1" ? { id: 1, name, address: "127.0.0.1" } : undefined),
    welcome: () => ({ ca: authority.cert, secret: "ab".repeat(32), founders: [1], members: [] }),
    onRefused: (reason, why) => refused.push(`${reason}: ${why}`),
    onIssued: () => {},
    onFailed: () => {},
    ...more,
  });
  open.push(registrar);
  await registrar.listen();
  return { ticket, refused };
}

test("a token survives its text, and nothing but a whole token is one", () => {
  const ticket = newTicket({ fingerprint: "ab".repeat(32), address: "192.0.2.1", port: 7402 });
  expect(parseTicket(` ${formatTicket(ticket)}\n`)).toEqual(ticket);
  expect(parseTicket(formatTicket(ticket).slice(0, -8))).toBeUndefined();
});

test("whoever proves the token gets a certificate for the key that it made, of the name and id that the cluster gave", async () => {
  const { ticket, refused } = await office();
  const welcome = await joinCluster(ticket, CLAIM, () => {});
  const cert = new X509Certificate(welcome.cert);
  expect(cert.verify(new X509Certificate(authority.cert).publicKey)).toBe(true);
  expect(cert.subject).toBe("CN=fw2");
  expect(cert.subjectAltName).toBe("DNS:fw2, IP Address:192.0.2.2, URI:urn:synwall:member:4");
  expect([welcome.id, welcome.founders, welcome.secret.length, refused]).toEqual([4, [1], 64, []]);
});

test("another secret than the token's is refused, told and counted, in the same words as a token that is not there", async () => {
  const { ticket, refused } = await office();
  const guess = { ...ticket, secret: new Uint8Array(32) };
  await expect(joinCluster(guess, CLAIM, () => {})).rejects.toThrow(/not known here, or is not the one/);
  await expect(joinCluster({ ...ticket, id: "0".repeat(16) }, CLAIM, () => {})).rejects.toThrow(
    /not known here, or is not the one/,
  );
  expect(refused[0]).toMatch(/^certificate: refused a registration of 127\.0\.0\.1/);
  expect(refused).toHaveLength(2);
});

test("a registrar of another CA than the token names is not believed, and is told nothing", async () => {
  const { ticket, refused } = await office();
  const wrong = { ...ticket, fingerprint: "00".repeat(32) };
  await expect(joinCluster(wrong, CLAIM, () => {})).rejects.toMatchObject({
    code: "SW_REGISTRATION_FAILED",
    message: expect.stringMatching(/its CA is not the one that the token names/),
  });
  await until(() => refused.length > 0);
  expect(refused[0]).toMatch(/^malformed/);
});

test("a stranger who shows the cluster's CA without its certificate is not believed", async () => {
  const other = await makeAuthority("edge", Date.now());
  const { ticket } = await office({ tls: await tlsOf({ id: 1, name: "fw1" }, other) });
  await expect(joinCluster(ticket, CLAIM, () => {})).rejects.toThrow(/is not signed by the CA/);
});

test("what the cluster refuses is told as it says it, and a bad request is refused before the token is used", async () => {
  let joins = 0;
  const { ticket } = await office({
    join: async () => {
      joins++;
      return "the token expired 2 s ago: issue another one";
    },
  });
  await expect(joinCluster(ticket, CLAIM, () => {})).rejects.toThrow(/the token expired 2 s ago/);
  await expect(joinCluster(ticket, { ...CLAIM, request: "garbage" }, () => {})).rejects.toThrow(
    /request for a certificate cannot be read/,
  );
  expect(joins).toBe(1);
});

test.each([
  ["name", "#zz", /"#zz" cannot be a member's name: use a name of 1 to 32 small letters/],
  ["name", "FW2", /cannot be a member's name/],
  ["name", "fw2\n", /"fw2\\n" cannot be a member's name/],
  ["address", "fw3.example", /"fw3\.example" cannot be a member's address: use an IPv4 address/],
  ["address", "192.0.2.256", /cannot be a member's address/],
  ["address", "10.0.0.0/8", /cannot be a member's address/],
  ["address", "2001:db8::1", /cannot be a member's address/],
  ["address", "0.0.0.0", /0\.0\.0\.0 cannot be a host's address/],
  ["address", "224.0.0.18", /cannot be a host's address/],
  ["address", "10.10.0.7", /is in the network of zone inside \(10\.10\.0\.0\/24\)/],
])(
  "the %s %j is refused to whoever has a token, which stays unused, and the next one is let in",
  async (field, value, why) => {
    const joined: string[] = [];
    const { ticket, refused } = await office({
      join: async ({ name, address }) => {
        joined.push(name);
        return { id: 4, name, address };
      },
    });
    const claim = { ...CLAIM, [field]: value };
    await expect(joinCluster(ticket, claim, () => {})).rejects.toThrow(why);
    await expect(joinCluster(ticket, claim, () => {})).rejects.toThrow(/the token is still unused$/);
    expect(refused[0]).toMatch(/^malformed: refused a registration of 127\.0\.0\.1: /);
    await joinCluster(ticket, CLAIM, () => {});
    expect(joined).toEqual(["fw2"]);
  },
);

test("a visit that fails inside ends, is told, and harms nobody", async () => {
  const failed: string[] = [];
  let joins = 0;
  const { ticket } = await office({
    join: async ({ name, address }) => {
      if (joins++ === 0) throw new Error("a bug");
      return { id: 4, name, address };
    },
    onFailed: (text) => failed.push(text),
  });
  await expect(joinCluster(ticket, CLAIM, () => {})).rejects.toThrow(/it ended without an answer/);
  expect(failed).toEqual(["a registration failed: a bug"]);
  expect((await joinCluster(ticket, CLAIM, () => {})).id).toBe(4);
});

test("issue() takes a name for nothing but text, and answers nothing when a certificate cannot say it", async () => {
  const days = { days: 1, nowMs: Date.now() };
  const odd = await issue(authority, request, { id: 4, name: "#zz", address: "192.0.2.2" }, days);
  expect(new X509Certificate(odd!).toLegacyObject().subject.CN).toBe("#zz");
  expect(
    await issue(authority, request, { id: 4, name: "fw2", address: "fw3.example" }, days),
  ).toBeUndefined();
});

test("a machine of another cluster leaves before it uses the token", async () => {
  let joins = 0;
  const { ticket } = await office({ join: async () => String(joins++) });
  const check = (): void => {
    throw new Error("the cluster has 64 slots");
  };
  await expect(joinCluster(ticket, CLAIM, check)).rejects.toThrow(/64 slots/);
  expect(joins).toBe(0);
});

test("what a machine says of its store reaches the cluster as it was proven, and only after the hello was checked", async () => {
  const claims: unknown[] = [];
  const { ticket } = await office({
    hello: { cluster: "edge", slots: 64, profile: "vm", store: "etcd" },
    join: async ({ store }) => {
      claims.push(store);
      return "seen";
    },
  });
  const store = { prefix: "/synwall", log: "ab" };
  await expect(
    joinCluster(
      ticket,
      CLAIM,
      () => {},
      async () => store,
    ),
  ).rejects.toThrow(/seen/);
  await expect(joinCluster(ticket, CLAIM, () => {})).rejects.toThrow(/seen/);
  expect(claims).toEqual([store, undefined]);
  let asked = 0;
  const check = (): void => {
    throw new Error("the cluster has etcd");
  };
  const find = async (): Promise<typeof store> => {
    asked++;
    return store;
  };
  await expect(joinCluster(ticket, CLAIM, check, find)).rejects.toThrow(/has etcd/);
  expect([asked, claims.length]).toEqual([0, 2]);
});

test("what a hello of a later build says besides is passed over", () => {
  const hello = { type: "hello", cluster: "edge", slots: 64, profile: "vm", ca: "x", later: 1 };
  expect(helloSchema.parse(hello)).not.toHaveProperty("later");
});

test("a member gets another certificate by the one that it has", async () => {
  const { ticket } = await office();
  const renewed = await renewCertificate(ticket, fw1, (await makeRequest("fw1")).request);
  expect(new X509Certificate(renewed.cert).subjectAltName).toContain("urn:synwall:member:1");
});

test.each([
  ["none", async () => ({ ca: fw1.ca }) as TlsMaterial, /it has no certificate/],
  [
    "one that has expired",
    () => tlsOf({ id: 1, name: "fw1" }, authority, Date.now() - 9e8),
    /CERT_HAS_EXPIRED/,
  ],
  ["one of no member", () => tlsOf({ id: 3, name: "fw3" }), /is for "fw3", which is no member/],
  ["one of a removed member of the same name", () => tlsOf({ id: 9, name: "fw1" }), /which is no member/],
])("a certificate is refused to whoever has %s", async (_what, make, why) => {
  const { ticket, refused } = await office();
  const own = await makeRequest("fw1");
  await expect(renewCertificate(ticket, await make(), own.request)).rejects.toThrow(why);
  expect(refused).toHaveLength(1);
});

test("a certificate that names no id is that of a founder, and not of whoever joined under a name that was given before", async () => {
  const folder = new CertificateFolder();
  undo.push(() => folder.remove());
  const [key, cert] = ["ca.key", "ca.crt"].map((file) => readFileSync(folder.file(file), "utf8"));
  const ca = { key: key!, cert: cert! };
  const ids: Record<string, number> = { fw1: 1, fw2: 4 };
  const { ticket, refused } = await office({
    authority: ca,
    tls: await tlsOf({ id: 1, name: "fw1" }, ca),
    member: (name) => ({ id: ids[name]!, name, address: "127.0.0.1" }),
  });
  const renewed = await renewCertificate(ticket, loadTls(folder.member("fw1"), "fw1"), request);
  expect(new X509Certificate(renewed.cert).subjectAltName).toContain("urn:synwall:member:1");
  const former = loadTls(folder.member("fw2"), "fw2");
  await expect(renewCertificate(ticket, former, request)).rejects.toThrow(/is for "fw2", which is no member/);
  expect(refused).toHaveLength(1);
  const successor = await tlsOf({ id: 4, name: "fw2" }, ca);
  const again = await renewCertificate(ticket, successor, request);
  expect(new X509Certificate(again.cert).subjectAltName).toContain("urn:synwall:member:4");
});

/** Somebody who connects and says nothing; resolves when the connection ends. */
async function silence({ port, address }: JoinTicket): Promise<unknown> {
  const socket: Socket = connectPlain(port, address).resume();
  socket.on("error", () => {});
  return new Promise((resolve) => socket.once("close", resolve));
}

test("connections that say nothing lose their places, and a machine gets in afterwards", async () => {
  const { ticket, refused } = await office({ handshakeMsMax: 500 });
  await Promise.all(Array.from({ length: 20 }, () => silence(ticket)));
  expect(new Set(refused.map((line) => line.split(":")[0]))).toEqual(new Set(["tls", "limit"]));
  expect((await joinCluster(ticket, CLAIM, () => {})).id).toBe(4);
});

test("close() ends a connection that has said nothing yet", async () => {
  const { ticket } = await office({ handshakeMsMax: 600_000 });
  const ended = silence(ticket);
  // It is accepted before whoever comes after it.
  await joinCluster(ticket, CLAIM, () => {});
  for (const registrar of open.splice(0)) registrar.close();
  await ended;
});

test("whoever speaks no TLS is refused and counted", async () => {
  const { ticket, refused } = await office();
  const socket = connectPlain(ticket.port, ticket.address, () => socket.write("GET / HTTP/1.0\r\n\r\n"));
  socket.on("error", () => {});
  await until(() => refused.length > 0);
  expect(refused[0]).toMatch(/^tls: /);
  socket.destroy();
});
