/** The members file of a running member: a disk that is full is told, and ends nothing. */
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { membersFile, readMembers } from "../../../config/members-file.ts";
import type { NodeConfig } from "../../../config/node-config.ts";
import { KeptMembers } from "../../../src/node/kept-members.ts";

const folder = mkdtempSync(join(tmpdir(), "synwall-kept-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const member = (id: number) =>
  ({ id, name: `fw${id}`, role: "node", address: `192.0.2.${id}`, weight: 1 }) as const;

function config(areMembersListed = false): Pick<NodeConfig, "cluster" | "control"> {
  const cluster = { areMembersListed, founders: [1], self: member(1) };
  return { cluster, control: { dataDir: folder } } as unknown as NodeConfig;
}

test("a file that cannot be written is told once, and written when it can be", () => {
  const notes: string[] = [];
  const kept = new KeptMembers(config(), (text) => notes.push(text));
  // A folder in its place: no file can take it.
  mkdirSync(membersFile(folder));
  kept.keep([member(2)]);
  kept.keep([member(2), member(3)]);
  kept.tick();
  expect(notes).toEqual([expect.stringMatching(/members\.json.*: the file of before stays/)]);
  rmdirSync(membersFile(folder));
  kept.tick();
  expect(readMembers(folder)).toMatchObject({ members: [{ id: 1 }, { id: 2 }, { id: 3 }] });
  rmSync(membersFile(folder));
  kept.tick();
  expect(readdirSync(folder)).toEqual([]);
});

test("members that a configuration lists are not kept", () => {
  new KeptMembers(config(true), () => {}).keep([member(2)]);
  expect(readdirSync(folder)).toEqual([]);
});
