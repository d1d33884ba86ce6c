/**
 * Faults of the ownership simulator: a random schedule from the seed. Owns what goes wrong and when; after `untilMs` all is
 * healed, so that liveness can be judged.
 */
import type { World } from "./ownership.ts";
import type { SimMember } from "./ownership-member.ts";
import { sleepOverFence } from "./ownership-sleep.ts";
import { shrinkAndPart } from "./ownership-voters.ts";

/** Plans all faults of a run. */
export function scheduleFaults(world: World, fromMs: number, untilMs: number): void {
  const { network, scheduler } = world;
  const { weather } = network;
  if (network.chance(0.6)) weather.lossP = network.between(0, 0.2);
  if (network.chance(0.4)) weather.duplicateP = network.between(0, 0.2);
  if (network.chance(0.3)) weather.delayMaxMs = network.between(1, 15);
  const gapMs = network.between(20, 200);
  scheduler.at(untilMs, () => healAll(world));
  if (world.options.areAskersSleeping === true) {
    scheduler.at(fromMs + network.between(0, gapMs), () => sleepOverFence(world));
    return;
  }
  for (let t = fromMs + network.between(0, gapMs); t < untilMs; t += network.between(0, 2 * gapMs)) {
    scheduler.at(t, () => oneFault(world));
  }
}

function oneFault(world: World): void {
  const { network, scheduler } = world;
  if (world.options.areVotersChanging === true && network.chance(0.2)) {
    shrinkAndPart(world);
    return;
  }
  const member = pick(world, world.members);
  const kind = world.random(100);
  if (kind < 24) {
    killAndRestart(world, member, network.chance(0.5) ? network.between(1, 40) : network.between(40, 500));
  } else if (kind < 42) {
    member.pauseFor(network.chance(0.5) ? network.between(5, 60) : network.between(60, 400));
  } else if (kind < 55) {
    // One way, on some links or all.
    const other = pick(world, world.members);
    cutSome(world, member, other, network.chance(0.5));
  } else if (kind < 61) {
    cutOffAndDeafen(world, member);
  } else if (kind < 67) {
    // Cut off from everybody, one way or both.
    const isTwoWay = network.chance(0.6);
    for (const other of world.members) {
      for (const link of member.links) {
        network.cut(member.id, other.id, link);
        if (isTwoWay) network.cut(other.id, member.id, link);
      }
    }
  } else if (kind < 80) {
    world.healNetwork();
  } else if (kind < 91) {
    isolateAndBlink(world, member);
  } else if (kind < 96) {
    // Two members at once: a voter and an owner.
    killAndRestart(world, member, network.between(1, 20));
    const other = pick(world, world.members);
    scheduler.after(network.between(0, 20), () => killAndRestart(world, other, network.between(1, 200)));
  } else {
    drainOrRejoin(world, member);
  }
}

/**
 * Some lose a node altogether, the others still hear it on the zones; one of those others restarts just when the first
 * ones take over. Voters that forget would now help both sides.
 */
function isolateAndBlink(world: World, victim: SimMember): void {
  const { network, scheduler } = world;
  const others = world.members.filter((m) => m !== victim);
  const voter = pick(world, others);
  for (const other of others) {
    const isLost = other !== voter && network.chance(0.6);
    for (const link of victim.links) {
      if (!isLost && link !== 0) continue;
      network.cut(victim.id, other.id, link);
      network.cut(other.id, victim.id, link);
    }
  }
  world.note(`isolate ${victim.id}, blink ${voter.id}`);
  scheduler.after(network.between(30, 80), () => killAndRestart(world, voter, network.between(0.5, 10)));
}

/**
 * A node that is declared down, let in again, and whose worker learns of neither until the fence has lapsed: by its own
 * light it owns slots, and it asks for a lease.
 */
function cutOffAndDeafen(world: World, member: SimMember): void {
  if (!member.isRunning || member.role === "witness") return;
  const { network, scheduler } = world;
  world.note(`cut off ${member.id}, deaf`);
  for (const other of world.members) {
    for (const link of member.links) {
      network.cut(member.id, other.id, link);
      network.cut(other.id, member.id, link);
    }
  }
  member.deafen(network.between(650, 1200));
  scheduler.after(network.between(60, 200), () => world.healNetwork());
}

function killAndRestart(world: World, member: SimMember, downMs: number): void {
  if (!member.isRunning) return;
  world.note(`kill ${member.id} for ${downMs.toFixed(1)} ms`);
  member.kill();
  world.scheduler.after(downMs, () => {
    if (!member.isRunning) startNoted(world, member);
  });
}

function startNoted(world: World, member: SimMember): void {
  world.note(`start ${member.id}`);
  member.start();
}

function cutSome(world: World, from: SimMember, to: SimMember, isEveryLink: boolean): void {
  const links = isEveryLink ? from.links : [from.links[world.random(from.links.length)] as number];
  world.note(`cut ${from.id} -> ${to.id} on ${links.join(", ")}`);
  for (const link of links) world.network.cut(from.id, to.id, link);
}

function drainOrRejoin(world: World, member: SimMember): void {
  const present = world.log.latest.members.find((m) => m.id === member.id);
  if (present === undefined || present.role === "witness") return;
  const state = present.state === "drained" ? "joining" : "draining";
  world.note(`${state} ${member.id}`);
  world.leader()?.propose({ type: "setState", node: member.id, state });
}

function healAll(world: World): void {
  const { weather } = world.network;
  world.note("all is healed");
  weather.lossP = 0;
  weather.duplicateP = 0;
  weather.delayMaxMs = 0.5;
  world.healNetwork();
  for (const m of world.members) {
    if (m.isRunning) m.resume();
    else startNoted(world, m);
  }
}

function pick(world: World, members: readonly SimMember[]): SimMember {
  return members[world.random(members.length)] as SimMember;
}
