import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { crc32c } from "../../../../cluster/storage/crc32c.ts";
import { DurableStorage } from "../../../../cluster/storage/durable-storage.ts";
import { CrashError, MemoryFs } from "../../../../cluster/storage/memory-fs.ts";
import { encodeBatch, paddedBytes } from "../../../../cluster/storage/wal-record.ts";
import { seededRandom } from "../../../../src/base/env.ts";
import { FOUNDING, openOn, operationsOf, PICTURES, runUntilCrash } from "./crash-checker.ts";
import { CONF, entries, entry, LIFE, pictureOf, run, save, saveNow } from "./workload.ts";

function lastSegment(fs: MemoryFs): string {
  return `/data/wal/${fs.list("/data/wal").sort().at(-1)}`;
}

describe("a life", () => {
  test("after every step a restart finds what was stored, over segments and snapshots", () => {
    let fs = new MemoryFs();
    for (const [i, step] of LIFE.entries()) {
      const store = openOn(fs);
      expect(pictureOf(store)).toEqual(PICTURES[i]);
      run(store, step);
      expect(pictureOf(store)).toEqual(PICTURES[i + 1]);
      store.close();
      fs = fs.restart();
    }
    expect(pictureOf(openOn(fs))).toEqual(PICTURES[LIFE.length]);
  });

  test("old segments and snapshots are dropped", () => {
    const fs = new MemoryFs();
    const store = openOn(fs);
    for (const step of LIFE) run(store, step);
    expect(fs.list("/data/wal").filter((name) => name.endsWith(".wal")).length).toBeLessThanOrEqual(3);
    expect(fs.list("/data/snap")).toEqual([
      "0000000000000002-0000000000000014.snap",
      "0000000000000003-0000000000000050.snap",
    ]);
  });

  test("a change of the commit index alone writes nothing and goes with the next write", () => {
    const fs = new MemoryFs();
    const store = openOn(fs);
    saveNow(store, { entries: entries(1, 1, 5), mustSync: true, hardState: { term: 1, vote: 1, commit: 0 } });
    const before = fs.operations;
    saveNow(store, { entries: [], mustSync: false, hardState: { term: 1, vote: 1, commit: 5 } });
    expect(fs.operations).toBe(before);
    expect(store.initialState().hardState.commit).toBe(5);
    saveNow(store, { entries: [entry(1, 6)], mustSync: true });
    expect(openOn(fs.restart()).initialState().hardState).toEqual({ term: 1, vote: 1, commit: 5 });
  });

  test("one save is one write and one sync", () => {
    const fs = new MemoryFs();
    const store = openOn(fs, { segmentBytes: 65_536 });
    const seen: string[] = [];
    fs.onOperation = (_n, what) => seen.push(what);
    saveNow(store, {
      entries: entries(1, 1, 50),
      mustSync: true,
      hardState: { term: 1, vote: 1, commit: 0 },
    });
    expect(seen).toEqual(["write", "syncSoon"]);
    expect(store.syncLatency.count).toBe(1);
  });

  test("the membership of the snapshot wins over that of the founding", () => {
    const fs = new MemoryFs();
    const store = openOn(fs);
    saveNow(store, { entries: entries(1, 1, 3), mustSync: true, hardState: { term: 1, vote: 1, commit: 3 } });
    store.saveSnapshot(3, { ...CONF, voters: [1, 2], learners: [4] }, new Uint8Array(0), 0);
    const again = openOn(fs.restart());
    expect(again.initialState().confState).toMatchObject({ voters: [1, 2], learners: [4] });
  });

  test("a write larger than a segment gets a segment of its own", () => {
    const fs = new MemoryFs();
    const store = openOn(fs);
    saveNow(store, {
      entries: [entry(1, 1, 10_000)],
      mustSync: true,
      hardState: { term: 1, vote: 1, commit: 0 },
    });
    expect(pictureOf(openOn(fs.restart())).entries).toHaveLength(1);
  });
});

