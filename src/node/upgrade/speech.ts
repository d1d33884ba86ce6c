/**
 * Speech: whether members of two builds understand each other, so that they can stand side by side while a cluster is upgraded.
 * Pure. What the versions mean is owned by those who speak them.
 */
import type { ProcessReport } from "../../../cluster/transport/transport.ts";

export type Speech = Pick<
  ProcessReport,
  "recordVersions" | "syncVersion" | "commandVersion" | "heartbeatVersion"
>;

const FIXED = [
  ["heartbeatVersion", "heartbeats"],
  ["commandVersion", "the replicated state"],
  ["syncVersion", "replication"],
] as const;

/** What two builds cannot tell each other, one reason each; empty when they get along. A witness replicates no records. */
export function misunderstandings(one: Speech, other: Speech): string[] {
  const reasons: string[] = [];
  for (const [field, what] of FIXED) {
    if (one[field] !== other[field]) reasons.push(`${what}: version ${one[field]} and ${other[field]}`);
  }
  const [mine, its] = [one.recordVersions, other.recordVersions];
  if (mine.length > 0 && its.length > 0 && !mine.some((version) => its.includes(version))) {
    reasons.push(`flow records: versions ${mine.join(", ")} and ${its.join(", ")}`);
  }
  return reasons;
}
