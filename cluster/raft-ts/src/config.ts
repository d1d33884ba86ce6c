/**
 * What a node is configured with, and all rules between the fields in one place.
 * Owns no defaults: every field but `witness` and `logger` is a decision of the application.
 */
import { ConfigError } from "./errors.ts";
import type { Storage } from "./storage.ts";
import type { Index, NodeId } from "./types.ts";

/** Hears what the core does. Must not throw and must not call back into the node. */
export interface Logger {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
}

export interface Config {
  /** This node's identity, >= 1. */
  id: NodeId;
  /** Ticks without a leader before an election; the drawn timeout is electionTick + random(electionTick). */
  electionTick: number;
  /** Ticks between two heartbeats of a leader; less than electionTick. */
  heartbeatTick: number;
  storage: Storage;
  /** The last index that the state machine already holds; 0 after a fresh start. */
  applied: Index;
  /** A number from 0 to n - 1. */
  random: (n: number) => number;
  /** Ask whether an election can be won before raising the term (Raft thesis section 9.6). */
  preVote: boolean;
  /** A leader that hears no quorum for electionTick steps down, and votes are ignored within that lease. */
  checkQuorum: boolean;
  /** Payload bytes in one MsgApp and in the committed entries of one Ready; 0 is one entry at a time. */
  maxSizePerMessage: number;
  /** Appends in flight to one follower that replicates. */
  maxInflightMessages: number;
  /** Payload bytes in the uncommitted tail beyond which a leader drops proposals; 0 is no limit. */
  maxUncommittedBytes: number;
  /** A follower drops proposals instead of passing them on to the leader. */
  disableProposalForwarding: boolean;
  /** A leader that is removed or demoted steps down when it applies that change. */
  stepDownOnRemoval: boolean;
  /** `safe` asks a quorum for each read; `lease` trusts the clock within the check-quorum lease. */
  readOnly: "safe" | "lease";
  /** This node breaks ties: it waits three times longer to campaign, and hands leadership on. */
  witness?: boolean;
  logger?: Logger;
}

/** Throws ConfigError with the field, the rule and the value. */
export function validate(config: Config): void {
  if (typeof config !== "object" || config === null) {
    throw new ConfigError(`Cannot start with ${String(config)}: expected an object that implements Config`);
  }
  requireInteger("id", config.id, 1);
  requireInteger("heartbeatTick", config.heartbeatTick, 1);
  requireInteger("electionTick", config.electionTick, 1);
  requireInteger("applied", config.applied, 0);
  requireInteger("maxInflightMessages", config.maxInflightMessages, 1);
  requireLimit("maxSizePerMessage", config.maxSizePerMessage);
  requireLimit("maxUncommittedBytes", config.maxUncommittedBytes);
  if (config.electionTick <= config.heartbeatTick) {
    throw new ConfigError(
      `Cannot use electionTick ${config.electionTick}: must be greater than heartbeatTick ${config.heartbeatTick}`,
    );
  }
  if (typeof config.storage !== "object" || config.storage === null) {
    throw new ConfigError("Cannot start without storage: expected an object that implements Storage");
  }
  if (typeof config.random !== "function") {
    throw new ConfigError("Cannot start without random: expected a function (n) => 0..n-1");
  }
  if (config.readOnly !== "safe" && config.readOnly !== "lease") {
    throw new ConfigError(`Cannot use readOnly ${String(config.readOnly)}: expected "safe" or "lease"`);
  }
  if (config.readOnly === "lease" && !config.checkQuorum) {
    throw new ConfigError('Cannot use readOnly "lease" without checkQuorum: the lease would never end');
  }
}

function requireInteger(field: string, value: number, min: number): void {
  if (!Number.isSafeInteger(value) || value < min) {
    throw new ConfigError(`Cannot use ${field} ${value}: expected an integer of at least ${min}`);
  }
}

function requireLimit(field: string, value: number): void {
  if (typeof value !== "number" || Number.isNaN(value) || value < 0) {
    throw new ConfigError(`Cannot use ${field} ${value}: expected bytes of at least 0, or Infinity`);
  }
}
