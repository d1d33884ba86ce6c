/**
 * Raft configuration: what every driver hands to raft-ts, and why. Owns the choices that are no operator's business.
 */
import type { Config, Storage } from "raft-ts";
import type { DriverTuning } from "./tuning.ts";

export interface RaftSetup {
  readonly self: number;
  readonly isWitness: boolean;
  readonly storage: Storage;
  readonly applied: number;
  readonly random: (bound: number) => number;
  readonly tuning: DriverTuning;
  readonly onLog?: ((level: "debug" | "info" | "warn", message: string) => void) | undefined;
}

export function raftConfig({ self, isWitness, storage, applied, random, tuning, onLog }: RaftSetup): Config {
  return {
    id: self,
    electionTick: tuning.electionTick,
    heartbeatTick: tuning.heartbeatTick,
    storage,
    applied,
    random,
    // A member that was cut off must not depose a leader that the others hear.
    preVote: true,
    checkQuorum: true,
    maxSizePerMessage: 1_048_576,
    maxInflightMessages: 256,
    maxUncommittedBytes: 16 * 1_048_576,
    disableProposalForwarding: false,
    stepDownOnRemoval: true,
    // Not "lease": followers may let go of a leader that is dead (forgetLeader) before its lease is over.
    readOnly: "safe",
    witness: isWitness,
    ...(onLog === undefined
      ? {}
      : {
          logger: {
            debug: (message) => onLog("debug", message),
            info: (message) => onLog("info", message),
            warn: (message) => onLog("warn", message),
          },
        }),
  };
}
