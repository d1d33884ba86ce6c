/**
 * Every error that the package throws. Callers branch on the class or on `code`, never on the text.
 * InvariantError means a bug or a lost disk: the driver ends the process and restarts from its log.
 */

export type ProposalDropReason =
  | "noLeader"
  | "forwardingDisabled"
  | "transferring"
  | "uncommittedLimit"
  | "notMember";

/** The proposal did not enter the log and never will; the caller may try again. */
export class ProposalDroppedError extends Error {
  readonly code = "RAFT_PROPOSAL_DROPPED";
  readonly reason: ProposalDropReason;

  constructor(reason: ProposalDropReason, detail: string) {
    super(`Cannot propose: ${detail}`);
    this.name = "ProposalDroppedError";
    this.reason = reason;
  }
}

/** step() was handed something that only the node itself may produce, or an unknown message type. */
export class StepLocalMessageError extends Error {
  readonly code = "RAFT_STEP_LOCAL_MESSAGE";

  constructor(type: string) {
    super(`Cannot step ${type}: expected a message that another node sent over the network`);
    this.name = "StepLocalMessageError";
  }
}

/** A message or an encoded conf change is not well-formed; it was not acted upon. */
export class MalformedError extends Error {
  readonly code = "RAFT_MALFORMED";

  constructor(message: string) {
    super(message);
    this.name = "MalformedError";
  }
}

/** The wanted part of the log was compacted away; a snapshot takes its place. */
export class CompactedError extends Error {
  readonly code: string = "RAFT_COMPACTED";

  constructor(message: string) {
    super(message);
    this.name = "CompactedError";
  }
}

/** A snapshot at or below the one that is already stored. */
export class SnapshotOutOfDateError extends CompactedError {
  override readonly code: string = "RAFT_SNAPSHOT_OUT_OF_DATE";

  constructor(message: string) {
    super(message);
    this.name = "SnapshotOutOfDateError";
  }
}

/** The wanted part of the log, or the snapshot, is not here (yet). */
export class UnavailableError extends Error {
  readonly code = "RAFT_UNAVAILABLE";

  constructor(message: string) {
    super(message);
    this.name = "UnavailableError";
  }
}

/** The configuration that was handed to RawNode cannot work. */
export class ConfigError extends Error {
  readonly code = "RAFT_CONFIG";

  constructor(message: string) {
    super(message);
    this.name = "ConfigError";
  }
}

/** A membership change that does not fit the membership it is applied to. */
export class ConfChangeError extends Error {
  readonly code = "RAFT_CONF_CHANGE";

  constructor(message: string) {
    super(message);
    this.name = "ConfChangeError";
  }
}

/** Something that the protocol rules out has happened. Never caught: the process must end. */
export class InvariantError extends Error {
  readonly code = "RAFT_INVARIANT";

  constructor(message: string) {
    super(message);
    this.name = "InvariantError";
  }
}

export function invariant(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new InvariantError(message());
}
