/**
 * Rotation of a running member over real TLS: a certificate that would be refused at the next start takes nobody's place.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { Registrar } from "../../../cluster/registration/registrar.ts";
import { issue, makeAuthority, makeRequest, type Subject } from "../../../cluster/registration/x509.ts";
import type { TlsFiles, TlsMaterial } from "../../../cluster/transport/tls.ts";
import { Certificates } from "../../../src/node/certificates.ts";
import { freePort } from "../cluster/transport/free-port.ts";

const SELF = { id: 2, name: "fw2", role: "node", address: "127.0.0.2", weight: 1 } as const;
const AHEAD = "127.0.0.3";
const IN_TIME = "127.0.0.4";
const authority = await makeAuthority("edge", Date.now());
const folder = mkdtempSync(join(tmpdir(), "synwall-rotate-"));
const open: Registrar[] = [];
afterEach(() => {
  for (const registrar of open.splice(0)) registrar.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function tlsOf(subject: Subject): Promise<TlsMaterial> {
  const { key, request } = await makeRequest(subject.name);
  const cert = await issue(authority, request, subject, { days: 1, nowMs: Date.now() });
  return { ca: Buffer.from(authority.cert), cert: Buffer.from(cert!), key: Buffer.from(key) };
}

interface Member {
  readonly files: TlsFiles;
  readonly certificates: Certificates;
  /** The member as its next start finds it. */
  readonly restart: () => Certificates;
  readonly changes: () => number;
}

/** A member whose registrars are at these addresses. */
async function member(what: string, addresses: readonly string[]): Promise<Member> {
  const port = await freePort();
  for (const address of addresses) {
    const registrar = new Registrar({
      address,
      port,
      tls: await tlsOf({ id: 1, name: "fw1", address }),
      authority,
      days: 1,
      hello: { cluster: "edge", slots: 64, profile: "vm" },
      // By more than certificates are dated back.
      nowMs: () => Date.now() + (address === AHEAD ? 10 * 60_000 : 0),
      token: () => undefined,
      whyNoMember: () => undefined,
      founders: [1, 2],
      join: async () => "nobody joins here",
      member: () => SELF,
      welcome: () => ({ ca: authority.cert, secret: "ab".repeat(32), founders: [1], members: [] }),
      onRefused: () => {},
      onIssued: () => {},
      onFailed: () => {},
    });
    open.push(registrar);
    await registrar.listen();
  }
  const file = (name: string): string => join(folder, `${what}.${name}`);
  const files = { ca: file("ca"), cert: file("crt"), key: file("key") };
  const tls = await tlsOf(SELF);
  for (const which of ["ca", "cert", "key"] as const)
    writeFileSync(files[which], tls[which], { mode: 0o600 });
  let changes = 0;
  const restart = (): Certificates =>
    new Certificates({
      cluster: {
        tls: files,
        self: SELF,
        ports: { grpc: 0, lifeline: 0, registration: port },
        founders: [1, 2],
      },
      registrars: () => addresses.map((address) => ({ address })),
      onChange: () => changes++,
    });
  return { files, certificates: restart(), restart, changes: () => changes };
}

const pairOf = ({ cert, key }: TlsFiles): Buffer[] => [readFileSync(cert), readFileSync(key)];

test("a certificate of a registrar whose clock is ahead is not taken, and the next start finds the present pair", async () => {
  const { files, certificates, restart, changes } = await member("ahead", [AHEAD]);
  const before = pairOf(files);
  await expect(certificates.rotate()).rejects.toMatchObject({
    code: "SW_REGISTRATION_FAILED",
    message: expect.stringMatching(
      /the present one stays:\n127\.0\.0\.3:\d+: the certificate that it gives is valid only from .*: check this machine's clock/,
    ),
  });
  expect([pairOf(files), changes()]).toEqual([before, 0]);
  expect(restart().tls.cert).toEqual(before[0]);
});

test("a certificate of a CA that the file on disk does not hold any more is not taken", async () => {
  const { files, certificates } = await member("dropped", [IN_TIME]);
  const before = pairOf(files);
  writeFileSync(files.ca, (await makeAuthority("edge", Date.now())).cert);
  await expect(certificates.rotate()).rejects.toMatchObject({
    code: "SW_REGISTRATION_FAILED",
    message: expect.stringMatching(/the certificate that it gives is not signed by .*dropped\.ca/),
  });
  expect(pairOf(files)).toEqual(before);
});

test("a registrar whose certificate cannot be used is passed over for the next one", async () => {
  const { files, certificates, restart, changes } = await member("passed", [AHEAD, IN_TIME]);
  const before = pairOf(files);
  expect(await certificates.rotate()).toMatchObject({ from: IN_TIME });
  expect([pairOf(files).some((half, i) => half.equals(before[i]!)), changes()]).toEqual([false, 1]);
  expect(restart().tls.cert).toEqual(pairOf(files)[0]);
});
