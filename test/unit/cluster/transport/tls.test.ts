import { readFileSync, statSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { judgeTls, loadTls } from "../../../../cluster/transport/tls.ts";
import { CertificateFolder } from "./certificates.ts";

const PEM_BEGIN = "-----BEGIN CERTIFICATE-----";
const PEM_END = "-----END CERTIFICATE-----";

const folder = new CertificateFolder();
afterAll(() => folder.remove());
const good = folder.member("fw1");
const other = folder.member("fw2");
const foreign = folder.member("fw1", "other-ca");
const garbage = folder.file("garbage.pem");
writeFileSync(garbage, "not a certificate", { mode: 0o600 });

test("loadTls() takes a certificate that fits", () => {
  expect(loadTls(good, "fw1").cert.length).toBeGreaterThan(0);
});

test.each([
  [
    "a missing file",
    { ...good, cert: "/nowhere/fw1.crt" },
    /^cluster\.tls\.cert: cannot read \/nowhere\/fw1\.crt \(no such file\)/,
  ],
  [
    "a missing CA",
    { ...good, ca: "/nowhere/ca.crt" },
    /^cluster\.tls\.ca: cannot read \/nowhere\/ca\.crt \(no such file\)/,
  ],
  [
    "what is no certificate",
    { ...good, cert: garbage },
    /garbage\.pem holds no certificate that can be read/,
  ],
  [
    "what is no key",
    { ...good, key: garbage },
    /cluster\.tls\.key: .*garbage\.pem holds no private key that can be read/,
  ],
  ["another's key", { ...good, key: other.key }, /ca-fw2\.key does not belong to .*ca-fw1\.crt/],
  ["a certificate of another CA", { ...foreign, ca: good.ca }, /is not signed by .*ca\.crt/],
  ["a member's certificate as CA", { ...good, ca: other.cert }, /is not a CA certificate/],
  [
    "another member's certificate",
    other,
    /is for "fw2", but this member is fw1: issue one whose common name is fw1/,
  ],
])("loadTls() refuses %s in one line that names file and fix", (_name, files, message) => {
  const attempt = (): unknown => loadTls(files, "fw1");
  expect(attempt).toThrow(message);
  expect(attempt).toThrow(expect.objectContaining({ code: "SW_TLS_INVALID" }));
  expect(attempt).toThrow(/^[^\n]*$/);
});

test("loadTls() refuses what has expired or is not valid yet", () => {
  const day = 86_400_000;
  expect(() => loadTls(good, "fw1", Date.now() + 3 * day)).toThrow(/expired on .*: issue a new certificate/);
  expect(() => loadTls(good, "fw1", Date.now() - 3 * day)).toThrow(/check this machine's clock/);
});

describe("a file of several CAs", () => {
  const both = folder.bundle("ca", "other-ca");

  test.each([
    ["the first", good],
    ["the last", foreign],
  ])("is right for a certificate of %s", (_which, files) => {
    expect(judgeTls({ ...files, ca: both }, "fw1", Date.now()).mistakes).toEqual([]);
    expect(loadTls({ ...files, ca: both }, "fw1").ca.toString()).toHaveLength(statSync(both).size);
  });

  test("is wrong when one of them is no CA, cannot be read, or none of them signed the certificate", () => {
    writeFileSync(folder.file("mixed.crt"), readFileSync(good.ca, "utf8") + readFileSync(other.cert, "utf8"));
    writeFileSync(
      folder.file("torn.crt"),
      `${readFileSync(good.ca, "utf8")}${PEM_BEGIN}\nAAAA\n${PEM_END}\n`,
    );
    const first = (ca: string) =>
      judgeTls({ ...good, ca: folder.file(ca) }, "fw1", Date.now()).mistakes[0]?.message;
    expect(first("mixed.crt")).toMatch(/mixed\.crt holds a certificate that is no CA's/);
    expect(first("torn.crt")).toMatch(/torn\.crt holds no certificate that can be read/);
    const stranger = folder.member("fw1", "third-ca");
    expect(() => loadTls({ ...stranger, ca: both }, "fw1")).toThrow(/is not signed by .*ca\+other-ca\.crt/);
  });
});
