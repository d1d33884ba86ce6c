/**
 * Golden policies: what an operator writes (policy/*.yaml) and what becomes of it (policy/*.out): the model that the engine runs on,
 * or the mistakes. Read the diff of an .out file before `npx vitest run test/golden/policy.test.ts -u` takes it over.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { loadNodeConfig } from "../../config/load.ts";
import { SynwallError } from "../../src/base/errors.ts";
import { Site } from "../unit/config/site.ts";
import { describePolicy } from "./describe-policy.ts";

const FOLDER = fileURLToPath(new URL("./policy/", import.meta.url));
const site = new Site(["fw1"]);
afterAll(() => site.remove());

const HEAD = `cluster:
  name: edge
  node: fw1
  secretFile: ${site.path("cluster.secret")}
  members: [{ id: 1, name: fw1, role: node, address: 192.0.2.1 }]
  tls: { ca: ${site.path("ca.crt")}, cert: ${site.path("fw1.crt")}, key: ${site.path("fw1.key")} }
`;

test.each(readdirSync(FOLDER).filter((name) => name.endsWith(".yaml")))("%s", async (name) => {
  const text = readFileSync(join(FOLDER, name), "utf8");
  await expect(transcript(text)).toMatchFileSnapshot(join(FOLDER, name.replace(/yaml$/, "out")));
});

/** The compiled policy in words, or one line for each mistake, with lines counted in the .yaml itself. */
function transcript(text: string): string {
  const headLines = HEAD.split("\n").length - 1;
  const withLine = (line: string): string =>
    line.replaceAll(`${path}:`, "").replace(/^\d+/, (n) => `line ${Number(n) - headLines}`);
  const path = site.write("golden.yaml", HEAD + text, 0o644);
  try {
    const { dataplane, notes = [] } = loadNodeConfig(path, "node");
    return `${describePolicy(dataplane!.policy)}${notes.map((note) => `note ${withLine(note)}\n`).join("")}`;
  } catch (error) {
    if (!(error instanceof SynwallError)) throw error;
    return `${error.code}\n${error.message.split("\n").map(withLine).join("\n")}\n`;
  }
}
