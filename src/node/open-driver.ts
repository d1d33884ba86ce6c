/**
 * Opening the control driver: the embedded Raft on this member's own disk, or the log in a store of the site. Owns the choice; both
 * take the same hooks.
 */
import type { ControlDriver } from "../../cluster/control/control-driver.ts";
import { Generations, type GenerationsOptions } from "../../cluster/control/generations.ts";
import { KvDriver } from "../../cluster/control/kv-driver.ts";
import type { SharedLog } from "../../cluster/control/kv-replica.ts";
import type { ClusterState, Command } from "../../cluster/control/model.ts";
import { tuningOf } from "../../cluster/control/tuning.ts";
import type { LivenessProfile } from "../../cluster/liveness/model.ts";
import type { LogStore } from "../../cluster/storage/log-store.ts";
import { promiseMs } from "../../cluster/takeover/timing.ts";

/** Where a member's log is: on its own disk, or in a store of the site. */
export type ControlStorage = LogStore | SharedLog;

export interface OpenDriverOptions extends Omit<GenerationsOptions, "storage" | "tuning" | "plan"> {
  readonly storage: ControlStorage;
  readonly profile: LivenessProfile;
  readonly plan: (state: ClusterState) => Command | undefined;
}

export function isShared(storage: ControlStorage): storage is SharedLog {
  return "kv" in storage;
}

/** Names the log in a store of the site; empty: the log is this member's own. */
export function logIdOf(storage: ControlStorage): string {
  return isShared(storage) ? storage.id : "";
}

/** Throws what the drivers throw. */
export function openDriver(options: OpenDriverOptions): ControlDriver {
  const { storage, profile } = options;
  if (!isShared(storage)) return new Generations({ ...options, storage, tuning: tuningOf(profile) });
  return new KvDriver({ ...options, log: storage, promiseMs: promiseMs(profile.leaseMs) });
}
