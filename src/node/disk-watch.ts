/**
 * Disk watch: measures the room that is left for the Raft log and carries out what the disk guard wants. Owns the measuring and its
 * pace; the rule is disk-guard.ts. Without `members` (a witness) it only says what it sees.
 */
import { type StatsFs, statfsSync } from "node:fs";
import { statfs } from "node:fs/promises";
import type { CommandResult, Member } from "../../cluster/control/model.ts";
import type { NodeConfig } from "../../config/node-config.ts";
import { SynwallError } from "../base/errors.ts";
import { type DiskCommand, DiskGuard } from "./disk-guard.ts";
import type { Journal } from "./journal.ts";

const MEASURE_MS = 2000;
const MIB = 1024 * 1024;
/** Inodes: a segment of the log, a snapshot, the members file, each beside the one that it replaces, and some to spare. */
const FILES_MIN = 64;

export interface DiskWatchOptions {
  readonly self: { readonly id: number; readonly name: string };
  readonly directory: string;
  readonly freeBytesMin: number;
  /** Room for this process on the file system of a folder. */
  readonly freeBytes?: (directory: string) => Promise<number>;
  /** As committed; empty while this process is not admitted. Absent on a witness, which has nothing to give up. */
  readonly members?: () => readonly Member[];
  readonly propose?: (command: DiskCommand) => Promise<CommandResult>;
  readonly journal: Journal;
}

/** The limit of a member's configuration. */
export function diskFreeBytesMin({ control }: NodeConfig): number {
  return control.diskFreeMiBMin * MIB;
}

/** Throws SW_STORAGE_FAILED when a member must not start with so little room. */
export function checkDiskRoom(directory: string, freeBytesMin: number): void {
  const freeBytes = roomIn(statfsSync(directory));
  if (freeBytes >= freeBytesMin) return;
  throw new SynwallError(
    "SW_STORAGE_FAILED",
    `control.dataDir: ${directory} has ${mib(freeBytes)} free, control.diskFreeMiBMin asks for ${mib(freeBytesMin)}: make room, or lower the limit`,
  );
}

export class DiskWatch {
  readonly #options: DiskWatchOptions;
  readonly #guard = new DiskGuard();
  #isBusy = false;
  #nextMs = 0;
  #freeBytes = Number.NaN;
  /** Why the room could not be measured, the last time. */
  #blindness = "";

  constructor(options: DiskWatchOptions) {
    this.#options = options;
  }

  /** NaN before the first measurement. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  get freeBytesMin(): number {
    return this.#options.freeBytesMin;
  }

  /** What `status` says to an operator. */
  alerts(): string[] {
    const { directory, freeBytesMin } = this.#options;
    if (this.#blindness !== "") return [`the room of ${directory} cannot be measured: ${this.#blindness}`];
    if (!this.#guard.isShort) return [];
    return [
      `${directory} has ${mib(this.#freeBytes)} free, less than the ${mib(freeBytesMin)} of control.diskFreeMiBMin: ${this.#meaning()}; make room`,
    ];
  }

  /** To be called often. */
  tick(nowMs: number): void {
    if (this.#isBusy || nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + MEASURE_MS;
    this.#isBusy = true;
    void this.#check().finally(() => {
      this.#isBusy = false;
    });
  }

  async #check(): Promise<void> {
    const { directory, freeBytesMin, freeBytes = roomOf } = this.#options;
    try {
      this.#freeBytes = await freeBytes(directory);
      this.#blindness = "";
    } catch (error) {
      // What cannot be measured is no reason to leave: a write that fails ends the process anyway.
      this.#blindness = error instanceof Error ? error.message : String(error);
      return;
    }
    if (this.#guard.measure(this.#freeBytes, freeBytesMin)) this.#note();
    await this.#carryOut();
  }

  async #carryOut(): Promise<void> {
    const { self, members, propose, journal } = this.#options;
    const command = this.#guard.next(self.id, members?.() ?? []);
    if (command === undefined || propose === undefined) return;
    let result: CommandResult;
    try {
      result = await propose(command);
    } catch {
      return; // Nobody decided in time: the state will tell, and the next measurement asks again.
    }
    if (!result.ok) {
      if (command.state === "draining") this.#guard.refused();
    } else if (command.state === "draining") {
      journal.add("drain", `${self.name} gives up its slots: its disk is nearly full`, { node: self.id });
    } else {
      const why = this.#guard.isShort ? "no other node is active" : "its disk has room";
      journal.add("rejoin", `${self.name} takes part again: ${why}`, { node: self.id });
    }
  }

  #note(): void {
    const { directory, journal } = this.#options;
    const room = mib(this.#freeBytes);
    if (this.#guard.isShort) journal.add("disk", `${directory} has ${room} free: ${this.#meaning()}`);
    else journal.add("disk", `${directory} has room again: ${room} free`);
  }

  #meaning(): string {
    const { self, members } = this.#options;
    if (members === undefined) return "when it is full, this witness ends";
    const others = members().filter((member) => member.id !== self.id && member.role === "node");
    return others.some((member) => member.state === "active")
      ? "this node gives up its slots"
      : "this node stays, since no other node is active, and ends when the disk is full";
  }
}

async function roomOf(directory: string): Promise<number> {
  return roomIn(await statfs(directory));
}

/** Bytes. Where no file can be made there is no room, whatever blocks are free; `files` 0: that file system has no such limit. */
export function roomIn({ bavail, bsize, files, ffree }: StatsFs): number {
  return files > 0 && ffree < FILES_MIN ? 0 : bavail * bsize;
}

function mib(bytes: number): string {
  return `${Math.floor(bytes / MIB)} MiB`;
}
