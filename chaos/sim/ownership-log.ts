/**
 * A linearizable log that stands for Raft in the ownership simulator: the real state machine, but consensus by decree. A
 * command is committed only when its proposer reaches a majority of the voters, there and back, when it is proposed and
 * when it is committed. Owns the order of entries; when members learn of them is the members' business.
 */
import { applyCommand } from "../../cluster/control/machine.ts";
import { type ClusterState, type Command, emptyState } from "../../cluster/control/model.ts";

export interface LogEntry {
  readonly by: number;
  /** The life of the proposer: a command of a dead process may still be committed. */
  readonly life: number;
  readonly command: Command;
  /** The state after this entry. */
  readonly state: ClusterState;
}

export class SimLog {
  readonly entries: LogEntry[] = [];
  readonly #initial: ClusterState;

  constructor(slots: number) {
    this.#initial = emptyState(slots);
  }

  get length(): number {
    return this.entries.length;
  }

  /** The state after the first `count` entries. */
  stateAt(count: number): ClusterState {
    return count === 0 ? this.#initial : (this.entries[count - 1] as LogEntry).state;
  }

  get latest(): ClusterState {
    return this.stateAt(this.entries.length);
  }

  /** Commits a command. False: the state machine refused it or it changed nothing. */
  commit(by: number, life: number, command: Command): boolean {
    const { cluster, result } = applyCommand(this.latest, command);
    if (!result.ok || !result.changed) return false;
    this.entries.push({ by, life, command, state: cluster });
    return true;
  }
}
