/**
 * Membership: this process's own place in the cluster, and what it proposes about others. Comes up in a new life, notices when
 * the others declared it down, and declares silent peers down. Owns when to propose; what a command does is control/machine.ts.
 *
 *   start --> still an owner from an earlier life? propose down(self) --> propose up --> admitted
 *                ^                                                                        |
 *                +------------- others declared us down, and a leader answers ------------+
 */

import { downCommand } from "../../cluster/control/commands.ts";
import type { Company } from "../../cluster/control/kv-company.ts";
import type { ClusterState, Command, CommandResult } from "../../cluster/control/model.ts";
import type { Timers } from "../../cluster/control/timers.ts";
import type { MemberConfig } from "../../config/node-config.ts";
import { SynwallError } from "../base/errors.ts";

/** A refusal changes when others have moved on. */
const REFUSED_PAUSE_MS = 1000;
const FAILED_PAUSE_MS = 100;
/** Between two looks whether the worker turns its loop. */
const BEAT_PAUSE_MS = 5;

export interface MembershipOptions {
  readonly self: MemberConfig;
  readonly timers: Timers;
  readonly slots: number;
  /** Name of this member's Raft log; empty in logs that are older than such names. */
  readonly log: string;
  readonly propose: (command: Command) => Promise<CommandResult>;
  readonly state: () => ClusterState;
  /** Members that this one hears, itself included. */
  readonly alive: () => ReadonlySet<number>;
  /** A new life of this process was applied: it may be given slots, and it is caught up. */
  readonly onAdmitted: (incarnation: number) => void;
  readonly onLog: (level: "info" | "warn", text: string) => void;
  /** Where the log is in a store. */
  readonly company?: Company | undefined;
  /** After so long a member that is heard no more is not taken for alive. */
  readonly detectionMs: number;
  /** Ticks of the dataplane worker so far; absent on a witness. */
  readonly beats?: (() => number) | undefined;
}

export class Membership {
  readonly #options: MembershipOptions;
  /** The incarnation that "up" of this process got; 0: not admitted. */
  #incarnation = 0;
  #isJoining = false;
  #isStopped = false;
  readonly #declaring = new Set<number>();

  constructor(options: MembershipOptions) {
    this.#options = options;
  }

  /** What the "up" of this process was given; 0 before that. */
  get incarnation(): number {
    return this.#incarnation;
  }

  /** True while the committed state knows this life of the process. */
  get isAdmitted(): boolean {
    const member = this.#member();
    return (
      this.#incarnation !== 0 &&
      member?.incarnation === this.#incarnation &&
      member.state !== "down" &&
      member.state !== "removed"
    );
  }

  /** Asks to be let in, again and again until it is done or stop() was called. */
  async join(): Promise<void> {
    if (this.#isJoining || this.#isStopped) return;
    this.#isJoining = true;
    try {
      // Whoever declared us down may be one that we do not hear, and have not missed yet.
      if (this.#options.company !== undefined && this.#incarnation !== 0)
        await this.#pause(this.#options.detectionMs);
      // A worker that hangs is why the others miss us, and they would again: not before it has turned its loop once more.
      if (this.#incarnation !== 0) await this.#workerTurned();
      while (!this.#isStopped && !this.isAdmitted) await this.#tryJoin();
    } finally {
      this.#isJoining = false;
    }
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** This member gave way to another log, which let nobody in yet: what this life was given does not count there. */
  rejoin(): void {
    this.#incarnation = 0;
    void this.join();
  }

  /** It waits for that log. */
  suspend(): void {
    this.#incarnation = 0;
  }

  /** After each applied entry: were we declared down while alive, is a dead peer still a carrier? */
  onCommitted(): void {
    if (this.#incarnation !== 0 && !this.isAdmitted && this.#member()?.state !== "removed") void this.join();
  }

  isDeclaring(node: number): boolean {
    return this.#declaring.has(node);
  }

  /** A peer is silent on all links, or its process is gone. `isLeader`: it led until now. */
  peerDied(node: number, isLeader = false): void {
    if (!this.#declaring.has(node)) void this.#declareDown(node, isLeader);
  }

  async #workerTurned(): Promise<void> {
    const { beats } = this.#options;
    const before = beats?.();
    while (!this.#isStopped && beats?.() === before && before !== undefined) await this.#pause(BEAT_PAUSE_MS);
  }

  async #tryJoin(): Promise<void> {
    const { self, slots, log, propose, state, company, alive } = this.#options;
    if (company?.mayComeUp(alive()) === false) {
      await this.#pause(FAILED_PAUSE_MS);
      return;
    }
    const { id, name, role, address, weight } = self;
    const member = { id, name, role, address, weight };
    const up = { type: "up", member, slots, ...(log === "" ? {} : { log }) } as const;
    const result = await this.#settled(propose(up));
    if (result === undefined) return;
    if (result.ok) {
      this.#incarnation = this.#member()?.incarnation ?? 0;
      this.#options.onAdmitted(this.#incarnation);
      return;
    }
    // The state is caught up now: an entry of ours was just applied in it.
    if (state().table.owner.includes(id) && this.#member()?.state !== "down") {
      const down = downCommand(state(), id);
      if (down !== undefined) await this.#settled(propose(down));
      return;
    }
    this.#options.onLog("warn", `the cluster does not let this node in: ${result.reason}`);
    await this.#pause(REFUSED_PAUSE_MS);
  }

  async #declareDown(node: number, isLeader: boolean): Promise<void> {
    const { propose, state, alive, company } = this.#options;
    this.#declaring.add(node);
    try {
      while (!this.#isStopped && !alive().has(node)) {
        const command = downCommand(state(), node, alive());
        if (command === undefined || company?.mayDeclareDown(node, isLeader, alive()) === false) return;
        const { epoch } = state().table;
        const result = await this.#settled(propose(command));
        if (result?.ok) return;
        // Refused for another table than the one that we know: at once again. For the same one: not yet.
        if (result !== undefined && state().table.epoch === epoch) await this.#pause(FAILED_PAUSE_MS);
      }
    } finally {
      this.#declaring.delete(node);
    }
  }

  /** Undefined when nobody decided in time: then it is tried again. */
  async #settled(answer: Promise<CommandResult>): Promise<CommandResult | undefined> {
    try {
      return await answer;
    } catch (error) {
      if (!(error instanceof SynwallError)) throw error;
      // Too many waiting, or a driver that stopped, answers at once: do not spin.
      await this.#pause(FAILED_PAUSE_MS);
      return undefined;
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#options.timers.after(ms, resolve));
  }

  #member(): ClusterState["members"][number] | undefined {
    return this.#options.state().members.find((member) => member.id === this.#options.self.id);
  }
}
