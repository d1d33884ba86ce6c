/**
 * Pair keeper: a node's part in `quorum: pair`. Gathers what is known of the other node, has the dataplane probe it, and goes on
 * alone when the rule says so. Owns when to look and what is said about it; the rule is cluster/takeover/pair.ts.
 */
import type { ConfState } from "raft-ts";
import { type Claim, givesWay, isSameGeneration } from "../../cluster/control/generation.ts";
import type { Generations } from "../../cluster/control/generations.ts";
import { quorumOf } from "../../cluster/control/quorum.ts";
import type { Timers } from "../../cluster/control/timers.ts";
import type { LivenessEvent, LivenessProfile } from "../../cluster/liveness/model.ts";
import { judgePair, type PairVerdict, type PairWait, peerOf } from "../../cluster/takeover/pair.ts";
import type { Journal } from "./journal.ts";

export const PAIR_TICK_MS = 5;

/** What the worker has found out about a peer that it probes. */
export interface Probed {
  readonly node: number;
  /** A node that does not hear us may be heard. */
  readonly lastHeardMs: number;
  readonly probes: number;
  readonly probesHeard: number;
  readonly isAnswering: boolean;
  readonly isSpeaking: boolean;
}

export interface PairKeeperOptions {
  readonly self: number;
  readonly founders: readonly number[];
  readonly profile: LivenessProfile;
  /** How long a node that starts waits for the other one. */
  readonly startPatienceMs: number;
  readonly timers: Pick<Timers, "nowMs">;
  readonly driver: Pick<Generations, "state" | "force" | "release" | "isHeld" | "isYielding" | "generation">;
  readonly alive: () => ReadonlySet<number>;
  readonly isAdmitted: () => boolean;
  /** Has the dataplane probe a node, or stop that. */
  readonly probe: (node: number, isOn: boolean) => void;
  readonly journal: Pick<Journal, "add">;
  readonly nameOf: (id: number) => string;
}

export interface PairView {
  readonly isAlone: boolean;
  readonly isHeld: boolean;
  /** It was started, and has not met the other one. */
  readonly isWaiting: boolean;
  readonly why: PairWait | "force";
  readonly forced: number;
  readonly lost: number;
}

const NOTHING_PROBED = { probes: 0, probesHeard: 0, isAnswering: false, isSpeaking: false };

/** While these are waited for, or found out, the peer is probed. */
const PROBED: readonly PairWait[] = ["new", "speaks", "promise", "unproven", "probing", "answers", "deaf"];

/** What is worth a line, and what it says. */
const WAITS: Partial<Record<PairWait, (name: string) => string>> = {
  speaks: (name) =>
    `${name} is heard, but does not answer this node: it may have gone on alone, so this node does not`,
  answers: (name) =>
    `${name} is silent, but its machine answers ARP: it may still serve, so this node does not go on alone`,
  deaf: (name) => `${name} is silent, and so is everybody else: this node may be the one that is cut off`,
};

export class PairKeeper {
  readonly #options: PairKeeperOptions;
  readonly #startedMs: number;
  #lastHeardMs = Number.NEGATIVE_INFINITY;
  #isReleased = false;
  #probing = 0;
  #probed: Omit<Probed, "node" | "lastHeardMs"> = NOTHING_PROBED;
  #said: PairWait | undefined;
  #forced = 0;
  #lost = 0;

  constructor(options: PairKeeperOptions) {
    this.#options = options;
    this.#startedMs = options.timers.nowMs();
  }

