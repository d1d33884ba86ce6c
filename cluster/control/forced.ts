/**
 * Forced: what the state of a cluster becomes when one node of a pair goes on alone, and the log that begins with it. Pure.
 * Owns the step; whether it may be taken is takeover/pair.ts's, which log wins later generation.ts's.
 *
 * All that the node holds counts, committed or not: an entry that both had may have been committed by the other one. (So a
 * leader elected by Raft would treat it.) Behind it stands the forced step as a snapshot, the first thing in the new log:
 *
 *   epoch E, voters {A, B}    A lost    epoch E+1: A is down, its slots are B's; epoch E+2, forced: voter {B}, A learns
 */
import type { ConfState, Entry, Snapshot } from "raft-ts";
import { downCommand } from "./commands.ts";
import { FORCED_EPOCH_MAX, floorTerm, type Generation } from "./generation.ts";
import {
  applyCommand,
  applyEntry,
  emptyMachine,
  encodeMachine,
  type MachineState,
  restoreMachine,
} from "./machine.ts";
import { membersOf } from "./quorum.ts";

/** What is read of a stored log. */
export interface StoredLog {
  snapshot(): Snapshot;
  lastIndex(): number;
  entries(lo: number, hi: number, maxBytes: number): readonly Entry[];
}

export interface Forced {
  readonly generation: Generation;
  readonly snapshot: Snapshot;
}

/** The state after every entry of the log. */
export function wholeState(log: StoredLog, slots: number): MachineState {
  const snapshot = log.snapshot();
  let state = snapshot.index === 0 ? emptyMachine(slots) : restoreMachine(snapshot.data);
  if (log.lastIndex() === snapshot.index) return state;
  for (const entry of log.entries(snapshot.index + 1, log.lastIndex() + 1, Number.MAX_SAFE_INTEGER)) {
    if (entry.type === "normal" && entry.data.length > 0) ({ state } = applyEntry(state, entry.data));
  }
  return state;
}

/** The log that `self` begins when it goes on without `peer`; undefined when epochs have run out. */
export function forcedLog(log: StoredLog, { self, peer, slots, founders }: ForcedBy): Forced | undefined {
  const { cluster: before, recent } = wholeState(log, slots);
  const down = downCommand(before, peer, new Set([self]));
  const { members, table, ...rest } = down === undefined ? before : applyCommand(before, down).cluster;
  const epoch = table.epoch + 1;
  if (epoch > FORCED_EPOCH_MAX) return undefined;
  const generation = { epoch, by: self };
  const cluster = {
    ...rest,
    members,
    table: { ...table, epoch, cause: "forced" as const },
    quorum: { epoch, voters: [self], outgoing: [], known: [self] },
    forced: generation,
    revision: rest.revision + 1,
  };
  const snapshot = {
    index: log.lastIndex() + 1,
    // One above what marks messages without a term.
    term: floorTerm(generation) + 1,
    confState: aloneWith(self, membersOf(cluster, founders)),
    data: encodeMachine({ cluster, recent }),
  };
  return { generation, snapshot };
}

export interface ForcedBy {
  readonly self: number;
  readonly peer: number;
  readonly slots: number;
  readonly founders: readonly number[];
}

function aloneWith(self: number, members: readonly number[]): ConfState {
  return {
    voters: [self],
    votersOutgoing: [],
    learners: members.filter((id) => id !== self),
    learnersNext: [],
    autoLeave: false,
  };
}
