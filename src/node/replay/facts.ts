/**
 * Facts of a policy file: what replay and trace need of it, with the cluster's key where its secret could be read.
 */
import type { PolicyFile } from "../../../config/policy-file.ts";
import { type HashKey, hashKeyFrom } from "../../base/hash.ts";
import { deriveKeys } from "../keys.ts";
import type { TraceFacts } from "./trace.ts";

/** Stands for a key that is not known: slots and SNAT ports differ from the cluster's, nothing else does. */
export const ANY_KEY: HashKey = hashKeyFrom(new Uint8Array(32).fill(1));

export function keyOf(file: PolicyFile): HashKey | undefined {
  if (file.cluster === undefined) return undefined;
  return hashKeyFrom(deriveKeys(file.cluster.secret, file.cluster.name).flowKey);
}

export function traceFacts(file: PolicyFile): TraceFacts {
  const key = keyOf(file);
  return {
    policy: file.policy,
    slots: file.slots,
    portNames: file.portNames,
    ...(key === undefined ? {} : { key }),
    ...(file.whyNoSlots === undefined ? {} : { whyNoSlots: file.whyNoSlots }),
  };
}
