/**
 * What is acknowledged survives a stop of the machine or the process at any moment, and a disk that fails; and the checker that
 * says so is worth something: each planted bug here is caught.
 */
import { afterEach, describe, expect, test, vi } from "vitest";
import type { StorageFile } from "../../../../cluster/storage/fs.ts";
import { type CrashModel, MemoryFs } from "../../../../cluster/storage/memory-fs.ts";
import { SnapshotStore } from "../../../../cluster/storage/snapshot-store.ts";
import { Wal } from "../../../../cluster/storage/wal.ts";
import type { Header } from "../../../../cluster/storage/wal-record.ts";
import {
  firstLoss,
  firstLossByFailure,
  openOn,
  operationsOf,
  PICTURES,
  SEGMENT_BYTES,
} from "./crash-checker.ts";
import { LIFE, pictureOf, run } from "./workload.ts";

/** Bugs of the reader that a test may switch on. */
const bugs = vi.hoisted(() => ({ isMiddleTrusted: false, isHalfTrusted: false, isCrcIgnored: false }));

vi.mock("../../../../cluster/storage/wal-record.ts", async (original) => {
  const real = await original<typeof import("../../../../cluster/storage/wal-record.ts")>();
  return {
    ...real,
    hasLaterBatch: (...args: Parameters<typeof real.hasLaterBatch>) =>
      !bugs.isMiddleTrusted && real.hasLaterBatch(...args),
    readHeader: (...args: Parameters<typeof real.readHeader>): Header | undefined => {
      const header = real.readHeader(...args);
      return header !== undefined && bugs.isHalfTrusted ? { ...header, isLast: true } : header;
    },
    isWhole: (...args: Parameters<typeof real.isWhole>) => bugs.isCrcIgnored || real.isWhole(...args),
  };
});

afterEach(() => {
  vi.restoreAllMocks();
  Object.assign(bugs, { isMiddleTrusted: false, isHalfTrusted: false, isCrcIgnored: false });
});

/** A disk some of whose calls are not what they seem. */
class TrickedFs extends MemoryFs {
  readonly #trick: (path: string, file: StorageFile) => StorageFile;
  readonly #isFolderSynced: (path: string) => boolean;

  constructor(
    trick: (path: string, file: StorageFile) => StorageFile,
    isFolderSynced: (path: string) => boolean = () => true,
  ) {
    super();
    this.#trick = trick;
    this.#isFolderSynced = isFolderSynced;
  }

  override create(path: string): StorageFile {
    return this.#trick(path, super.create(path));
  }

  override open(path: string): StorageFile {
    return this.#trick(path, super.open(path));
  }

