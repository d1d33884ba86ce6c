import { writeFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { loadTls } from "../../../../cluster/transport/tls.ts";
import { CertificateFolder } from "./certificates.ts";

const folder = new CertificateFolder();
afterAll(() => folder.remove());
const good = folder.member("fw1");
const other = folder.member("fw2");
const foreign = folder.member("fw1", "other-ca");
const garbage = folder.file("garbage.pem");
writeFileSync(garbage, "not a certificate");

test("loadTls() takes a certificate that fits", () => {
  expect(loadTls(good, "fw1").cert.length).toBeGreaterThan(0);
});

test.each([
  [
    "a missing file",
    { ...good, cert: "/nowhere/fw1.crt" },
    /^cluster\.tls\.cert: \/nowhere\/fw1\.crt does not exist/,
  ],
  [
    "a missing CA",
    { ...good, ca: "/nowhere/ca.crt" },
    /^cluster\.tls\.ca: \/nowhere\/ca\.crt does not exist/,
  ],
  ["what is no certificate", { ...good, cert: garbage }, /garbage\.pem is not a PEM certificate/],
  [
    "what is no key",
    { ...good, key: garbage },
    /cluster\.tls\.key: .*garbage\.pem is not an unencrypted PEM private key/,
  ],
  ["another's key", { ...good, key: other.key }, /ca-fw2\.key does not belong to .*ca-fw1\.crt/],
  ["a certificate of another CA", { ...foreign, ca: good.ca }, /was not signed by .*ca\.crt/],
  ["a member's certificate as CA", { ...good, ca: other.cert }, /is no CA certificate/],
  ["another member's certificate", other, /is for "fw2", this member is "fw1": make one with CN=fw1/],
])("loadTls() refuses %s in one line that names file and fix", (_name, files, message) => {
  const attempt = (): unknown => loadTls(files, "fw1");
  expect(attempt).toThrow(message);
  expect(attempt).toThrow(expect.objectContaining({ code: "SW_TLS_INVALID" }));
  expect(attempt).toThrow(/^[^\n]*$/);
});

test("loadTls() refuses what has expired or is not valid yet", () => {
  const day = 86_400_000;
  expect(() => loadTls(good, "fw1", Date.now() + 3 * day)).toThrow(/expired on .*: renew it/);
  expect(() => loadTls(good, "fw1", Date.now() - 3 * day)).toThrow(/check this machine's clock/);
});
