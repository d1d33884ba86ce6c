import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lockFolder } from "../../../../cluster/storage/folder-lock.ts";

let folder = "";
let others: ChildProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "synwall-lock-"));
});

afterEach(() => {
  for (const other of others) other.kill("SIGKILL");
  others = [];
  rmSync(folder, { recursive: true, force: true });
});

const MODULE = join(import.meta.dirname, "../../../../cluster/storage/folder-lock.ts");
/** Says whether it has the folder, when it is told to try, and keeps it until it is killed. */
const PROGRAM = `
  import { lockFolder } from ${JSON.stringify(MODULE)};
  process.stdin.once("data", () => {
    try { lockFolder(process.argv[1]); console.log("mine"); } catch (error) { console.log(error.message); }
  });
  console.log("ready");
`;

async function rival(prefix: readonly string[] = []): Promise<ChildProcess> {
  const node = [process.execPath, "--import", "tsx", "--input-type=module", "-e", PROGRAM, folder];
  const [file, ...args] = [...prefix, ...node];
  const other = spawn(file!, args, { stdio: ["pipe", "pipe", "inherit"] });
  others.push(other);
  expect(await line(other)).toBe("ready");
  return other;
}

async function line(of: ChildProcess): Promise<string> {
  return String((await once(of.stdout!, "data"))[0]).trim();
}

function go(other: ChildProcess): Promise<string> {
  const answer = line(other);
  other.stdin!.write("go\n");
  return answer;
}

async function gone(other: ChildProcess): Promise<void> {
  const isOver = once(other, "exit");
  other.kill("SIGKILL");
  await isOver;
}

test("one at a time, in one process too", () => {
  const letGo = lockFolder(folder);
  expect(() => lockFolder(folder)).toThrow(
    expect.objectContaining({
      code: "SW_STORAGE_FAILED",
      message: `Cannot use ${folder}: process ${process.pid} uses it already`,
    }),
  );
  letGo();
  lockFolder(folder)();
});

test("a process that runs is named; the lock of one that was killed is gone with it", async () => {
  const other = await rival();
  expect(await go(other)).toBe("mine");
  expect(() => lockFolder(folder)).toThrow(`Cannot use ${folder}: process ${other.pid!} uses it already`);
  await gone(other);
  lockFolder(folder)();
});

test("what a process of before left in the file keeps nobody out", () => {
  writeFileSync(join(folder, "lock"), `${process.pid} 1\n`);
  lockFolder(folder)();
});

test("a process that cannot be seen keeps the folder", async () => {
  // In a PID namespace of its own it has a number that means another process here, or none.
  const other = await rival(["unshare", "--pid", "--mount-proc", "--fork", "--kill-child"]);
  expect(await go(other)).toBe("mine");
  expect(() => lockFolder(folder, 200)).toThrow(`Cannot use ${folder}: process 1 uses it already`);
  await gone(other);
});

test("of processes that start at one moment exactly one has it", async () => {
  const rivals = await Promise.all([rival(), rival(), rival()]);
  const said = await Promise.all(rivals.map(go));
  expect(said.filter((each) => each === "mine")).toHaveLength(1);
  for (const each of said) expect(each).toMatch(/^mine$|uses it already$/);
});

test("without flock nothing is begun, and the line says what is missing", () => {
  const path = process.env["PATH"];
  process.env["PATH"] = folder;
  try {
    expect(() => lockFolder(folder)).toThrow(/flock.*util-linux/);
  } finally {
    process.env["PATH"] = path;
  }
});
