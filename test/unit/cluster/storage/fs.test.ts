import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { diskFs, zeros } from "../../../../cluster/storage/fs.ts";
import { failed } from "../../../../cluster/storage/wal.ts";

const folder = mkdtempSync(join(tmpdir(), "synwall-fs-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a full disk is told with its code, and becomes SW_STORAGE_FAILED in one line", () => {
  const file = diskFs.open("/dev/full");
  let error: unknown;
  try {
    file.write(0, [new Uint8Array(10)]);
  } catch (thrown) {
    error = failed("/data/wal", thrown);
  } finally {
    file.close();
  }
  expect(error).toMatchObject({
    code: "SW_STORAGE_FAILED",
    message: expect.stringMatching(/^\/data\/wal: ENOSPC.*$/),
  });
});

test("a write of more chunks than one system call takes is whole", () => {
  const path = join(folder, "many");
  const file = diskFs.create(path);
  const chunks = Array.from({ length: 5_000 }, (_, i) => Uint8Array.of(i & 255, i >> 8));
  file.write(3, chunks);
  file.sync();
  file.close();
  const found = diskFs.read(path);
  expect(found).toHaveLength(3 + 10_000);
  expect([found[3 + 2 * 4_999], found[3 + 2 * 4_999 + 1]]).toEqual([4_999 & 255, 4_999 >> 8]);
});

test("a file that cannot be made ready leaves nothing behind and says so", async () => {
  const inTheWay = join(folder, "missing/spare.tmp");
  expect(await new Promise((resolve) => diskFs.prepare(inTheWay, 100, resolve))).toBe(false);
  const path = join(folder, "spare.tmp");
  expect(await new Promise((resolve) => diskFs.prepare(path, 100_000, resolve))).toBe(true);
  expect(diskFs.read(path)).toHaveLength(100_000);
  expect(readdirSync(folder).sort()).toEqual(["many", "spare.tmp"]);
});

test("zeros() has the wanted length in chunks of limited size", () => {
  for (const bytes of [0, 1, 65_536, 65_537, 200_000]) {
    const chunks = zeros(bytes);
    expect(chunks.reduce((sum, chunk) => sum + chunk.length, 0)).toBe(bytes);
    expect(Math.max(0, ...chunks.map((chunk) => chunk.length))).toBeLessThanOrEqual(65_536);
  }
});
