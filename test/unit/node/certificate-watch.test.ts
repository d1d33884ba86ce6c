/** Certificates that run out: renewed in time, told when they cannot be. */
import { expect, test } from "vitest";
import { issue, makeAuthority, makeRequest } from "../../../cluster/registration/x509.ts";
import type { TlsMaterial } from "../../../cluster/transport/tls.ts";
import { CERTIFICATE_WATCH_MS, CertificateWatch } from "../../../src/node/certificate-watch.ts";
import type { CertificateReport } from "../../../src/node/certificates.ts";

const DAY_MS = 86_400_000;
const BEGAN_MS = Date.UTC(2026, 0, 1);
const SELF = { id: 2, name: "fw2", address: "192.0.2.2" };
const authority = await makeAuthority("edge", BEGAN_MS);
/** A CA of an earlier cluster: it signed nothing of ours, and its end is nobody's. */
const elder = await makeAuthority("before", BEGAN_MS - 3649 * DAY_MS);

class World {
  nowMs = BEGAN_MS;
  tls: TlsMaterial;
  /** Why no registrar gives a certificate. */
  refusal = "";
  asked = 0;
  readonly notes: string[] = [];
  readonly watch: CertificateWatch;

  private constructor(tls: TlsMaterial) {
    this.tls = tls;
    this.watch = new CertificateWatch({
      member: SELF.name,
      certificates: this,
      wallMs: () => this.nowMs,
      log: { line: (level, text) => this.notes.push(`${level}: ${text}`) },
    });
  }

  static async of(days: number): Promise<World> {
    return new World(await certificate(BEGAN_MS, days));
  }

  async rotate(): Promise<CertificateReport> {
    this.asked++;
    if (this.refusal !== "") throw new Error(this.refusal);
    this.tls = await certificate(this.nowMs, 397);
    return { validTo: "then", from: "192.0.2.1" };
  }

  async runDays(days: number): Promise<void> {
    for (const endMs = this.nowMs + days * DAY_MS; this.nowMs < endMs; ) {
      this.nowMs += CERTIFICATE_WATCH_MS;
      await this.watch.tick();
    }
  }
}

async function certificate(nowMs: number, days: number): Promise<TlsMaterial> {
  const { key, request } = await makeRequest(SELF.name);
  const cert = await issue(authority, request, SELF, { days, nowMs });
  return {
    ca: Buffer.from(`${elder.cert}\n${authority.cert}`),
    cert: Buffer.from(cert!),
    key: Buffer.from(key),
  };
}

test("a certificate is renewed when a third of its life is left, and nobody is asked for anything", async () => {
  const world = await World.of(397);
  await world.runDays(264);
  expect([world.asked, world.watch.untilMs]).toEqual([0, BEGAN_MS + 397 * DAY_MS]);
  await world.runDays(1);
  expect(world.asked).toBe(1);
  expect(world.watch.untilMs).toBeGreaterThan(BEGAN_MS + 660 * DAY_MS);
  expect(world.notes).toEqual([
    "info: this member's certificate was renewed by 192.0.2.1: it holds until then",
  ]);
  await world.runDays(30);
  expect([world.asked, world.watch.alerts()]).toEqual([1, []]);
});

test("one that cannot be renewed is tried each day, and asks for an operator 30 days before its end", async () => {
  const world = await World.of(397);
  world.refusal = "no member gave one:\n192.0.2.1:7402: refused";
  await world.runDays(366);
  expect(world.asked).toBe(102);
  expect([world.watch.alerts(), world.notes.filter((note) => note.startsWith("warn"))]).toEqual([[], []]);
  await world.runDays(2);
  expect(world.watch.alerts()).toEqual([
    "the certificate of fw2 ends on 2027-02-02, in 29 days (it could not be renewed: no member gave one: 192.0.2.1:7402: refused): connections that stand stay, none can be made anew, and it does not start again; run 'synwall cluster rotate' on it, or replace its files and run 'synwall cluster rotate --reload'",
  ]);
  expect(world.notes.at(-1)).toMatch(/^warn: this member's certificate ends on 2027-02-02 and could not be/);
  await world.runDays(30);
  expect(world.watch.alerts()[0]).toMatch(/^the certificate of fw2 ended on 2027-02-02 /);
  // The cause is mended: the next day all is well.
  world.refusal = "";
  await world.runDays(1);
  expect(world.watch.alerts()).toEqual([]);
});

test("of a certificate with a short life it asks when a sixth is left", async () => {
  const world = await World.of(6);
  world.refusal = "nobody there";
  await world.runDays(4.9);
  expect(world.watch.alerts()).toEqual([]);
  await world.runDays(0.2);
  expect(world.watch.alerts()).toHaveLength(1);
});

test("what ends with its CA is not renewed by it: the CA is what has to be replaced", async () => {
  const world = await World.of(100_000);
  expect(world.watch.untilMs).toBe(world.watch.caUntilMs);
  world.nowMs += 3624 * DAY_MS;
  await world.runDays(1);
  expect(world.asked).toBe(0);
  expect(world.watch.alerts()).toEqual([
    expect.stringMatching(/^the cluster's CA ends on 2035-12-30, in 25 days: .* replace it/),
  ]);
});