  override syncFolder(path: string): void {
    if (this.#isFolderSynced(path)) super.syncFolder(path);
  }
}

describe("a crash or a failure at every single operation", () => {
  test("loses nothing that was acknowledged, with torn and reordered writes", () => {
    expect(firstLoss()).toBeUndefined();
    expect(operationsOf()).toBeGreaterThan(60);
  });

  test("of a full or failing disk is SW_STORAGE_FAILED from then on, in one line, and loses nothing", () => {
    expect(firstLossByFailure()).toBeUndefined();
  });
});

describe("a planted bug is caught:", () => {
  test("a write to the log that is acknowledged before it is synced", () => {
    const makeFs = () =>
      new TrickedFs((path, file) => {
        let syncs = 0;
        // Segments must be born whole; it is the writes after that which get lost.
        const sync = (): void => (syncs++ === 0 ? file.sync() : undefined);
        return path.includes("/wal/") ? { ...file, sync, syncSoon: (done) => done() } : file;
      });
    expect(firstLoss(makeFs)).toMatch(/found|refused/);
  });

  test("a segment whose head is not synced before it gets its name", () => {
    const makeFs = () =>
      new TrickedFs((path, file) => {
        let syncs = 0;
        return path.includes("/wal/")
          ? { ...file, sync: () => (syncs++ === 0 ? undefined : file.sync()) }
          : file;
      });
    expect(firstLoss(makeFs)).toMatch(/refused: SW_STORAGE_CORRUPT/);
  });

  test("a snapshot that is not synced before its marker", () => {
    const makeFs = () =>
      new TrickedFs((path, file) => (path.includes("/snap/") ? { ...file, sync: () => {} } : file));
    expect(firstLoss(makeFs)).toMatch(/snapshot is damaged/);
  });

  test("a folder of segments that is not synced", () => {
    const makeFs = () =>
      new TrickedFs(
        (_path, file) => file,
        (path) => !path.endsWith("/wal"),
      );
    expect(firstLoss(makeFs)).toMatch(/found|refused/);
  });

  test("a folder of snapshots that is not synced", () => {
    const makeFs = () =>
      new TrickedFs(
        (_path, file) => file,
        (path) => !path.endsWith("/snap"),
      );
    expect(firstLoss(makeFs)).toMatch(/snapshot is missing/);
  });

  test("a marker that is written before its snapshot", () => {
    const save = SnapshotStore.prototype.save;
    let late: (() => void) | undefined;
    vi.spyOn(SnapshotStore.prototype, "save").mockImplementation(function (this: SnapshotStore, snapshot) {
      late = () => save.call(this, snapshot);
    });
    const append = Wal.prototype.append;
    vi.spyOn(Wal.prototype, "append").mockImplementation(function (this: Wal, ...args) {
      const pending = late;
      late = undefined;
      append.apply(this, args);
      pending?.();
    });
    expect(firstLoss()).toMatch(/snapshot is missing/);
  });

  test("old segments that are dropped before the marker that replaces them", () => {
    const append = Wal.prototype.append;
    vi.spyOn(Wal.prototype, "append").mockImplementation(function (this: Wal, records, head) {
      for (const record of records) if (record.type === "snapshot") this.dropUpTo(record.index);
      append.call(this, records, head);
    });
    expect(firstLoss()).toMatch(/refused|found/);
  });

  test("a torn write of which the whole records are kept", () => {
    bugs.isHalfTrusted = true;
    expect(firstLoss()).toMatch(/found|gone/);
  });

  test("a record that is taken although its checksum is wrong", () => {
    bugs.isCrcIgnored = true;
    expect(firstLoss()).toMatch(/found|refused/);
  });

  test("a sync that is tried again after it failed", () => {
    const makeFs = () =>
      new TrickedFs((_path, file) => ({
        ...file,
        sync: () => {
          try {
            file.sync();
          } catch (error) {
            if ((error as NodeJS.ErrnoException).code === undefined) throw error;
            file.sync();
          }
        },
      }));
    expect(firstLossByFailure(makeFs)).toMatch(/found|refused/);
  });
});

describe("damage in the middle of the log", () => {
  const damaged = (): MemoryFs => {
    const fs = new MemoryFs();
    const store = openOn(fs, { segmentBytes: 65_536 });
    for (const step of LIFE.slice(0, 6)) run(store, step);
    const after = fs.restart();
    const [name] = after.list("/data/wal").filter((each) => each.endsWith(".wal"));
    after.damage(`/data/wal/${name}`, (content) => {
      content[700] = content[700]! ^ 1;
    });
    return after;
  };

  test("is refused in one line that says what to do", () => {
    let message = "";
    try {
      openOn(damaged());
    } catch (error) {
      expect(error).toMatchObject({ code: "SW_STORAGE_CORRUPT" });
      ({ message } = error as Error);
    }
    expect(message).toMatch(
      /^\/data\/wal\/00000001-\d{16}\.wal: the record at byte \d+ is damaged.*docs\/errors\.md says of SW_STORAGE_CORRUPT$/,
    );
    expect(message).not.toContain("\n");
  });

  test("a reader that takes it for the end of the log would forget what was acknowledged (planted bug)", () => {
    bugs.isMiddleTrusted = true;
    const found = pictureOf(openOn(damaged()));
    expect(found).not.toEqual(PICTURES[6]);
    expect(found.entries.length).toBeLessThan(PICTURES[6]!.entries.length);
  });
});

test("the crash models differ: small tears leave parts of a sector behind", () => {
  const torn = (model: CrashModel): number => {
    const fs = new MemoryFs();
    const file = fs.create("/f");
    file.write(0, [new Uint8Array(SEGMENT_BYTES)]);
    file.sync();
    fs.syncFolder("");
    file.write(0, [new Uint8Array(SEGMENT_BYTES).fill(1)]);
    let bit = 0;
    const after = fs.crash((bound) => (bound === 2 ? bit++ % 2 : 0), model);
    return after
      .read("/f")
      .slice(0, 512)
      .filter((byte) => byte === 1).length;
  };
  expect(torn({ tearBytes: 512, isJournalPerFolder: false }) % 512).toBe(0);
  expect(torn({ tearBytes: 8, isJournalPerFolder: true })).toBe(256);
});
