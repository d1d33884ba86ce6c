/**
 * Opening the store: where a member's log is, by its configuration: a write-ahead log on its own disk, or the site's etcd. Owns what
 * has to be there before anything else starts, since keys depend on it; not opened is the one that is not configured.
 */
import { randomBytes } from "node:crypto";
import { beginLog, heldLog, knownLog } from "../../cluster/control/kv-founding.ts";
import { KvKeys } from "../../cluster/control/kv-keys.ts";
import type { SharedLog } from "../../cluster/control/kv-replica.ts";
import type { StoreClaim } from "../../cluster/registration/store-claim.ts";
import { DurableStorage } from "../../cluster/storage/durable-storage.ts";
import { FileNote } from "../../cluster/storage/store-note.ts";
import { EtcdKv, type KvCounters } from "../../cluster/transport/etcd-kv.ts";
import type { EtcdConfig, NodeConfig } from "../../config/node-config.ts";
import { readStoreFiles } from "../../config/store.ts";
import { LatencyHistogram } from "../base/histogram.ts";
import type { ControlStorage } from "./open-driver.ts";

export interface OpenedStore {
  readonly storage: ControlStorage;
  /** Of the log on the disk; nothing where it is not there. */
  readonly syncLatency: LatencyHistogram;
  /** Stands still while a write waits for the disk: of the log, or of what is noted of one in a store. */
  readonly diskBeats: () => number;
  /** Of the site's store. */
  readonly counters?: KvCounters;
  close(): void;
}

const LOG_ID_BYTES = 8;

/** Throws what the disk or the store has to say; a member that knows its log starts while the store is away. */
export async function openStore({ cluster, control }: NodeConfig): Promise<OpenedStore> {
  const { etcd, dataDir } = control;
  if (etcd === undefined) {
    const storage = DurableStorage.open({
      directory: dataDir,
      clusterName: cluster.name,
      nodeId: cluster.self.id,
      voters: cluster.founders,
      slots: cluster.slots,
    });
    const { syncLatency } = storage;
    return { storage, syncLatency, diskBeats: () => storage.beats(), close: () => storage.close() };
  }
  const kv = connect(etcd);
  const keys = new KvKeys(etcd.prefix, cluster.name);
  const note = new FileNote(dataDir);
  try {
    const { id, slots } = await knownLog({ kv, keys }, note);
    const storage: SharedLog = { kv, keys, note, id, slots };
    return {
      storage,
      syncLatency: new LatencyHistogram(),
      diskBeats: () => note.beats(),
      counters: kv.counters,
      close: () => kv.close(),
    };
  } catch (error) {
    kv.close();
    throw error;
  }
}

/** Begins the log of a cluster in its etcd, once; answers where. Throws SW_CONTROL_REFUSED when it was begun before. */
export async function initStore(etcd: EtcdConfig, clusterName: string, slots: number): Promise<string> {
  const kv = connect(etcd);
  try {
    const keys = new KvKeys(etcd.prefix, clusterName);
    await beginLog({ kv, keys }, { id: randomBytes(LOG_ID_BYTES).toString("hex"), slots });
    return `${kv.place} ${keys.root}`;
  } finally {
    kv.close();
  }
}

/** What a machine that is no member yet finds in its etcd. Throws SW_STORE_UNREACHABLE. */
export async function findStore(etcd: EtcdConfig, clusterName: string): Promise<StoreClaim> {
  const kv = connect(etcd);
  try {
    const identity = await heldLog({ kv, keys: new KvKeys(etcd.prefix, clusterName) });
    return { prefix: etcd.prefix, log: identity?.id ?? "" };
  } finally {
    kv.close();
  }
}

function connect(etcd: EtcdConfig): EtcdKv {
  return new EtcdKv({
    endpoints: etcd.endpoints,
    timeoutMs: etcd.timeoutMs,
    ...readStoreFiles(etcd),
  });
}
