/**
 * Planted bugs: each breaks one rule of takeover in a running simulation, so that the checker proves that it would notice.
 * Owns the list; none of it is reachable outside the simulator.
 */
import type { FenceState } from "../../cluster/takeover/promise.ts";
import { DRIFT } from "../../cluster/takeover/timing.ts";
import type { World } from "./ownership.ts";
import type { SimMember } from "./ownership-member.ts";

export const BUGS = [
  /** The lease counts from the receipt of the acknowledgements. */
  "lease-from-ack",
  /** A restarted voter does not assume that leases are out. */
  "forgotten-promise",
  /** The new owner acts when a majority refuses the old one, without waiting for the promises. */
  "gain-at-once",
  /** The old owner sends its barrier before its engine has stopped. */
  "late-stop",
  /** A fenced node is acknowledged all the same. */
  "toothless-fence",
  /** A voter acknowledges a life that the cluster has replaced. */
  "ageless-voter",
  /** A voter dates its promise by the begin of a turn that it spent standing still. */
  "backdated-promise",
] as const;

/** Those that need voters that change. */
export const QUORUM_BUGS = [
  /** A voter acknowledges holders that count by earlier voters. */
  "timeless-voter",
  /** Who asks for a fence counts the new voters alone while they follow the old ones. */
  "hasty-asker",
  /** The leader takes the next step before anybody said that it knows the present one. */
  "rash-step",
] as const;

/** Those that need askers that sleep. */
export const SLEEP_BUGS = [
  /** A fence that lapsed and is set up again bites at once. */
  "endless-fence",
] as const;

export type Bug = (typeof BUGS)[number] | (typeof QUORUM_BUGS)[number] | (typeof SLEEP_BUGS)[number];

/** How long a worker stands still in the middle of a turn. */
const STALL_MS = 15;

export function plantBug(bug: Bug, member: SimMember, world: World): void {
  const { authority } = member;
  const { voter, lease, fences } = authority;
  const { leaseMs } = world.options.profile;
  switch (bug) {
    case "lease-from-ack": {
      let untilMs = Number.NEGATIVE_INFINITY;
      const ack = lease.ack.bind(lease);
      lease.ack = (...args) => {
        const before = lease.validUntilMs;
        ack(...args);
        if (lease.validUntilMs > before) untilMs = member.localMs() + leaseMs;
      };
      member.leaseUntilMs = () => untilMs;
      return;
    }
    case "forgotten-promise": {
      const promised = new Map<number, number>();
      const request = voter.request.bind(voter);
      voter.request = (node, epoch, incarnation, nowMs) => {
        const isGiven = request(node, epoch, incarnation, nowMs);
        if (isGiven) promised.set(node, nowMs + leaseMs * DRIFT + 2);
        return isGiven;
      };
      const fence = voter.fence.bind(voter);
      voter.fence = (node, epoch, nowMs): FenceState => ({
        ...fence(node, epoch, nowMs),
        remainingMs: Math.max(0, (promised.get(node) ?? 0) - nowMs),
      });
      return;
    }
    case "gain-at-once":
      fences.isFenced = (node, epoch, nowMs) =>
        fences.fencedAtMs(node, epoch, nowMs) < Number.POSITIVE_INFINITY;
      return;
    case "timeless-voter":
      voter.setQuorum = () => {};
      return;
    case "hasty-asker": {
      const setVoters = fences.setVoters.bind(fences);
      fences.setVoters = (sets) => setVoters(sets.slice(0, 1));
      return;
    }
    case "rash-step":
      // ownership-voters.ts looks at the option itself.
      return;
    case "late-stop":
      // ownership-member.ts looks at the option itself.
      return;
    case "toothless-fence": {
      const request = voter.request.bind(voter);
      voter.request = (node, epoch, incarnation, nowMs) =>
        request(node, epoch, incarnation, nowMs) || voter.isFenced(node, nowMs);
      return;
    }
    case "ageless-voter": {
      const request = voter.request.bind(voter);
      voter.request = (node, epoch, _incarnation, nowMs) =>
        request(node, epoch, Number.POSITIVE_INFINITY, nowMs);
      return;
    }
    case "backdated-promise": {
      const request = voter.request.bind(voter);
      voter.request = (node, epoch, incarnation, nowMs) =>
        request(node, epoch, incarnation, nowMs - STALL_MS);
      return;
    }
    case "endless-fence": {
      const outMs = new Map<string, number>();
      const reply = fences.reply.bind(fences);
      fences.reply = (by, answer, nowMs) => {
        const key = `${by} ${answer.node} ${answer.epoch}`;
        const earliestMs = Math.min(
          outMs.get(key) ?? Number.POSITIVE_INFINITY,
          nowMs + answer.remainingMs * DRIFT + 2,
        );
        outMs.set(key, earliestMs);
        reply(by, { ...answer, remainingMs: Math.max(0, earliestMs - nowMs) }, nowMs);
      };
      return;
    }
    default:
      bug satisfies never;
  }
}
