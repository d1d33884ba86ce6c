/**
 * Bugs that can be planted in simulated nodes, each by a lie told at the seam of a real part, so that the checkers are seen to
 * find what they are for. The product knows none of them.
 */
import type { SharedMemory } from "../../../src/node/shared-memory.ts";
import type { ToWorker, WorkerSetup } from "../../../src/node/worker-protocol.ts";

export type Bug =
  /** New owners do not wait for whoever had the slot before. */
  | "awaits-nobody"
  /** Packets go out before their flow is on the backup. */
  | "forwards-unreplicated"
  /** Nodes believe in their lease for longer than others promised. */
  | "stretches-lease";

const STRETCH = 20;

export function spoiledSetup(bug: Bug | undefined, setup: WorkerSetup): WorkerSetup {
  if (bug !== "stretches-lease") return setup;
  return { ...setup, profile: { ...setup.profile, leaseMs: setup.profile.leaseMs * STRETCH } };
}

export function spoiledMessage(bug: Bug | undefined, message: ToWorker): ToWorker {
  if (bug !== "awaits-nobody" || message === 0 || message.type !== "state") return message;
  return { ...message, table: { ...message.table, awaiting: message.table.awaiting.map(() => []) } };
}

export function spoilMemory(bug: Bug | undefined, memory: SharedMemory): void {
  if (bug === "forwards-unreplicated") new Float64Array(memory.acked).fill(Number.POSITIVE_INFINITY);
}
