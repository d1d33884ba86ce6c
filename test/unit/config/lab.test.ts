import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { writeFiles } from "../../../chaos/lab/files.ts";
import type { LabPaths } from "../../../chaos/lab/state.ts";
import { type LabOptions, planTopology } from "../../../chaos/lab/topology.ts";
import { loadNodeConfig } from "../../../config/load.ts";

const directory = mkdtempSync(join(tmpdir(), "synwall-config-lab-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const named = (suffix: string) => (name: string) => join(directory, `${name}${suffix}`);
const paths: LabPaths = {
  directory,
  state: join(directory, "lab.json"),
  secret: join(directory, "cluster.secret"),
  ca: join(directory, "ca.crt"),
  caKey: join(directory, "ca.key"),
  dataDirectory: directory,
  config: named(".yaml"),
  certificate: named(".crt"),
  key: named(".key"),
  ownCa: named(".ca.crt"),
  ownCaKey: named(".ca.key"),
  ownSecret: named(".secret"),
  socket: named(".sock"),
  data: named(".data"),
  clock: named(".clock"),
  log: named(".log"),
};

const LARGEST: LabOptions = { name: "lab", nodes: 8, hasWitness: true, port: "auto", profile: "lan" };
const SMALLEST: LabOptions = { name: "x1", nodes: 1, hasWitness: false, port: "cap", profile: "vm" };

describe.each([LARGEST, SMALLEST])("a lab of $nodes nodes", (options) => {
  test("writes files that the members' own checks accept", async () => {
    const topology = planTopology(options);
    await writeFiles(options, topology, paths);
    for (const member of topology.members) {
      const { cluster, dataplane } = loadNodeConfig(paths.config(member.name), member.role);
      expect([cluster.self.name, cluster.name, cluster.profile]).toEqual([
        member.name,
        options.name,
        options.profile,
      ]);
      expect(dataplane === undefined).toBe(member.role === "witness");
    }
  });
});
