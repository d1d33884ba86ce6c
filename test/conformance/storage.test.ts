import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { DurableStorage, type DurableStorageOptions } from "../../cluster/storage/durable-storage.ts";
import { MemoryLogStore } from "../../cluster/storage/memory.ts";
import { MemoryFs } from "../../cluster/storage/memory-fs.ts";
import { CONF } from "../unit/cluster/storage/workload.ts";
import { storageConformance } from "./storage-suite.ts";

const IDENTITY = { clusterName: "edge", nodeId: 1, voters: CONF.voters, slots: 64, segmentBytes: 4096 };

storageConformance("memory log store", { open: () => new MemoryLogStore(CONF), reopen: undefined });

let disk = new MemoryFs();
storageConformance("durable storage on a disk in memory", {
  open() {
    disk = new MemoryFs();
    return DurableStorage.open({ ...IDENTITY, directory: "/data", fs: disk });
  },
  reopen(store) {
    store.close();
    disk = disk.restart();
    return DurableStorage.open({ ...IDENTITY, directory: "/data", fs: disk });
  },
});

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
let options: DurableStorageOptions;
storageConformance("durable storage on a real disk", {
  open() {
    const directory = mkdtempSync(join(tmpdir(), "synwall-log-"));
    folders.push(directory);
    options = { ...IDENTITY, directory };
    return DurableStorage.open(options);
  },
  reopen(store) {
    store.close();
    return DurableStorage.open(options);
  },
});
