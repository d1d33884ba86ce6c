/**
 * Changes of voters in the ownership simulator: the hurried stand-in for node/quorum-keeper.ts, and the one fault that random
 * ones hardly ever make: the voters shrink to a minority, and then those are cut off from the others, among them an owner
 * that has not heard of it.
 */
import type { ClusterState } from "../../cluster/control/model.ts";
import { planQuorum, quorumOf } from "../../cluster/control/quorum.ts";
import { DEFAULT_MARGIN_MS, DRIFT } from "../../cluster/takeover/timing.ts";
import type { World } from "./ownership.ts";
import type { SimMember } from "./ownership-member.ts";

/** Well below a real quorum.forgiveAfter, so that a run sees many changes. */
const FORGIVE_MS = 60;
const POLL_MS = 2;
const POLLS_MAX = 200;

/** What one member does about voters, in one life. */
export class SimQuorumKeeper {
  readonly #world: World;
  readonly #self: SimMember;
  readonly #silentSinceMs = new Map<number, number>();
  #seen: ClusterState["quorum"];
  #seenSinceMs = 0;

  constructor(world: World, self: SimMember) {
    this.#world = world;
    this.#self = self;
  }

  /** `knownEpoch`: whose voters the authority goes by; `alive`: whom it hears. */
  act(state: ClusterState, knownEpoch: number, alive: ReadonlySet<number>): void {
    const { options, network, voters: founders, scheduler, wantedVoters } = this.#world;
    const self = this.#self;
    const { quorum } = state;
    if (quorum !== undefined && quorum.epoch === knownEpoch && !quorum.known.includes(self.id)) {
      self.propose({ type: "votersKnown", node: self.id, epoch: quorum.epoch });
    }
    if (this.#world.leader() !== self) {
      this.#seen = undefined;
      return;
    }
    const nowMs = self.localMs();
    if (quorum !== this.#seen) {
      this.#seen = quorum;
      this.#seenSinceMs = nowMs;
    }
    const present = new Set([...alive, self.id]);
    const away = new Set<number>();
    for (const id of founders) {
      if (present.has(id)) this.#silentSinceMs.delete(id);
      else if (!this.#silentSinceMs.has(id)) this.#silentSinceMs.set(id, nowMs);
      const isSilent = nowMs - (this.#silentSinceMs.get(id) ?? nowMs) > FORGIVE_MS;
      const isUnlucky = scheduler.nowMs < options.faultsUntilMs && network.chance(0.02);
      if (isSilent || isUnlucky || wantedVoters?.includes(id) === false) away.add(id);
    }
    const heard = new Set(present);
    for (const id of away) present.delete(id);
    const isRash = options.bug === "rash-step";
    if (isRash && quorum !== undefined) {
      for (const node of founders) self.propose({ type: "votersKnown", node, epoch: quorum.epoch });
    }
    const isCalm = isRash || nowMs - this.#seenSinceMs >= options.profile.leaseMs * DRIFT + DEFAULT_MARGIN_MS;
    const next = planQuorum(state, { self: self.id, founders, away, heard, present, isCalm });
    if (next !== undefined) self.propose(next);
  }
}

/**
 *   voters {1..5}, 5 is deaf --> {1, 2}          and then, either way, 5 still has 3 and 4 to acknowledge it by {1..5}
 *   over: cut {1, 2} | {3, 4, 5}                 under way: 3 and 4 become deaf, cut {1, 2} | {5}
 */
export function shrinkAndPart(world: World): void {
  const { network, log, scheduler } = world;
  const leader = world.leader();
  const { voters, outgoing } = quorumOf(log.latest, world.voters);
  if (leader === undefined || !voters.includes(leader.id) || outgoing.length > 0 || voters.length < 3) return;
  const others = voters.filter((id) => id !== leader.id);
  const minority = [leader.id, ...others.slice(0, Math.floor((voters.length - 1) / 2) - 1)];
  const rest = voters.filter((id) => !minority.includes(id)).map((id) => world.member(id));
  const victim = rest.findLast(({ role }) => role === "node");
  if (victim === undefined) return;
  const isEarly = network.chance(0.5);
  world.note(`voters shrink to ${minority}, ${victim.id} is deaf`);
  victim.deafen(500);
  world.wantedVoters = minority;
  const part = (): void => {
    const lost = isEarly ? [victim] : rest;
    world.note(`part ${minority} from ${lost.map(({ id }) => id)}`);
    if (isEarly) for (const member of rest) if (member !== victim) member.deafen(500);
    for (const one of lost) {
      for (const id of minority) {
        for (const link of one.links) {
          network.cut(one.id, id, link);
          network.cut(id, one.id, link);
        }
      }
    }
    scheduler.after(network.between(150, 300), () => {
      world.wantedVoters = undefined;
      world.healNetwork();
    });
  };
  const poll = (left: number): void => {
    const now = quorumOf(log.latest, world.voters);
    const isThere = now.voters.every((id) => minority.includes(id)) && now.outgoing.length > 0 === isEarly;
    if (isThere) part();
    else if (left > 0) scheduler.after(POLL_MS, () => poll(left - 1));
    else world.wantedVoters = undefined;
  };
  poll(POLLS_MAX);
}
