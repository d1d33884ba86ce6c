/**
 * Settling: until when a cluster is asked whether it is whole. The same for a lab of processes and for a simulated cluster, whose
 * clock and members are handed in.
 */
import type { StatusReport } from "../../src/node/admin-model.ts";
import type { LabMember } from "./topology.ts";

export const SETTLE_TIMEOUT_MS = 60_000;
const ASK_INTERVAL_MS = 100;

export interface SettleOptions {
  /** Members that are not waited for: dead, cut off. */
  readonly without?: readonly string[];
  /** Only a state of a later epoch counts. */
  readonly afterEpoch?: number;
  readonly timeoutMs?: number;
  /** How often members are asked: more seldom while something is measured. */
  readonly intervalMs?: number;
}

export interface Settling {
  readonly members: readonly LabMember[];
  nowMs(): number;
  pause(ms: number): Promise<void>;
  /** Undefined when the member does not answer. */
  statusOf(member: string): Promise<StatusReport | undefined>;
  /** Throws when a member is dead that none of `without` is. */
  failWhenDead(without: readonly string[]): void;
  /** What is waited for has changed. */
  progress(line: string): void;
}

/** Asks all members until they say that the cluster is settled; answers what was still waited for when time was up, or "". */
export async function settle(cluster: Settling, options: SettleOptions = {}): Promise<string> {
  const {
    without = [],
    afterEpoch = 0,
    timeoutMs = SETTLE_TIMEOUT_MS,
    intervalMs = ASK_INTERVAL_MS,
  } = options;
  const members = cluster.members.filter(({ name }) => !without.includes(name));
  const endMs = cluster.nowMs() + timeoutMs;
  let waitingFor = "";
  for (;;) {
    cluster.failWhenDead(without);
    const reports = await Promise.all(members.map(({ name }) => cluster.statusOf(name)));
    const waits = members.flatMap((member, i) => describeWait(member, members, afterEpoch, reports[i]));
    const line = waits[0] ?? "";
    if (line !== waitingFor && line !== "") cluster.progress(line);
    waitingFor = line;
    if (waits.length === 0 || cluster.nowMs() >= endMs) return waitingFor;
    await cluster.pause(intervalMs);
  }
}

/** What a member still waits for; empty when it is settled. */
function describeWait(
  member: LabMember,
  members: readonly LabMember[],
  afterEpoch: number,
  report: StatusReport | undefined,
): string[] {
  if (report === undefined) return [`${member.name}: waiting for its admin socket`];
  const missing = members.filter(
    (other) =>
      !report.members.some(
        (seen) => seen.id === other.id && (other.role === "witness" || seen.state === "active"),
      ),
  );
  if (report.leader === "") return [`${member.name}: waiting for a leader`];
  if (missing.length > 0)
    return [`${member.name}: waiting for ${missing.map(({ name }) => name).join(", ")} to be active`];
  if (report.epoch <= afterEpoch) return [`${member.name}: epoch ${report.epoch}, waiting for the next one`];
  if (!report.isSettled) return [`${member.name}: epoch ${report.epoch}, waiting for slots to settle`];
  // The others may have asked for it to be declared down, which nobody has decided yet.
  if (report.lease?.isFenced === true) return [`${member.name}: waiting for its lease`];
  if (member.role === "node" && !report.isReady)
    return [`${member.name}: epoch ${report.epoch}, receiving flows`];
  return [];
}
