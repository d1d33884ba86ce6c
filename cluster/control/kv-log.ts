/**
 * Log in a store: how a member that stands at one position goes on with what it read. Pure. Owns the judgement whether that is the
 * same log at all; kv-driver.ts reads and applies.
 */
import {
  advance,
  ENTRIES_A_READ,
  type KvSnapshot,
  type LogEntry,
  type LogPosition,
  type StoreImage,
} from "./kv-keys.ts";

export type Continuation =
  /** Apply these. `isMore`: the log goes on behind them. */
  | { readonly type: "entries"; readonly entries: readonly LogEntry[]; readonly isMore: boolean }
  /** Entries that are needed are gone: take the state of the snapshot, then read again. */
  | { readonly type: "snapshot"; readonly snapshot: KvSnapshot }
  /** Entries that are needed are gone, and the snapshot was not read. */
  | { readonly type: "readSnapshot" }
  /** It is not the log that this member has applied. */
  | { readonly type: "differs"; readonly why: string };

export function continueLog(
  at: LogPosition,
  { head, snapshot, entries }: Pick<StoreImage, "head" | "snapshot" | "entries">,
): Continuation {
  if (head === undefined) return { type: "differs", why: "it has no log" };
  if (head.index < at.index) {
    return {
      type: "differs",
      why: `its log ends at entry ${head.index}, this member has applied entry ${at.index}`,
    };
  }
  let reached = at;
  const next: LogEntry[] = [];
  for (const entry of entries) {
    if (entry.index <= reached.index) continue;
    if (entry.index !== reached.index + 1) break;
    reached = advance(reached, entry.data);
    next.push(entry);
  }
  if (reached.index === head.index) {
    if (reached.chain === head.chain) return { type: "entries", entries: next, isMore: false };
    return {
      type: "differs",
      why: `its entries up to ${head.index} are not those that this member has applied`,
    };
  }
  if (next.length > 0 && entries.length >= ENTRIES_A_READ) {
    return { type: "entries", entries: next, isMore: true };
  }
  // Entries that are not there were dropped behind a snapshot.
  if (snapshot === undefined) return { type: "readSnapshot" };
  if (snapshot.snapshot.at.index > at.index) return { type: "snapshot", snapshot: snapshot.snapshot };
  return {
    type: "differs",
    why: `entry ${reached.index + 1} is missing, and the snapshot is of entry ${snapshot.snapshot.at.index}`,
  };
}
