/** The CA's key: of which kinds it may be, and what is said of one that cannot be used. */
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readAuthority } from "../../../../cluster/registration/authority.ts";
import { issue, makeRequest } from "../../../../cluster/registration/x509.ts";
import { checkCaKey } from "../../../../config/files.ts";

const folder = mkdtempSync(join(tmpdir(), "synwall-ca-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A site's own CA, as openssl makes it. */
function makeCa(name: string, newKey: readonly string[]): { readonly ca: Buffer; readonly key: string } {
  const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)];
  const args = ["req", "-x509", ...newKey, "-noenc", "-keyout", key, "-out", cert, "-days", "9"];
  execFileSync("openssl", [...args, "-subj", `/CN=${name}`], { stdio: "ignore" });
  chmodSync(key, 0o600);
  return { ca: readFileSync(cert), key };
}

const EC = ["-newkey", "ec", "-pkeyopt"];
const own = makeCa("p256", [...EC, "ec_paramgen_curve:prime256v1"]);

test.each([
  ["EC P-256", own],
  ["EC P-384", makeCa("p384", [...EC, "ec_paramgen_curve:secp384r1"])],
  ["EC P-521", makeCa("p521", [...EC, "ec_paramgen_curve:secp521r1"])],
  ["RSA", makeCa("rsa", ["-newkey", "rsa:2048"])],
])("a CA whose key is %s signs certificates that hold", async (_kind, { ca, key }) => {
  const authority = readAuthority(key, ca);
  if (typeof authority === "string") throw new Error(authority);
  const { request } = await makeRequest("fw2");
  const subject = { id: 2, name: "fw2", address: "192.0.2.2" };
  const cert = await issue(authority, request, subject, { days: 1, nowMs: Date.now() });
  expect(new X509Certificate(cert!).verify(new X509Certificate(ca).publicKey)).toBe(true);
});

test("what cannot be used is told in one line, the same by a check and at a start", () => {
  const ed25519 = makeCa("ed25519", ["-newkey", "ed25519"]);
  expect(readAuthority(ed25519.key, ed25519.ca)).toMatch(
    /ed25519\.key is a key of the kind ed25519: use a CA with a key of EC P-256, P-384, P-521 or RSA$/,
  );
  const other = makeCa("other", [...EC, "ec_paramgen_curve:prime256v1"]);
  expect(readAuthority(other.key, own.ca)).toMatch(
    /other\.key belongs to no certificate in cluster\.tls\.ca/,
  );
  const junk = join(folder, "junk.key");
  writeFileSync(junk, "hello", { mode: 0o600 });
  expect(readAuthority(junk, own.ca)).toMatch(/junk\.key holds no key that can be read/);
  chmodSync(junk, 0o640);
  expect(readAuthority(junk, own.ca)).toMatch(/can be read by others: run chmod 600 .*junk\.key$/);
  expect(readAuthority(folder, own.ca)).toMatch(/^cannot read .*\(it is a directory\)/);

  const ca = join(folder, "p256.crt");
  expect(checkCaKey({ ca, caKey: own.key })).toEqual([]);
  expect(checkCaKey({ ca, caKey: join(folder, "not-here.key") })).toEqual([]);
  expect(checkCaKey({ ca, caKey: other.key })).toEqual([
    {
      code: "SW_TLS_INVALID",
      path: ["cluster", "tls", "caKey"],
      message: readAuthority(other.key, own.ca),
    },
  ]);
});
