/**
 * Replica of a log in a store: the machine as of the entry that was applied last, and what is noted of it on the disk. Owns applying
 * in order and once, when that is noted, and when a snapshot is due; kv-driver.ts reads and writes the store.
 */
import { SynwallError } from "../../src/base/errors.ts";
import type { Kv } from "../storage/kv.ts";
import type { Noted, StoreNote } from "../storage/store-note.ts";
import type { Committed } from "./control-driver.ts";
import { requireFit } from "./fitness.ts";
import {
  advance,
  FORMAT_VERSION,
  type KvKeys,
  type KvSnapshot,
  LOG_START,
  type LogEntry,
  type LogPosition,
  type StoreImage,
} from "./kv-keys.ts";
import { applyEntry, emptyMachine, encodeMachine, type MachineState, restoreMachine } from "./machine.ts";
import type { ClusterState, CommandResult } from "./model.ts";

/** Entries, and bytes of them, after which a snapshot is made. */
const SNAPSHOT_ENTRIES = 256;
const SNAPSHOT_BYTES = 1_048_576;
/** Between two notes while entries are applied: what a member knows of the store may be so old after a crash. */
const NOTE_MS = 250;

/** A log in a store, and what this member knows of it: what a member with control.store: etcd has in place of a LogStore. */
export interface SharedLog {
  readonly kv: Kv;
  readonly keys: KvKeys;
  /** Name of the log that this member goes by; anything else in the store is refused. */
  readonly id: string;
  /** Slots that the log was begun with. */
  readonly slots: number;
  readonly note: StoreNote;
}

export interface KvReplicaOptions {
  readonly log: Pick<SharedLog, "id" | "slots" | "note">;
  readonly self: number;
  /** By the configuration. */
  readonly slots: number;
  /** `id`: of the command. */
  readonly onApplied: (state: ClusterState, committed: Committed, id: string | undefined) => void;
  /** A command whose entry is behind a snapshot. */
  readonly onKnown: (id: string, result: CommandResult) => void;
}

export class KvReplica {
  readonly #options: KvReplicaOptions;
  /** Of an earlier life, until it is overtaken. */
  #noted: Noted | undefined;
  #machine: MachineState;
  #at: LogPosition = LOG_START;
  #snapshotIndex = 0;
  #snapshotRevision = 0;
  #bytesSinceSnapshot = 0;
  /** Something was applied that is not noted. */
  #isNoteDue = false;
  #isNoting = false;
  #nextNoteMs = 0;
  /** Why the disk did not take a note; nothing is tried again then. */
  #failure: unknown;

  constructor(options: KvReplicaOptions) {
    this.#options = options;
    this.#noted = options.log.note.read();
    this.#machine = emptyMachine(options.log.slots);
  }

  /** Notes in the background what was applied, one note at a time. Throws SW_STORAGE_FAILED when the disk did not take the last one. */
  tick(nowMs: number): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (!this.#isNoteDue || this.#isNoting || nowMs < this.#nextNoteMs) return;
    this.#nextNoteMs = nowMs + NOTE_MS;
    this.#isNoteDue = false;
    this.#isNoting = true;
    this.#options.log.note.writeSoon(this.#toNote(), (error) => {
      this.#isNoting = false;
      this.#failure = error;
    });
  }

  /** At a stop in order: all that was applied is noted when this returns. Throws SW_STORAGE_FAILED. */
  stop(): void {
    const isNoted = !this.#isNoteDue && !this.#isNoting;
    if (isNoted || this.#failure !== undefined) return;
    this.#isNoteDue = false;
    this.#options.log.note.write(this.#toNote());
  }

  get at(): LogPosition {
    return this.#at;
  }

  get cluster(): ClusterState {
    return this.#machine.cluster;
  }

  /** Of the snapshot in the store; what replaces it must compare it. */
  get snapshotRevision(): number {
    return this.#snapshotRevision;
  }

  get isSnapshotWanted(): boolean {
    const entries = this.#at.index - this.#snapshotIndex;
    return entries >= SNAPSHOT_ENTRIES || (entries > 0 && this.#bytesSinceSnapshot >= SNAPSHOT_BYTES);
  }

  snapshot(): KvSnapshot {
    return { at: this.#at, data: encodeMachine(this.#machine) };
  }

  /** Why what was read is not the log that this member goes by; empty: it may be. */
  differs({ identity, head }: StoreImage): string {
    const { id } = this.#options.log;
    if (identity === undefined) return "it does not hold this cluster any more";
    if (identity.v > FORMAT_VERSION)
      return `its format is ${identity.v}, this version knows ${FORMAT_VERSION}`;
    if (identity.id !== id) return `it holds the log ${identity.id}, this member goes by ${id}`;
    const noted = this.#noted?.index ?? 0;
    if (head !== undefined && head.index < noted) {
      return `its log ends at entry ${head.index}, this member had applied entry ${noted}`;
    }
    return "";
  }

  /** Those that are next, in their order; the others are left alone. */
  applyAll(entries: readonly LogEntry[]): void {
    const { index } = this.#at;
    for (const entry of entries) if (entry.index === this.#at.index + 1) this.#apply(entry.data);
    if (this.#at.index > index) this.#noteSoon();
  }

  install({ at, data }: KvSnapshot): void {
    this.#machine = restoreMachine(data);
    this.#at = at;
    this.#requireFit();
    const result = { ok: true, changed: true } as const;
    this.#options.onApplied(this.cluster, { index: at.index, by: 0, result }, undefined);
    for (const known of this.#machine.recent) this.#options.onKnown(known.id, known.result);
    this.#noteSoon();
  }

  /** The store holds a snapshot of that entry. */
  noteSnapshot({ index }: LogPosition, modRevision: number): void {
    if (modRevision <= this.#snapshotRevision) return;
    this.#snapshotRevision = modRevision;
    this.#snapshotIndex = index;
    this.#bytesSinceSnapshot = 0;
  }

  #apply(data: Uint8Array): void {
    this.#at = advance(this.#at, data);
    this.#requireKnown();
    this.#bytesSinceSnapshot += data.length;
    const { state, envelope, result } = applyEntry(this.#machine, data);
    this.#machine = state;
    this.#requireFit();
    const committed = {
      index: this.#at.index,
      by: envelope?.by ?? 0,
      result,
      ...(envelope === undefined ? {} : { command: envelope.cmd }),
    };
    this.#options.onApplied(state.cluster, committed, envelope?.id);
  }

  #requireKnown(): void {
    const { index, chain } = this.#at;
    if (index !== this.#noted?.index || chain === this.#noted.chain) return;
    throw new SynwallError(
      "SW_STORE_LOST",
      `the store's entries up to ${index} are not those that this member had applied; docs/errors.md says what to do`,
    );
  }

  #requireFit(): void {
    const { self, slots } = this.#options;
    requireFit(this.cluster, { self, slots, log: "" });
  }

  /** While an earlier life's entries are applied again, what it noted is the better knowledge. */
  #noteSoon(): void {
    if (this.#at.index < (this.#noted?.index ?? 0)) return;
    this.#noted = undefined;
    this.#isNoteDue = true;
  }

  #toNote(): Noted {
    const { id, slots } = this.#options.log;
    return { id, slots, ...this.#at };
  }
}
