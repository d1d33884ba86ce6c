import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lockFolder } from "../../../../cluster/storage/folder-lock.ts";
import { startTicksOf } from "../../../../cluster/storage/process-life.ts";

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

/** Another process that put its name down, as one does that starts at the same moment. */
async function rival(): Promise<ChildProcess> {
  const other = spawn("sleep", ["60"]);
  others.push(other);
  await once(other, "spawn");
  writeFileSync(join(folder, `lock-${other.pid!}-${startTicksOf(other.pid!)!}`), "");
  return other;
}

test("one at a time, in one process too; a lock that was let go leaves nothing", () => {
  const letGo = lockFolder(folder);
  expect(() => lockFolder(folder)).toThrow(`Cannot use ${folder}: process ${process.pid} uses it already`);
  letGo();
  expect(readdirSync(folder)).toEqual([]);
  lockFolder(folder)();
});

test("whoever sees the name of a process that runs goes back, and leaves the other's name", async () => {
  const other = await rival();
  expect(() => lockFolder(folder)).toThrow(
    expect.objectContaining({
      code: "SW_STORAGE_FAILED",
      message: `Cannot use ${folder}: process ${other.pid!} uses it already`,
    }),
  );
  expect(readdirSync(folder)).toEqual([`lock-${other.pid!}-${startTicksOf(other.pid!)!}`]);
});

test("names of processes that are gone keep nobody out, and are taken away", async () => {
  const gone = await Promise.all([rival(), rival()]);
  for (const other of gone) other.kill("SIGKILL");
  await Promise.all(
    gone.map((other) => (other.exitCode ?? other.signalCode) === null && once(other, "exit")),
  );
  // The same number, another process.
  writeFileSync(join(folder, `lock-${process.pid}-1`), "");
  const letGo = lockFolder(folder);
  expect(readdirSync(folder)).toEqual([`lock-${process.pid}-${startTicksOf(process.pid)!}`]);
  letGo();
});

test("of processes that start at one moment never two have it", async () => {
  writeFileSync(join(folder, "lock-1073741824-1"), "");
  const module = join(import.meta.dirname, "../../../../cluster/storage/folder-lock.ts");
  // Each says whether it has the folder, and keeps it until its input ends: all of them have tried by then.
  const program = `
    import { lockFolder } from ${JSON.stringify(module)};
    process.stdin.once("data", () => {
      try { lockFolder(process.argv[1]); console.log("mine"); } catch (error) { console.log(error.message); }
    });
    console.log("ready");
  `;
  const tsx = ["--import", "tsx", "--input-type=module", "-e", program, folder];
  const rivals = [1, 2, 3].map(() => spawn(process.execPath, tsx, { stdio: ["pipe", "pipe", "inherit"] }));
  others.push(...rivals);
  const line = async (each: ChildProcess): Promise<string> =>
    String((await once(each.stdout!, "data"))[0]).trim();
  expect(await Promise.all(rivals.map(line))).toEqual(["ready", "ready", "ready"]);
  const answers = rivals.map(line);
  for (const each of rivals) each.stdin.write("go\n");
  const said = await Promise.all(answers);
  expect(said.filter((each) => each === "mine").length).toBeLessThanOrEqual(1);
  for (const each of said) expect(each).toMatch(/^mine$|uses it already$/);
});
