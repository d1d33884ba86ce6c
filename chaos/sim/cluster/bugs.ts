/**
 * Bugs that can be planted in simulated nodes, each by a lie told at the seam of a real part, so that the checkers are seen to
 * find what they are for. The product knows none of them.
 */
import type { Command } from "../../../cluster/control/model.ts";
import type { SharedMemory } from "../../../src/node/shared-memory.ts";
import type { ToWorker, WorkerSetup } from "../../../src/node/worker-protocol.ts";
import type { TrialPlan } from "./trial-plan.ts";

export const BUGS = [
  /** New owners do not wait for whoever had the slot before. */
  "awaits-nobody",
  /** Packets go out before their flow is on the backup. */
  "forwards-unreplicated",
  /** One node believes in its lease for longer than others promised. */
  "stretches-lease",
  /** Disks say that they have synced, and have not. */
  "lying-disk",
] as const;
export type Bug = (typeof BUGS)[number];

/** What a trial must be like for a bug to show itself soon. */
export function trialOf(_bug: Bug | undefined): Partial<TrialPlan> {
  return {};
}

const STRETCH = 20;
/** All the others keep their promises. */
const STRETCHED_NODE = 1;

export function spoiledSetup(bug: Bug | undefined, setup: WorkerSetup): WorkerSetup {
  if (bug !== "stretches-lease" || setup.selfId !== STRETCHED_NODE) return setup;
  return { ...setup, profile: { ...setup.profile, leaseMs: setup.profile.leaseMs * STRETCH } };
}

export function spoiledMessage(bug: Bug | undefined, message: ToWorker): ToWorker {
  if (bug !== "awaits-nobody" || message === 0 || message.type !== "state") return message;
  return { ...message, table: { ...message.table, awaiting: message.table.awaiting.map(() => []) } };
}

/** What a node proposes that takes slots without a proof, so that the cluster goes on in its error. */
export function unprovenSettle(bug: Bug | undefined, message: ToWorker, selfId: number): Command | undefined {
  if (bug !== "awaits-nobody" || message === 0 || message.type !== "state") return undefined;
  const { owner, awaiting, movedEpoch } = message.table;
  const slots = owner.flatMap((id, slot) => (id === selfId && awaiting[slot]!.length > 0 ? [slot] : []));
  if (slots.length === 0) return undefined;
  return { type: "settled", node: selfId, slots, movedEpochs: slots.map((slot) => movedEpoch[slot]!) };
}

export function spoilMemory(bug: Bug | undefined, memory: SharedMemory): void {
  if (bug === "forwards-unreplicated") new Float64Array(memory.acked).fill(Number.POSITIVE_INFINITY);
}
