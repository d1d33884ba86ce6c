/**
 * Offers: what this member would like to be decided next: its own proposals, and what it plans when it leads. Owns ids, batches, and
 * that one plan at a time is under way; kv-driver.ts commits.
 */
import { SynwallError } from "../../src/base/errors.ts";
import { encodeEnvelope } from "./codec.ts";
import type { ClusterState, Command, CommandResult } from "./model.ts";
import { Proposals } from "./proposals.ts";

/** Entries, and bytes of them, that one transaction commits: below etcd's limits of 128 operations and 1.5 MiB. */
const BATCH_ENTRIES_MAX = 32;
const BATCH_BYTES_MAX = 524_288;

export interface KvOffersOptions {
  readonly self: number;
  readonly random: (bound: number) => number;
  readonly plan: (state: ClusterState) => Command | undefined;
}

export class KvOffers {
  readonly #options: KvOffersOptions;
  readonly #proposals = new Proposals();
  /** Tells the ids of this life from those of any other. */
  readonly #life: string;
  #sequence = 0;
  #plannedId = "";
  /** The revision at which nothing was to be planned, or a planned command changed nothing. */
  #planIdleAt = -1;

  constructor(options: KvOffersOptions) {
    this.#options = options;
    const { self, random } = options;
    this.#life = `${self}-${random(0x100_0000)}-${random(0x100_0000)}`;
  }

  get size(): number {
    return this.#proposals.size;
  }

  add(command: Command, deadlineMs: number): Promise<CommandResult> {
    const { id, data } = this.#encode(command);
    return this.#proposals.add(id, data, command.type, deadlineMs);
  }

  /** What is to be committed next, in one go; a plan only when nothing else waits. Empty: nothing. */
  batch(state: ClusterState, isLeader: boolean): readonly Uint8Array[] {
    const batch: Uint8Array[] = [];
    let bytes = 0;
    this.#proposals.offer(true, (data) => {
      bytes += data.length;
      if (batch.length > 0 && (batch.length === BATCH_ENTRIES_MAX || bytes > BATCH_BYTES_MAX)) return false;
      batch.push(data);
      return true;
    });
    if (batch.length > 0 || !isLeader) return batch;
    const planned = this.#planned(state);
    return planned === undefined ? [] : [planned];
  }

  applied(id: string, result: CommandResult, state: ClusterState): void {
    if (id === this.#plannedId) {
      this.#plannedId = "";
      if (!result.ok || !result.changed) this.#planIdleAt = state.revision;
    }
    this.known(id, result);
  }

  /** As applied(), of an entry that is behind a snapshot. */
  known(id: string, result: CommandResult): void {
    this.#proposals.settle(id, result);
  }

  /** The batch was committed and applied, or it was not: what still waits is offered again. */
  again(isPlanLost: boolean): void {
    if (isPlanLost) this.#plannedId = "";
    this.#proposals.retryAll();
  }

  tick(nowMs: number): void {
    this.#proposals.tick(nowMs);
  }

  end(why: string): void {
    this.#proposals.failAll(why);
  }

  /** One planned command at a time, and the next only from the state that it led to. */
  #planned(state: ClusterState): Uint8Array | undefined {
    if (this.#plannedId !== "" || state.revision === this.#planIdleAt) return undefined;
    const command = this.#options.plan(state);
    if (command === undefined) {
      this.#planIdleAt = state.revision;
      return undefined;
    }
    const { id, data } = this.#encode(command);
    this.#plannedId = id;
    return data;
  }

  #encode(command: Command): { readonly id: string; readonly data: Uint8Array } {
    const id = `${this.#life}-${++this.#sequence}`;
    return { id, data: encodeEnvelope({ id, by: this.#options.self, cmd: command }) };
  }
}

export function stoppedProposal({ type }: Command): SynwallError {
  return new SynwallError("SW_CONTROL_TIMEOUT", `Cannot propose ${type}: stopped`);
}
