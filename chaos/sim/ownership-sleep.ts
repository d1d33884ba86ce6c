/**
 * A fault of the ownership simulator that random ones hardly ever make, and that runs alone: who asks for a fence falls asleep before the fence bites,
 * and wakes when it has lapsed and its owner, whose worker still has not heard that it lost its slots, was promised a lease again.
 *
 *   slots of V go to G, V is deaf   G asks for a fence     G sleeps, the fence lapses     G wakes: V decides
 *   ----|---------------------------|----|-----------------------------------------------|----
 *       '--------- patience --------'    '----------------- 10 leases -------------------'
 */
import { FENCE_BINDS_LEASES } from "../../cluster/takeover/timing.ts";
import type { World } from "./ownership.ts";

const POLL_MS = 2;
const POLLS_MAX = 100;
/** As long as an owner that is alive is waited for (ownership.ts), in leases. */
const PATIENCE_LEASES = 4;

export function sleepOverFence(world: World): void {
  const { network, log, scheduler, options } = world;
  const { leaseMs } = options.profile;
  const victims = world.members.filter(({ id }) => log.latest.table.owner.includes(id));
  const victim = victims[world.random(victims.length)];
  if (victim === undefined || !victim.isRunning) return;
  world.note(`${victim.id} is deaf, and drained`);
  victim.deafen(leaseMs * (PATIENCE_LEASES + FENCE_BINDS_LEASES + 6));
  world.leader()?.propose({ type: "setState", node: victim.id, state: "draining" });
  const poll = (left: number): void => {
    const { owner, awaiting } = log.latest.table;
    const slot = awaiting.findIndex((nodes) => nodes.includes(victim.id));
    if (slot === -1) {
      if (left > 0) scheduler.after(POLL_MS, () => poll(left - 1));
      return;
    }
    const asker = world.members.find(({ id }) => id === owner[slot]);
    if (asker === undefined) return;
    scheduler.after(leaseMs * (PATIENCE_LEASES + network.between(0, 1)), () => {
      const sleepMs = leaseMs * (FENCE_BINDS_LEASES + network.between(0, 2));
      asker.pauseFor(sleepMs);
      // That it was declared down meanwhile comes by way of control, behind the answers to its asks.
      asker.deafen(sleepMs + network.between(0, leaseMs));
    });
  };
  poll(POLLS_MAX);
}
