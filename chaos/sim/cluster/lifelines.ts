/**
 * Lifelines of simulated nodes: who has one to whom. Owns their opening; that they close with a process is the network's
 * business (cluster/transport/in-memory.ts).
 */
import type { Life } from "./life.ts";
import type { SimMember } from "./member.ts";
import type { World } from "./world.ts";

const CONNECT_MS = 2;
const RETRY_MS = 250;

/** Connects `member`, which was just started, to all other nodes, as soon as each can be reached. */
export function openLifelines(world: World, members: readonly SimMember[], member: SimMember): void {
  if (!member.isNode || member.life === undefined) return;
  for (const peer of members) {
    if (peer !== member && peer.isNode && peer.life !== undefined) {
      connect(world, [member, member.life], [peer, peer.life], CONNECT_MS);
    }
  }
}

type End = readonly [member: SimMember, life: Life];

function connect(world: World, near: End, far: End, afterMs: number): void {
  world.clock.after(afterMs, () => {
    if (near[1].isOver || far[1].isOver) return;
    const { network } = world;
    const isReached =
      network.isReachable(near[0].id, far[0].id) && network.isReachable(far[0].id, near[0].id);
    if (!isReached) {
      connect(world, near, far, RETRY_MS);
      return;
    }
    tell(near, far);
    tell(far, near);
  });
}

function tell([member, life]: End, [peer]: End): void {
  life.run(() => member.running?.lifelineOpened(peer.id));
}
