/**
 * The package as an outsider gets it: built, found by its name, imported by plain node, checked against its types. Builds
 * into a folder of its own, so that it shows the sources of now and not an older build.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const TSC = fileURLToPath(new URL("../../../node_modules/typescript/bin/tsc", import.meta.url));

let outside = "";

function node(...args: string[]): string {
  return execFileSync(process.execPath, args, { cwd: outside, encoding: "utf8" });
}

beforeAll(() => {
  outside = mkdtempSync(join(tmpdir(), "raft-ts-outside-"));
  const installed = join(outside, "node_modules/raft-ts");
  mkdirSync(installed, { recursive: true });
  cpSync(join(PACKAGE, "package.json"), join(installed, "package.json"));
  writeFileSync(join(outside, "package.json"), '{ "type": "module" }');
  node(TSC, "-p", join(PACKAGE, "tsconfig.build.json"), "--outDir", join(installed, "dist"));
}, 120_000);

afterAll(() => rmSync(outside, { recursive: true, force: true }));

test("plain node finds everything that is promised under the package's name, and elects a leader with it", () => {
  writeFileSync(
    join(outside, "use.mjs"),
    `import * as raft from "raft-ts";
     const storage = new raft.MemoryStorage({ voters: [1], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false });
     const node = new raft.RawNode({ id: 1, electionTick: 10, heartbeatTick: 1, storage, applied: 0, random: () => 0,
       preVote: true, checkQuorum: true, maxSizePerMessage: 1024, maxInflightMessages: 8, maxUncommittedBytes: 0,
       disableProposalForwarding: false, stepDownOnRemoval: true, readOnly: "safe" });
     node.campaign();
     while (node.hasReady()) {
       const rd = node.ready();
       storage.append(rd.entries);
       if (rd.hardState) storage.setHardState(rd.hardState);
       node.advance();
     }
     console.log(JSON.stringify({ exports: Object.keys(raft).sort(), state: node.status().state, commit: node.status().commit }));`,
  );
  expect(JSON.parse(node("use.mjs"))).toEqual({
    exports: [
      "CompactedError",
      "ConfChangeError",
      "ConfigError",
      "InvariantError",
      "MalformedError",
      "MemoryStorage",
      "NONE",
      "None",
      "ProposalDroppedError",
      "RawNode",
      "SnapshotOutOfDateError",
      "StepLocalMessageError",
      "UnavailableError",
      "decodeConfChange",
      "encodeConfChange",
    ],
    state: "leader",
    commit: 1,
  });
});

test("the README's example fits the types that the package ships, under the strictest rules", () => {
  const readme = readFileSync(join(PACKAGE, "README.md"), "utf8");
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
  expect(example).toContain("node.advance()");
  writeFileSync(
    join(outside, "node.d.ts"),
    'declare module "node:crypto" { export function randomInt(n: number): number }',
  );
  writeFileSync(
    join(outside, "example.ts"),
    `import type { ConfState, Message, ReadState, Ready } from "raft-ts";
     declare const wal: { save(rd: Ready): Promise<void> };
     declare const machine: { load(data: Uint8Array): void; apply(data: Uint8Array): void };
     declare function send(messages: readonly Message[]): void;
     declare function serve(reads: readonly ReadState[]): void;
     let confState: ConfState;
     ${example}
     export { confState, work };`,
  );
  writeFileSync(
    join(outside, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: {
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        skipLibCheck: false,
        noEmit: true,
        target: "ES2023",
        module: "NodeNext",
        types: [],
      },
      files: ["node.d.ts", "example.ts"],
    }),
  );
  expect(node(TSC, "-p", ".")).toBe("");
});

test("the package has no dependencies of any kind", () => {
  const manifest = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8")) as Record<string, unknown>;
  for (const kind of ["dependencies", "peerDependencies", "optionalDependencies"])
    expect(manifest[kind]).toBeUndefined();
});