  /**
   * Whether a node that starts has to wait: it was alone when it ended, so the other one may have gone on alone since, and whoever
   * serves wins.
   */
  isToWait({ voters, learners }: ConfState): boolean {
    return learners.length > 0 && voters.every((id) => id === this.#options.self);
  }

  /** For status and metrics. */
  get view(): PairView {
    const { self, founders, driver } = this.#options;
    const verdict = this.verdict;
    const state = driver.state();
    return {
      isAlone: state.forced !== undefined && quorumOf(state, founders).voters.every((id) => id === self),
      isHeld: verdict.type === "wait" && WAITS[verdict.why] !== undefined && !driver.isHeld,
      isWaiting: driver.isHeld,
      why: verdict.type === "wait" ? verdict.why : "force",
      forced: this.#forced,
      lost: this.#lost,
    };
  }

  /** This member gave way to another log. */
  gaveWay(): void {
    this.#lost++;
  }

  /** Why this node does not go on alone, or that it may. */
  get verdict(): PairVerdict {
    const { self, founders, profile, startPatienceMs, timers, driver, alive, isAdmitted } = this.#options;
    const state = driver.state();
    return judgePair({
      nowMs: timers.nowMs(),
      self,
      founders,
      state,
      leaseMs: profile.leaseMs,
      startPatienceMs,
      startedMs: this.#startedMs,
      isAdmitted: isAdmitted(),
      peer: {
        isHeard: alive().has(peerOf({ self, founders, state })),
        lastHeardMs: this.#lastHeardMs,
        isReleased: this.#isReleased,
        ...this.#probed,
      },
    });
  }

  onLiveness(event: LivenessEvent): void {
    if (event.type === "stalled" || event.node !== this.#peer()) return;
    if (event.type === "peerUp" || event.type === "linkUp") {
      this.#heardAt(event.atMs);
      if (event.type === "peerUp") this.#isReleased = false;
    } else if (event.type === "peerDown") {
      this.#heardAt(event.lastHeardMs);
      // A good-bye alone may be that of a node that hears nobody (Heartbeats.withdraw): it says in its claim that it stops.
      this.#isReleased ||= event.cause === "lifeline";
    } else if (event.type === "peerGone") {
      this.#isReleased = !this.#options.alive().has(event.node);
    }
    this.tick();
  }

  /** A message of the peer's control plane arrived. */
  heard(node: number): void {
    if (node === this.#peer()) this.#heardAt(this.#options.timers.nowMs());
  }

  probed({ node, lastHeardMs, ...found }: Probed): void {
    if (node !== this.#probing) return;
    this.#heardAt(lastHeardMs);
    this.#probed = found;
    this.#look(true);
  }

  /** What a member says about its log. */
  claimed(node: number, claim: Claim): void {
    const { driver, isAdmitted } = this.#options;
    if (node !== this.#peer()) return;
    if (claim.isStopped === true) {
      this.#isReleased = true;
      this.tick();
    }
    if (!driver.isHeld || claim.isStopped === true) return;
    const mine = { generation: driver.generation, isServing: isAdmitted() };
    if (isSameGeneration(mine.generation, claim.generation) || !givesWay(mine, claim)) driver.release();
  }

  tick(): void {
    const { driver, timers, startPatienceMs } = this.#options;
    if (driver.isHeld) {
      if (timers.nowMs() - Math.max(this.#startedMs, this.#lastHeardMs) >= startPatienceMs) driver.release();
      return;
    }
    this.#look(false);
  }

  /** `isFresh`: what the worker found out is as of now. Nothing is decided by less, unless there is no need of it. */
  #look(isFresh: boolean): void {
    const { isHeld, isYielding } = this.#options.driver;
    if (isHeld || isYielding) return;
    const verdict = this.verdict;
    this.#probe(verdict);
    if (verdict.type === "wait") this.#say(verdict.why, verdict.peer);
    else if (isFresh || this.#isReleased) this.#force(verdict.peer);
  }

  #force(peer: number): void {
    const { driver, journal, nameOf } = this.#options;
    const name = nameOf(peer);
    const why = this.#isReleased ? "its process is gone" : `${this.#probed.probes} ARP probes had no answer`;
    journal.add("forced", `${name} is silent on all links and ${why}: this node goes on alone, unwitnessed`, {
      node: peer,
      epoch: driver.state().table.epoch,
    });
    this.#said = undefined;
    if (driver.force(peer)) this.#forced++;
  }

  #probe({ type, peer, ...rest }: PairVerdict): void {
    const isOn = type === "force" || ("why" in rest && PROBED.includes(rest.why));
    const probing = isOn ? peer : 0;
    if (probing === this.#probing) return;
    if (this.#probing !== 0) this.#options.probe(this.#probing, false);
    this.#probing = probing;
    this.#probed = NOTHING_PROBED;
    if (probing !== 0) this.#options.probe(probing, true);
  }

  #say(why: PairWait, peer: number): void {
    if (why === this.#said) return;
    this.#said = why;
    const text = WAITS[why]?.(this.#options.nameOf(peer));
    if (text !== undefined) this.#options.journal.add("forced", text, { node: peer });
  }

  #heardAt(atMs: number): void {
    this.#lastHeardMs = Math.max(this.#lastHeardMs, atMs);
  }

  #peer(): number {
    const { self, founders, driver } = this.#options;
    return peerOf({ self, founders, state: driver.state() }) || 0;
  }
}
