/**
 * The package's main entry: everything an application, a driver or a test suite needs, and nothing else.
 */
export { decodeConfChange, encodeConfChange } from "./confchange/codec.ts";
export type { Config, Logger } from "./config.ts";
export {
  CompactedError,
  ConfChangeError,
  ConfigError,
  InvariantError,
  MalformedError,
  ProposalDroppedError,
  type ProposalDropReason,
  SnapshotOutOfDateError,
  StepLocalMessageError,
  UnavailableError,
} from "./errors.ts";
export { RawNode } from "./raw-node.ts";
export type { BasicStatus, FlowStatus, ProgressStatus, Status } from "./status.ts";
export { MemoryStorage, type Storage } from "./storage.ts";
export type { ProgressState } from "./tracker/progress.ts";
export type {
  ConfChange,
  ConfChangeSingle,
  ConfChangeTransition,
  ConfChangeType,
  ConfState,
  Entry,
  EntryType,
  HardState,
  Index,
  Message,
  MessageType,
  MsgApp,
  MsgAppResp,
  MsgHeartbeat,
  MsgHeartbeatResp,
  MsgPreVote,
  MsgPreVoteResp,
  MsgProp,
  MsgReadIndex,
  MsgReadIndexResp,
  MsgSnap,
  MsgTimeoutNow,
  MsgTransferLeader,
  MsgVote,
  MsgVoteResp,
  NodeId,
  ReadState,
  Ready,
  Snapshot,
  SoftState,
  StateType,
  Term,
} from "./types.ts";
export { NONE, None } from "./types.ts";
