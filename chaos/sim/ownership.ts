/**
 * Ownership simulator: the rules of liveness, leases, fences and ownership in a whole cluster, from one seed, in virtual
 * time. The members run the real Authority on clocks that drift; Raft is a linearizable log (ownership-log.ts).
 *
 * Checked: exclusive times of one slot (engine says OWNED, lease valid) never overlap between two processes, at every event
 * on true time; and after all faults are healed every slot gets exactly one exclusive owner in bounded time.
 */
import type { Command } from "../../cluster/control/model.ts";
import { quorumOf } from "../../cluster/control/quorum.ts";
import type { LivenessEvent } from "../../cluster/liveness/model.ts";
import { type LivenessProfile, PROFILES } from "../../cluster/liveness/model.ts";
import type { AuthorityEffect } from "../../cluster/takeover/authority.ts";
import { seededRandom } from "../../src/base/env.ts";
import type { Bug } from "./ownership-bugs.ts";
import { scheduleFaults } from "./ownership-faults.ts";
import { SimLog } from "./ownership-log.ts";
import { SimMember } from "./ownership-member.ts";
import { SimNetwork } from "./ownership-network.ts";
import { Scheduler } from "./scheduler.ts";

export interface SimOptions {
  readonly seed: number;
  readonly slots: number;
  readonly profile: LivenessProfile;
  /** Faults happen between these true times; then the cluster has `healMs` to recover. */
  readonly faultsFromMs: number;
  readonly faultsUntilMs: number;
  readonly healMs: number;
  readonly bug?: Bug;
  /** Who votes changes all the time: members that are silent lose their vote soon, and some that are not. */
  readonly areVotersChanging?: boolean;
  /** Once, who asks for a fence sleeps until it has lapsed; see ownership-sleep.ts. */
  readonly areAskersSleeping?: boolean;
  /** Takes every event, for a replay. */
  readonly trace?: (line: string) => void;
}

export interface SimResult {
  readonly seed: number;
  readonly nodes: number;
  readonly commits: number;
  readonly epoch: number;
  /** From the end of the faults until every slot had one settled, exclusive owner; the bound when it never happened. */
  readonly recoveredMs: number;
  /** Undefined: all rules held. */
  readonly violation?: string;
}

const RECOVERY_CHECK_MS = 20;

export const DEFAULT_SIM = {
  slots: 8,
  profile: PROFILES.lan,
  faultsFromMs: 300,
  faultsUntilMs: 1000,
  healMs: 1600,
} as const;

/** Until everybody is awake again, and heard what happened meanwhile. */
export const SLEEP_SIM = { areAskersSleeping: true, faultsUntilMs: 1700 } as const;

/** Runs one seed to its end or to the first violation. */
export function simulateOwnership(options: SimOptions): SimResult {
  const world = new World(options);
  return world.run();
}

export class World {
  readonly options: SimOptions;
  readonly random: (bound: number) => number;
  readonly scheduler = new Scheduler();
  readonly network: SimNetwork;
  readonly log: SimLog;
  readonly members: SimMember[] = [];
  readonly voters: number[];
  /** Whoever is not among them shall not vote, if the leader is asked; see ownership-voters.ts. */
  wantedVoters: readonly number[] | undefined;
  #violation: string | undefined;
  #recoveredMs: number | undefined;
  #leader: SimMember | undefined;

  constructor(options: SimOptions) {
    this.options = options;
    this.random = seededRandom(options.seed * 7919 + 17);
    this.network = new SimNetwork(this.scheduler, this.random);
    this.log = new SimLog(options.slots);
    const nodes = 2 + this.random(4);
    const zones = 1 + this.random(2);
    const links = Array.from({ length: 1 + zones }, (_, i) => i);
    for (let id = 1; id <= nodes; id++) this.members.push(new SimMember(this, id, "node", links));
    // An even number of voters would only waste one: the witness joins pairs, and sometimes more.
    if (nodes % 2 === 0 || this.network.chance(0.3)) {
      this.members.push(new SimMember(this, nodes + 1, "witness", [0]));
    }
    this.voters = this.members.map((m) => m.id);
  }

