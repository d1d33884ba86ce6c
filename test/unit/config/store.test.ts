import { afterAll, expect, test } from "vitest";
import { Site } from "./site.ts";

const site = new Site(["fw1"]);
afterAll(() => site.remove());

const etcd = (text: string): Record<string, string> => ({
  "  store: raft": `  etcd: { ${text} }\n  store: etcd`,
});
const OWN = "endpoints: [http://127.0.0.1:2379]";
const FAR = "endpoints: [https://192.0.2.21:2379, https://etcd2.example:2379]";

function lines(edits: Record<string, string>): string[] {
  // Without file and line.
  return site.failure("fw1", edits).lines.map((line) => line.replace(/^.*?: (?=control)/, ""));
}

test("an etcd on this machine needs endpoints only; all the rest has defaults", () => {
  expect(site.load("fw1", etcd(OWN)).control.etcd).toEqual({
    endpoints: ["http://127.0.0.1:2379"],
    prefix: "/synwall",
    timeoutMs: 1_000,
  });
});

test("without control.store the members keep the log", () => {
  expect(site.load("fw1").control.etcd).toBeUndefined();
});

test("an etcd elsewhere is reached with TLS, certificates and a user", () => {
  const password = site.write("etcd-password", "secret\n");
  const tls = `tls: { ca: ${site.path("ca.crt")}, cert: ${site.path("fw1.crt")}, key: ${site.path("fw1.key")} }`;
  const { control } = site.load(
    "fw1",
    etcd(`${FAR}, ${tls}, user: synwall, passwordFile: ${password}, prefix: /site/fw, timeout: 300ms`),
  );
  expect(control.etcd).toMatchObject({
    endpoints: ["https://192.0.2.21:2379", "https://etcd2.example:2379"],
    prefix: "/site/fw",
    tls: { ca: site.path("ca.crt"), key: site.path("fw1.key") },
    user: { name: "synwall", passwordFile: password },
    timeoutMs: 300,
  });
});

const tls = (): string => `tls: { ca: ${site.path("ca.crt")} }`;
const MISTAKES: readonly (readonly [what: string, edits: () => Record<string, string>, line: RegExp])[] = [
  [
    "no endpoints",
    () => ({ "  store: raft": "  store: etcd" }),
    /control\.store.*add control\.etcd\.endpoints/,
  ],
  [
    "endpoints without store",
    () => ({ "  store: raft": `  etcd: { ${OWN} }` }),
    /control\.etcd.*set control\.store to etcd/,
  ],
  ["clear text over a network", () => etcd("endpoints: [http://192.0.2.21:2379]"), /clear text: use https/],
  ["https without a CA", () => etcd(FAR), /add control\.etcd\.tls\.ca/],
  ["TLS that is not used", () => etcd(`${OWN}, ${tls()}`), /use https, or remove control\.etcd\.tls/],
  ["no port", () => etcd("endpoints: [https://192.0.2.21]"), /a URL like https/],
  ["the same twice", () => etcd("endpoints: [http://127.0.0.1:1, http://127.0.0.1:1]"), /listed twice/],
  ["a prefix that ends in a slash", () => etcd(`${OWN}, prefix: /synwall/`), /a prefix of keys/],
  [
    "half a certificate",
    () => etcd(`${FAR}, tls: { ca: ${site.path("ca.crt")}, cert: ${site.path("fw1.crt")} }`),
    /add control\.etcd\.tls\.key/,
  ],
  ["a user without a password", () => etcd(`${OWN}, user: synwall`), /add control\.etcd\.passwordFile/],
  [
    "a password file that is not there",
    () => etcd(`${OWN}, user: synwall, passwordFile: /nowhere`),
    /cannot read \/nowhere/,
  ],
  [
    "a password that others can read",
    () => etcd(`${OWN}, user: synwall, passwordFile: ${site.write("open-password", "x", 0o644)}`),
    /run chmod 600/,
  ],
  [
    "a CA that is none",
    () => etcd(`${FAR}, tls: { ca: ${site.write("no-ca", "x")} }`),
    /does not hold the CA certificate/,
  ],
];

for (const [what, edits, line] of MISTAKES) {
  test(`refused: ${what}`, () => {
    expect(lines(edits()).join("\n")).toMatch(line);
  });
}
