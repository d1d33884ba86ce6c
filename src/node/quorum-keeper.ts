/**
 * Quorum keeper: a member's part in who votes. Tells the cluster which voters it goes by; while it leads, it proposes other
 * voters when members went or came back, and lets Raft follow. Owns when; what is right is cluster/control/quorum.ts and
 * conf-plan.ts.
 */
import { planConfChange } from "../../cluster/control/conf-plan.ts";
import type { DriverStatus } from "../../cluster/control/control-driver.ts";
import type { ClusterState, Command, CommandResult } from "../../cluster/control/model.ts";
import { isDispensable, membersOf, planQuorum, quorumOf } from "../../cluster/control/quorum.ts";
import type { Timers } from "../../cluster/control/timers.ts";
import { DEFAULT_MARGIN_MS, DRIFT, QUIET_LEASES } from "../../cluster/takeover/timing.ts";
import { SynwallError } from "../base/errors.ts";

/** Entries that a member may lack and still count as one that holds the log: what is under way at any moment. */
const BEHIND_MAX = 64;

export interface QuorumKeeperOptions {
  readonly self: number;
  /** Voters that the log was begun with. */
  readonly founders: readonly number[];
  /** The log is in a store of the site, which votes too. */
  readonly hasStore: boolean;
  readonly leaseMs: number;
  /** A voter that was silent for so long does not vote until it is back. */
  readonly forgiveAfterMs: number;
  /** See QuorumFacts. */
  readonly isPair?: boolean;
  readonly timers: Pick<Timers, "nowMs">;
  readonly driver: {
    state(): ClusterState;
    status(): DriverStatus;
    proposeConfChange(change: NonNullable<ReturnType<typeof planConfChange>>): void;
  };
  readonly alive: () => ReadonlySet<number>;
  readonly propose: (command: Command) => Promise<CommandResult>;
}

export class QuorumKeeper {
  readonly #options: QuorumKeeperOptions;
  readonly #silentSinceMs = new Map<number, number>();
  /** Since when this member, as leader, knows a member in its present life. */
  readonly #lives = new Map<number, { readonly life: number; readonly sinceMs: number }>();
  /** The epoch whose voters this member's authority goes by. */
  #knownEpoch = 0;
  #isProposing = false;
  #isTelling = false;
  /** What this member, as leader, looks at, and since when it is so. */
  #seen = "";
  #seenSinceMs = 0;

  constructor(options: QuorumKeeperOptions) {
    this.#options = options;
  }

  /** This member's authority goes by the voters of `epoch`. */
  known(epoch: number): void {
    this.#knownEpoch = epoch;
    this.#tell();
  }

  /** Leases and Raft have majorities that this member hears when `node` is gone. */
  canSpare(node: number): boolean {
    const { driver, founders, alive } = this.#options;
    const { voters, outgoing } = quorumOf(driver.state(), founders);
    const { confState } = driver.status();
    return isDispensable(node, [voters, outgoing, confState.voters, confState.votersOutgoing], alive());
  }

  /** Every now and then, and cheaply. */
  tick(): void {
    const { driver, self } = this.#options;
    this.#tell();
    const status = driver.status();
    if (status.lead !== self || status.state !== "leader") {
      this.#silentSinceMs.clear();
      this.#seen = "";
      return;
    }
    this.#watchSilence();
    this.#lead(status);
  }

  #lead(status: DriverStatus): void {
    const { driver, self, founders, hasStore, leaseMs, timers, alive, isPair = false } = this.#options;
    const state = driver.state();
    const nowMs = timers.nowMs();
    const { epoch, known } = quorumOf(state, founders);
    const seen = `${status.term} ${epoch} ${known}`;
    if (seen !== this.#seen) {
      this.#seen = seen;
      this.#seenSinceMs = nowMs;
    }
    const others = alive();
    const present = new Set([self]);
    const promising = new Set([self]);
    for (const id of others) {
      const isPromising = this.#isPromising(id, nowMs);
      if ((status.matches.get(id) ?? -1) < status.commit - BEHIND_MAX) continue;
      // Of two voters both are needed.
      if (isPromising || !isPair) present.add(id);
      if (isPromising) promising.add(id);
    }
    const facts = {
      self,
      founders,
      hasStore,
      away: this.#away(nowMs),
      heard: new Set([self, ...others]),
      present,
      promising,
      isPair,
      isCalm: nowMs - this.#seenSinceMs >= leaseMs * DRIFT + DEFAULT_MARGIN_MS,
    };
    void this.#propose(planQuorum(state, facts));
    const change = planConfChange(state, founders, status.confState);
    if (change !== undefined) driver.proposeConfChange(change);
  }

  /** It was let in, and is past the time in which whoever starts promises nothing. */
  #isPromising(id: number, nowMs: number): boolean {
    const { driver, leaseMs } = this.#options;
    const member = driver.state().members.find((each) => each.id === id);
    const life = member?.state === "down" ? 0 : (member?.incarnation ?? 0);
    if (this.#lives.get(id)?.life !== life) this.#lives.set(id, { life, sinceMs: nowMs });
    if (life === 0) return false;
    return nowMs - (this.#lives.get(id)?.sinceMs ?? nowMs) >= 2 * QUIET_LEASES * leaseMs;
  }

  #watchSilence(): void {
    const { driver, founders, timers, alive, self } = this.#options;
    const heard = alive();
    for (const id of membersOf(driver.state(), founders)) {
      if (id === self || heard.has(id)) this.#silentSinceMs.delete(id);
      else if (!this.#silentSinceMs.has(id)) this.#silentSinceMs.set(id, timers.nowMs());
    }
  }

  #away(nowMs: number): ReadonlySet<number> {
    const { forgiveAfterMs } = this.#options;
    const away = [...this.#silentSinceMs].filter(([, sinceMs]) => nowMs - sinceMs >= forgiveAfterMs);
    return new Set(away.map(([id]) => id));
  }

  async #propose(command: Command | undefined): Promise<void> {
    if (command === undefined || this.#isProposing) return;
    this.#isProposing = true;
    try {
      await settled(this.#options.propose(command));
    } finally {
      this.#isProposing = false;
    }
  }

  #tell(): void {
    const { self, driver } = this.#options;
    const { quorum } = driver.state();
    if (quorum === undefined || quorum.epoch !== this.#knownEpoch || quorum.known.includes(self)) return;
    if (this.#isTelling) return;
    this.#isTelling = true;
    const told = settled(this.#options.propose({ type: "votersKnown", node: self, epoch: quorum.epoch }));
    void told.finally(() => {
      this.#isTelling = false;
    });
  }
}

/** What nobody decided is proposed again at the next tick. */
async function settled(answer: Promise<unknown>): Promise<void> {
  try {
    await answer;
  } catch (error) {
    if (!(error instanceof SynwallError)) throw error;
  }
}