describe("a crash", () => {
  test("in the middle of recovering from a crash changes nothing", () => {
    const total = operationsOf();
    for (let at = 20; at <= total; at += 3) {
      const disk = new MemoryFs();
      const acknowledged = runUntilCrash(disk, at);
      let after = disk.crash(seededRandom(at));
      for (let again = 1; again <= 4; again++) {
        after.onOperation = (n) => {
          if (n === again) throw new CrashError("again");
        };
        try {
          openOn(after);
        } catch (error) {
          if (!(error instanceof CrashError)) throw error;
        }
        after = after.crash(seededRandom(at + again * 100));
      }
      expect([PICTURES[acknowledged], PICTURES[acknowledged + 1]]).toContainEqual(pictureOf(openOn(after)));
    }
  });
});

describe("damage", () => {
  function lived(): MemoryFs {
    const fs = new MemoryFs();
    const store = openOn(fs, { segmentBytes: 65_536 });
    for (const step of LIFE.slice(0, 6)) run(store, step);
    return fs.restart();
  }

  test("of any byte before the last write is refused with SW_STORAGE_CORRUPT or changes nothing that is read", () => {
    const base = lived();
    const bytes = base.read(lastSegment(base));
    const endAt = bytes.findLastIndex((byte) => byte !== 0) + 1;
    let refused = 0;
    for (let at = 0; at < endAt - 200; at += 3) {
      const fs = lived();
      fs.damage(lastSegment(fs), (content) => {
        content[at] = content[at]! ^ 0x41;
      });
      try {
        // Padding between records is not covered, and means nothing.
        expect(pictureOf(openOn(fs))).toEqual(PICTURES[6]);
      } catch (error) {
        expect(error).toMatchObject({ code: "SW_STORAGE_CORRUPT" });
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
  });

  test("of a whole sector in the middle is refused, not taken for the end of the log", () => {
    const fs = lived();
    fs.damage(lastSegment(fs), (content) => content.fill(0, 512, 1024));
    expect(() => openOn(fs)).toThrow(/damaged/);
  });

  test("of the last write drops that write alone: it cannot be told from a torn one", () => {
    const fs = lived();
    fs.damage(lastSegment(fs), (content) => {
      const last = content.findLastIndex((byte) => byte !== 0);
      content[last] = content[last]! ^ 1;
    });
    expect(pictureOf(openOn(fs))).toEqual(PICTURES[5]);
  });

  test("is not what a newer version wrote: that is refused by name, and left as it is", () => {
    for (const change of [
      (content: Uint8Array, at: number) => {
        content[at + 12] = 9; // a type of record that is not known here
      },
      (content: Uint8Array, at: number) => {
        content.set(new TextEncoder().encode('{"version":9'), at + 16);
      },
    ]) {
      const fs = lived();
      const isMeta = change.toString().includes("version");
      fs.damage(lastSegment(fs), (content) => {
        const at = isMeta ? 0 : lastRecordAt(content);
        change(content, at);
        sealRecord(content, at, isMeta ? 0 : crcBefore(content, at));
      });
      const before = fs.operations;
      expect(() => openOn(fs)).toThrow(
        expect.objectContaining({
          code: "SW_STORAGE_CORRUPT",
          message: expect.stringMatching(/written by a newer version/),
        }),
      );
      expect(fs.operations).toBe(before);
    }
  });

  test("of a snapshot is refused, as is its absence", () => {
    const fs = new MemoryFs();
    const store = openOn(fs);
    for (const step of LIFE) run(store, step);
    const path = "/data/snap/0000000000000003-0000000000000050.snap";
    const damaged = fs.restart();
    damaged.damage(path, (content) => {
      content[content.length - 1] = 0;
    });
    expect(() => openOn(damaged.restart())).toThrow(/damaged/);
    const missing = damaged.restart();
    missing.remove(path);
    expect(() => openOn(missing)).toThrow(/missing/);
  });

  test("a missing segment is refused", () => {
    const fs = new MemoryFs();
    const store = openOn(fs);
    for (const step of LIFE.slice(0, 9)) run(store, step);
    const after = fs.restart();
    const segments = after
      .list("/data/wal")
      .filter((name) => name.endsWith(".wal"))
      .sort();
    expect(segments.length).toBeGreaterThan(2);
    after.remove(`/data/wal/${segments[1]}`);
    expect(() => openOn(after)).toThrow(expect.objectContaining({ code: "SW_STORAGE_CORRUPT" }));
  });

  test("a log that is gone while snapshots are there is refused: its votes are forgotten", () => {
    const fs = new MemoryFs();
    const store = openOn(fs);
    for (const step of LIFE) run(store, step);
    const after = fs.restart();
    for (const name of after.list("/data/wal")) after.remove(`/data/wal/${name}`);
    expect(() => openOn(after)).toThrow(/the log is gone/);
  });

  test("a spare segment is not a log: beside snapshots it is refused, and stays for whoever looks", () => {
    const fs = new MemoryFs();
    const store = openOn(fs);
    for (const step of LIFE) run(store, step);
    const after = fs.restart();
    for (const name of after.list("/data/wal")) after.remove(`/data/wal/${name}`);
    after.create("/data/wal/spare.tmp").write(0, [new Uint8Array(512)]);
    expect(() => openOn(after)).toThrow(/the log is gone/);
    expect(after.list("/data/wal")).toEqual(["spare.tmp"]);
  });

  test("the folder of another node or cluster is refused by name", () => {
    const fs = lived();
    expect(() => openOn(fs, { nodeId: 2 })).toThrow(/belongs to node 1 of cluster "edge", not to node 2/);
    expect(() => openOn(lived(), { clusterName: "core" })).toThrow(/control\.dataDir/);
  });
});

describe("the founding", () => {
  function lived(): MemoryFs {
    const fs = new MemoryFs();
    const store = openOn(fs);
    for (const step of LIFE) run(store, step);
    return fs.restart();
  }

  test("other voters in the configuration are refused with one line, and nothing is changed", () => {
    const fs = lived();
    const before = fs.operations;
    expect(() => openOn(fs, { voters: [5, 4, 3, 2, 1] })).toThrow(
      expect.objectContaining({
        code: "SW_CLUSTER_DIFFERS",
        message:
          "cluster.members: /data/wal was begun with members 1, 2, 3, the configuration has 1, 2, 3, 4, 5: list 1, 2, 3 again, whoever joined or left since; the log tells who belongs today",
      }),
    );
    expect(fs.operations).toBe(before);
    expect(pictureOf(openOn(fs, { voters: [3, 2, 1] }))).toEqual(PICTURES[LIFE.length]);
  });

  test("a log that holds nothing yet has its founding already", () => {
    const fs = new MemoryFs();
    openOn(fs).close();
    expect(() => openOn(fs.restart(), { voters: [1, 2] })).toThrow(/members 1, 2, 3/);
  });

  test("slots and name are those of the first start, over segments and restarts", () => {
    const fs = new MemoryFs();
    const store = openOn(fs);
    const { log } = store.founding;
    expect(log).toMatch(/^[0-9a-f]{16}$/);
    for (const step of LIFE) run(store, step);
    expect(openOn(fs.restart(), { slots: 128 }).founding).toEqual({ ...FOUNDING, log });
    expect(openOn(new MemoryFs()).founding.log).not.toBe(log);
  });

  test("a log of version 1 opens, and from then on has the founding that it was opened with", () => {
    const fs = logOfVersion1();
    const store = openOn(fs);
    expect(store.lastIndex()).toBe(3);
    store.close();
    const after = fs.restart();
    expect(() => openOn(after, { voters: [1, 2] })).toThrow(/begun with members 1, 2, 3/);
    const again = openOn(after, { slots: 128 });
    expect(again.founding).toEqual({ ...FOUNDING, log: "" });
    expect(again.entries(1, 4, 1000)).toHaveLength(3);
  });

  test("a log of version 1 whose snapshot has other voters is refused", () => {
    const fs = logOfVersion1();
    const store = openOn(fs);
    store.saveSnapshot(3, { ...CONF, voters: [1, 2] }, new Uint8Array(0), 0);
    store.close();
    // Back to version 1: the segments with a founding go.
    const after = fs.restart();
    const old = logOfVersion1({ snapshot: { index: 3, term: 1 } });
    for (const name of after.list("/data/wal")) after.remove(`/data/wal/${name}`);
    const file = after.create(`/data/wal/${old.list("/data/wal")[0]}`);
    file.write(0, [old.read(lastSegment(old))]);
    expect(() => openOn(after)).toThrow(/begun with members 1, 2, the configuration has 1, 2, 3/);
  });

  /** As builds before the founding wrote it: one segment with three entries. */
  function logOfVersion1(head: { snapshot?: { index: number; term: number } } = {}): MemoryFs {
    const fs = new MemoryFs();
    const meta = { cluster: "edge", node: 1, sequence: 1, previousCrc: 0 };
    const first = encodeBatch(
      [
        { type: "meta", meta },
        { type: "hardState", hardState: { term: 1, vote: 1, commit: 3 } },
        ...(head.snapshot === undefined
          ? []
          : [{ type: "snapshot", ...head.snapshot, isInstalled: false } as const]),
      ],
      0,
      0,
    );
    const rest = encodeBatch(
      entries(1, 1, 3).map((each) => ({ type: "entry", entry: each }) as const),
      1,
      first.crc,
    );
    fs.makeFolder("/data/wal");
    const file = fs.create("/data/wal/00000001-0000000000000001.wal");
    file.write(0, [...first.chunks, ...rest.chunks, new Uint8Array(1024)]);
    file.sync();
    fs.syncFolder("/data/wal");
    return fs;
  }
});

describe("on a real disk", () => {
  test("a life is found again, segments are preallocated, and a second process is kept out", () => {
    const directory = mkdtempSync(join(tmpdir(), "synwall-wal-"));
    try {
      const options = { directory, clusterName: "edge", nodeId: 1, ...FOUNDING, segmentBytes: 4096 };
      const store = DurableStorage.open(options);
      for (const step of LIFE) run(store, step, save);
      expect(() => DurableStorage.open(options)).toThrow(/uses it already/);
      store.close();
      const again = DurableStorage.open(options);
      expect(pictureOf(again)).toEqual(PICTURES[LIFE.length]);
      again.close();
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  test("a folder that cannot be written is SW_STORAGE_FAILED with its path", () => {
    const options = {
      directory: `${import.meta.filename}/data`,
      clusterName: "edge",
      nodeId: 1,
      ...FOUNDING,
    };
    expect(() => DurableStorage.open(options)).toThrow(
      expect.objectContaining({ code: "SW_STORAGE_FAILED" }),
    );
  });
});

/** Where each record of a segment begins. */
function recordPlaces(content: Uint8Array): number[] {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const places: number[] = [];
  for (let at = 0; view.getUint32(at + 4, true) !== 0; at += paddedBytes(view.getUint32(at, true)))
    places.push(at);
  return places;
}

function lastRecordAt(content: Uint8Array): number {
  return recordPlaces(content).at(-1)!;
}

function crcBefore(content: Uint8Array, at: number): number {
  const previous = recordPlaces(content)
    .filter((place) => place < at)
    .at(-1)!;
  return new DataView(content.buffer, content.byteOffset).getUint32(previous + 4, true);
}

/** Makes the checksums of an altered record right again. */
function sealRecord(content: Uint8Array, at: number, previousCrc: number): void {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const length = view.getUint32(at, true);
  const head = crc32c(content.subarray(at + 8, at + 14), crc32c(content.subarray(at, at + 4), previousCrc));
  view.setUint32(at + 4, crc32c(content.subarray(at + 16, at + 16 + length), head), true);
  view.setUint16(at + 14, crc32c(content.subarray(at, at + 14)) & 0xffff, true);
}
