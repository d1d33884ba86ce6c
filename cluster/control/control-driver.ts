/**
 * Control driver: what the rest of a member needs of whatever keeps the cluster's log: proposals, the state that committed
 * entries led to, and who leads. Owns the interface; driver.ts keeps the log among the members by Raft, kv-driver.ts in a store
 * that the site runs.
 */
import type { ConfChange, ConfState, Message } from "raft-ts";
import type { FenceState } from "../takeover/promise.ts";
import type { Company } from "./kv-company.ts";
import type { ClusterState, Command, CommandResult } from "./model.ts";
import type { StoreStatus } from "./store-status.ts";

/** What an applied entry did; `result` of a command that this node proposed also answers its propose(). */
export interface Committed {
  readonly index: number;
  readonly command?: Command;
  /** Node id of the proposer; 0 for snapshots. */
  readonly by: number;
  readonly result: CommandResult;
}

export interface DriverStatus {
  readonly term: number;
  readonly commit: number;
  readonly applied: number;
  readonly state: string;
  readonly lead: number;
  readonly voters: readonly number[];
  readonly confState: ConfState;
  /** On a leader: entries that each other member holds. */
  readonly matches: ReadonlyMap<number, number>;
  readonly proposalsWaiting: number;
  readonly messagesRefused: number;
  /** The store that keeps the log, where it is not the members. */
  readonly store?: StoreStatus;
}

export interface ControlDriver {
  start(): void;
  stop(): void;
  state(): ClusterState;
  status(): DriverStatus;
  /**
   * Resolves when the command was applied on this member, with its result. Rejects with SW_CONTROL_TIMEOUT when that did not
   * happen in time (it may still happen), with SW_CONTROL_REFUSED when too many wait.
   */
  propose(command: Command, timeoutMs?: number): Promise<CommandResult>;
  /** A leader changes the log's own voters, where it has any. */
  proposeConfChange(change: ConfChange): void;
  /** A message of another member about the log. */
  receive(message: Message): void;
  leaderDied(node: number): void;
  transferLeader(node: number): void;
  unreachable(node: number): void;
  snapshotSent(node: number, isDelivered: boolean): void;
  /** Absent where a commit needs a majority whose members hear each other. */
  readonly company?: Company;
  /** The store's own voice on leases (kv-vote.ts); absent where members alone vote. */
  readonly vote?: StoreVoice;
}

/** A request for a lease, as its holder's dataplane made it. */
export interface StoreRequest {
  readonly seq: number;
  readonly epoch: number;
  readonly incarnation: number;
}

export interface StoreVoice {
  /** True: the store held nothing that this member had not applied, at a moment after this was asked. */
  lease(request: StoreRequest): Promise<boolean>;
  /** What is left of what the store gave `node` under `epoch` and earlier ones; undefined while it may still give more. */
  fence(node: number, epoch: number): FenceState | undefined;
}