  run(): SimResult {
    const { faultsFromMs, faultsUntilMs, healMs, seed } = this.options;
    for (const m of this.members) m.start();
    this.#spreadNews();
    scheduleFaults(this, faultsFromMs, faultsUntilMs);
    const endMs = faultsUntilMs + healMs;
    this.#watchRecovery(faultsUntilMs + RECOVERY_CHECK_MS);
    while (this.#violation === undefined && this.#recoveredMs === undefined && this.scheduler.step(endMs));
    this.#violation ??= this.#recoveredMs === undefined ? this.#undecided() : undefined;
    return {
      seed,
      nodes: this.members.length,
      commits: this.log.length,
      epoch: this.log.latest.table.epoch,
      recoveredMs: (this.#recoveredMs ?? endMs) - faultsUntilMs,
      ...(this.#violation === undefined ? {} : { violation: this.#violation }),
    };
  }

  member(id: number): SimMember {
    return this.members[id - 1] as SimMember;
  }

  /** The member whose planner speaks: whoever was it last, as long as it reaches a majority. */
  leader(): SimMember | undefined {
    const last = this.#leader;
    if (last !== undefined && this.hasQuorum(last)) return last;
    this.#leader = this.members.find((m) => this.hasQuorum(m));
    return this.#leader;
  }

  /** `m` reaches a majority of those who decide what is committed, there and back; Raft follows when a change is over. */
  hasQuorum(m: SimMember): boolean {
    const { voters, outgoing } = quorumOf(this.log.latest, this.voters);
    return this.#reachesMajority(m, outgoing.length > 0 ? outgoing : voters);
  }

  #reachesMajority(m: SimMember, voters: readonly number[]): boolean {
    const reached = voters.filter((id) => this.#isConnected(m, this.member(id)));
    return 2 * reached.length > voters.length;
  }

  propose(by: SimMember, command: Command): void {
    if (!this.hasQuorum(by)) return;
    const { life } = by;
    const isSlow = this.scheduler.nowMs < this.options.faultsUntilMs && this.network.chance(0.05);
    const delayMs = isSlow ? this.network.between(4, 80) : this.network.between(0.5, 4);
    this.scheduler.after(delayMs, () => {
      // The proposer may have died meanwhile: somebody else's majority may still commit it.
      const committer = by.isRunning && by.life === life ? by : this.leader();
      if (committer === undefined || !this.hasQuorum(committer)) return;
      if (this.log.commit(by.id, life, command))
        this.note(`commit ${this.log.length}: ${command.type} by ${by.id}`);
    });
  }

  /**
   * The stream of changes: what did not get through is kept and sent again once the peer can be reached, as sender.ts and
   * router.ts do; only the end of the process that has it ends that.
   */
  sendBarrier(from: SimMember, to: number, slot: number, epoch: number): void {
    const target = this.member(to);
    const { life } = from;
    const send = (): void => {
      if (!from.isRunning || from.life !== life) return;
      const isConnected = this.network.passes(from.id, to, 0) && this.network.passes(to, from.id, 0);
      if (!isConnected || !target.isRunning || from.isPaused) {
        this.scheduler.after(this.network.between(2, 20), send);
        return;
      }
      target.whenAwake(target.life, () =>
        target.authority.barrierApplied(from.id, slot, epoch, target.localMs()),
      );
    };
    this.scheduler.after(this.network.between(0.2, 3), send);
  }

  healNetwork(): void {
    this.note("heal the network");
    this.network.heal();
  }

  /** Whether `touched` now shares an exclusive slot with another process. Called after everything that a member does. */
  check(touched: SimMember): void {
    for (let s = 0; s < this.options.slots; s++) {
      if (!touched.isExclusive(s)) continue;
      for (const other of this.members) {
        if (other === touched || !other.isExclusive(s)) continue;
        this.#violation ??= `at ${this.scheduler.nowMs.toFixed(3)} ms nodes ${touched.id} and ${other.id} both decide slot ${s}`;
      }
    }
  }

  note(text: string): void {
    this.options.trace?.(`${this.scheduler.nowMs.toFixed(3).padStart(9)} ${text}`);
  }

  trace(m: SimMember, what: LivenessEvent | AuthorityEffect): void {
    this.options.trace?.(
      `${this.scheduler.nowMs.toFixed(3).padStart(9)} node ${m.id} (life ${m.life}, epoch ${m.authority?.ownership.epoch}): ${JSON.stringify(what)}`,
    );
  }

  /** Every member learns of commits by itself, now and then very late, as long as it hears anybody who knows more. */
  #spreadNews(): void {
    for (const m of this.members) {
      const again = (): void => {
        const isTold = this.members.some((o) => o !== m && this.#isConnected(m, o) && o.applied > m.applied);
        if (m.isRunning && (isTold || this.hasQuorum(m))) m.whenAwake(m.life, () => m.learn());
        const isLate = this.scheduler.nowMs < this.options.faultsUntilMs && this.network.chance(0.01);
        this.scheduler.after(isLate ? this.network.between(20, 250) : this.network.between(0.2, 3), again);
      };
      this.scheduler.after(this.network.between(0, 3), again);
    }
  }

  #isConnected(a: SimMember, b: SimMember): boolean {
    if (!a.isRunning || !b.isRunning || a.isPaused || b.isPaused) return false;
    return a === b || (this.network.passes(a.id, b.id, 0) && this.network.passes(b.id, a.id, 0));
  }

  #watchRecovery(atMs: number): void {
    this.scheduler.at(atMs, () => {
      if (this.#undecided() === undefined) this.#recoveredMs = this.scheduler.nowMs;
      else this.#watchRecovery(atMs + RECOVERY_CHECK_MS);
    });
  }

  /** A slot without exactly one exclusive, settled owner, in words. */
  #undecided(): string | undefined {
    const { table } = this.log.latest;
    for (let s = 0; s < this.options.slots; s++) {
      const deciders = this.members.filter((m) => m.isExclusive(s)).map((m) => m.id);
      if (deciders.length === 1 && deciders[0] === table.owner[s] && table.awaiting[s]?.length === 0)
        continue;
      return `after healing slot ${s} belongs to ${table.owner[s]} (awaiting ${table.awaiting[s]}), decided by [${deciders}]`;
    }
    return undefined;
  }
}
