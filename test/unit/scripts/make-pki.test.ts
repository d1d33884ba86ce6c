import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { judgeTls } from "../../../cluster/transport/tls.ts";

const SCRIPT = new URL("../../../scripts/make-pki.sh", import.meta.url).pathname;

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "synwall-pki-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function makePki(...members: string[]): { status: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync("bash", [SCRIPT, folder, ...members], { encoding: "utf8" });
  return { status, out: stdout, err: stderr };
}

describe("scripts/make-pki.sh", () => {
  test("makes files that the members accept, readable by their owner alone, and nothing else", () => {
    expect(makePki("fw1=192.0.2.1", "witness=192.0.2.3")).toMatchObject({ status: 0, err: "" });
    const visible = readdirSync(folder).filter((name) => !name.startsWith(".lock"));
    const pairs = ["ca", "fw1", "witness"].flatMap((name) => [`${name}.crt`, `${name}.key`]);
    expect(visible.sort()).toEqual([...pairs, "cluster.secret"].sort());
    for (const name of visible) expect(statSync(join(folder, name)).mode & 0o077, name).toBe(0);
    for (const name of ["fw1", "witness"]) {
      const files = { ca: "ca.crt", cert: `${name}.crt`, key: `${name}.key` };
      const paths = {
        ca: join(folder, files.ca),
        cert: join(folder, files.cert),
        key: join(folder, files.key),
      };
      expect(judgeTls(paths, name, Date.now()).mistakes).toEqual([]);
    }
    expect(readFileSync(join(folder, "cluster.secret"), "utf8")).toMatch(/^[0-9a-f]{64}\n$/);
  });

  test("keeps what is there and adds a member with the same CA", () => {
    makePki("fw1=192.0.2.1");
    const before = readFileSync(join(folder, "fw1.crt"), "utf8");
    expect(makePki("fw1=192.0.2.1", "fw2=192.0.2.2").out).toMatch(/^made fw2\.crt and fw2\.key.*\n$/);
    expect(readFileSync(join(folder, "fw1.crt"), "utf8")).toBe(before);
  });

  test("says in one line what openssl could not make and why, and leaves no half of it", () => {
    makePki("fw1=192.0.2.1");
    writeFileSync(join(folder, "ca.key"), "junk");
    const { status, out, err } = makePki("fw2=192.0.2.2");
    expect([status, out]).toEqual([2, ""]);
    expect(err).toMatch(/^make-pki: cannot make fw2\.crt in .*: openssl: .*ca\.key.*\n$/);
    expect(readdirSync(folder).filter((name) => name.startsWith("fw2") || name.startsWith(".half"))).toEqual(
      [],
    );
  });

  test.each([
    ["Fw1=192.0.2.1", /^make-pki: Fw1=192\.0\.2\.1: write NAME=ADDRESS, the name in small letters.*\n$/],
    ["fw1=edge", /^make-pki: fw1=edge: write NAME=ADDRESS, the address like 192\.0\.2\.1\n$/],
  ])("refuses %s before it makes anything", (member, line) => {
    const { status, err } = makePki(member);
    expect(status).toBe(2);
    expect(err).toMatch(line);
    expect(readdirSync(folder)).toEqual([]);
  });
});
