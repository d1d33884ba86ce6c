/**
 * Faults of a trial: what can go wrong with one member, and when, drawn from the seed. Owns the kinds and their odds; how each is
 * done is cluster.ts, what must hold meanwhile is trial.ts.
 */
import type { Command } from "../../../cluster/control/model.ts";
import { LINKS, type Link } from "../../lab/topology.ts";
import type { SimCluster, Way } from "./cluster.ts";
import type { SimMember } from "./member.ts";
import { part, Replacements } from "./trial-changes.ts";

/** Faults that leave everything as it was once they are over. */
export const FAULTS = [
  "kill",
  "power",
  "tear",
  "pause",
  "pause-worker",
  "pause-main",
  "silence",
  "one-way",
  "cut-link",
  "cut-pair",
  "slow-disk",
  "full-disk",
  "broken-disk",
  "clock-jump",
  "drain",
  "rivals",
  "stalls",
  "part",
  "lose",
] as const;
export type Fault = (typeof FAULTS)[number];

/** How often each comes, relative to the others. */
export type Odds = Readonly<Record<Fault, number>>;
export const ODDS: Odds = {
  kill: 16,
  power: 10,
  tear: 6,
  pause: 12,
  "pause-worker": 8,
  "pause-main": 8,
  silence: 8,
  "one-way": 10,
  "cut-link": 6,
  "cut-pair": 8,
  "slow-disk": 5,
  "full-disk": 3,
  "broken-disk": 2,
  "clock-jump": 2,
  drain: 4,
  rivals: 5,
  // Only where it is asked for.
  stalls: 0,
  part: 0,
  lose: 0,
};
/** Where members are to be parted and replaced. */
export const CHANGING_ODDS: Odds = { ...ODDS, part: 30, lose: 20, "cut-link": 2, drain: 6 };
const DAY_MS = 86_400_000;
/** A process that ended for a fault of its disk is started again, with a disk that works. */
const RESTART_MS = 60;
/** Of a worker that stops again and again: how long it stands still, how long it runs. */
const STALL_MS = [20, 50] as const;
const RUN_MS = [0.5, 10] as const;
/** How often an operator looks for drained nodes when all is healed. */
const BRING_BACK_MS = 200;

export function drawFault(random: (bound: number) => number, odds: Odds): Fault {
  let drawn = random(FAULTS.reduce((sum, fault) => sum + odds[fault], 0));
  for (const fault of FAULTS) {
    drawn -= odds[fault];
    if (drawn < 0) return fault;
  }
  return "kill";
}

export class TrialFaults {
  /** What was done, for whoever reads a failed seed. */
  readonly done: string[] = [];
  /** How many of each kind. */
  readonly counts: Partial<Record<Fault | "weather", number>> = {};
  readonly #cluster: SimCluster;
  readonly #odds: Odds;
  readonly #replacements: Replacements;
  /** Everything is over by then. */
  #untilMs = Number.POSITIVE_INFINITY;

  constructor(cluster: SimCluster, odds: Odds) {
    this.#cluster = cluster;
    this.#odds = odds;
    this.#replacements = new Replacements(cluster, (what) => this.#note(what));
  }

  /** Faults at moments of their own for `ms`. */
  storm(ms: number): void {
    const { clock } = this.#cluster;
    this.#untilMs = clock.nowMs() + ms;
    const gapMs = this.#between(15, 150);
    for (let at = this.#between(0, gapMs); at < ms; at += this.#between(0, 2 * gapMs)) {
      clock.after(at, () => this.#inStorm());
    }
  }

  /** One fault of one member, over after `ms`. */
  one(fault: Fault, member: SimMember, ms: number): void {
    const { clock } = this.#cluster;
    if (!member.isRunning || (fault === "lose" && !this.#canLose(member))) return;
    this.#note(`${fault} ${member.name} for ${ms.toFixed(1)} ms`);
    this.#count(fault);
    switch (fault) {
      case "kill":
      case "power":
        this.#cluster.kill(member.name, { isPowerLost: fault === "power" });
        this.#startIn(member, ms);
        return;
      case "tear":
        member.disk.tear(1 + this.#random(12));
        this.#startIn(member, ms + RESTART_MS);
        return;
      case "pause":
        this.#cluster.pause(member.name, ms);
        return;
      case "pause-worker":
      case "pause-main": {
        const thread = fault === "pause-main" ? member.life!.main : member.life!.worker;
        thread.pause();
        clock.after(ms, () => {
          if (!thread.isOver) thread.resume();
        });
        return;
      }
      case "silence":
        this.#cut(member, "all", "both", ms);
        return;
      case "one-way":
        this.#cut(member, this.#random(2) === 0 ? "all" : this.#link(member), this.#oneWay(), ms);
        return;
      case "cut-link":
        this.#cut(member, this.#link(member), "both", ms);
        return;
      case "cut-pair":
        this.#cutPair(member, ms);
        return;
      case "slow-disk":
        member.disk.syncMs = this.#between(1, 60);
        clock.after(ms, () => member.disk.repair());
        return;
      case "full-disk":
        member.disk.isFull = true;
        this.#startIn(member, ms + RESTART_MS);
        return;
      case "broken-disk":
        member.disk.isBroken = true;
        this.#startIn(member, ms + RESTART_MS);
        return;
      case "clock-jump":
        member.clocks.wallAheadMs += this.#between(-DAY_MS, DAY_MS);
        return;
      case "drain":
        this.#drain(member, ms);
        return;
      case "rivals":
        this.#rivals(member);
        return;
      case "stalls":
        this.#stalls(member, ms);
        return;
      case "part":
        this.#part(ms);
        return;
      case "lose":
        this.#lose(member, ms);
        return;
      default:
        fault satisfies never;
    }
  }

  /** Everything works again: all members are started, all wires mended. */
  healAll(): void {
    const { clock, members, wires, network } = this.#cluster;
    this.#note("all is healed");
    this.#untilMs = clock.nowMs();
    wires.calm();
    this.#cluster.rpcMs.max = 0.4;
    for (const a of members) for (const b of members) network.setLoss(a.id, b.id, 0);
    this.#cluster.healAll();
    for (const member of members) {
      member.disk.repair();
      if (this.#canStart(member)) this.#start(member);
      this.#bringBack(member);
    }
    // A member that lagged behind hears of its drain only now, and an operator would not leave it there.
    clock.every(BRING_BACK_MS, () => {
      for (const member of this.#cluster.members) this.#bringBack(member);
    });
  }

  /** Loss, doubling, detours and delay, as drawn. */
  weather(): void {
    const { wires, rpcMs, members, network } = this.#cluster;
    const { weather } = wires;
    if (this.#chance(50)) weather.lostPpm = this.#random(120_000);
    if (this.#chance(40)) weather.duplicatedPpm = this.#random(150_000);
    if (this.#chance(40)) weather.reorderedPpm = this.#random(150_000);
    if (this.#chance(25)) weather.delayMsMax = this.#between(0.5, 6);
    if (this.#chance(25)) rpcMs.max = this.#between(0.5, 10);
    if (this.#chance(40)) {
      const loss = this.#random(150);
      for (const a of members) for (const b of members) network.setLoss(a.id, b.id, loss);
    }
    this.#count("weather");
    this.#note(`weather ${JSON.stringify(weather)}, replies within ${rpcMs.max.toFixed(1)} ms`);
  }

  #inStorm(): void {
    const { members, clock } = this.#cluster;
    const leftMs = this.#untilMs - clock.nowMs();
    if (leftMs <= 0) return;
    const member = this.#pick(members);
    const drawnMs = this.#chance(50) ? this.#between(1, 60) : this.#between(60, 400);
    const ms = Math.min(drawnMs, leftMs);
    if (this.#chance(12)) {
      this.#note("heal the network");
      this.#cluster.healAll();
      return;
    }
    this.one(drawFault(this.#random, this.#odds), member, ms);
    // Two at once: an owner and a voter, or its backup.
    if (this.#chance(15)) this.one(drawFault(this.#random, this.#odds), this.#pick(members), ms);
  }

  #cut(member: SimMember, link: Link | "all", way: Way, ms: number): void {
    this.#note(`  ${link}, ${way === "both" ? "both ways" : `${way} only`}`);
    this.#cluster.cut(member.name, link, way);
    this.#cluster.clock.after(ms, () => this.#cluster.heal(member.name));
  }

  /** Two members do not hear each other, or one of them does not hear the other; everybody else hears both. */
  #cutPair(member: SimMember, ms: number): void {
    const other = this.#pick(this.#cluster.members.filter((each) => each !== member));
    const isOneWay = this.#chance(50);
    const link = this.#chance(50) ? "all" : this.#link(member);
    this.#note(`  ${isOneWay ? "towards" : "with"} ${other.name}, ${link}`);
    this.#cluster.clock.after(ms, part(this.#cluster, [[member], [other]], { link, isOneWay }));
  }

  #drain(member: SimMember, ms: number): void {
    if (!member.isNode) return;
    this.#setState(member, "draining");
    this.#cluster.clock.after(ms, () => this.#bringBack(member));
  }

  /** A node and another do not hear each other, and the workers of all others stop for a moment again and again, in the middle of a turn. */
  #stalls(member: SimMember, ms: number): void {
    const { clock, members } = this.#cluster;
    const other = this.#pick(members.filter((each) => each !== member));
    this.#note(`  with ${other.name}`);
    const heal = part(this.#cluster, [[member], [other]], { link: "all", isOneWay: false });
    const untilMs = clock.nowMs() + ms;
    for (const { life } of members.filter((each) => each !== member && each !== other)) {
      const { worker } = life!;
      const stall = (): void => {
        if (worker.isOver || clock.nowMs() > untilMs) return;
        worker.pause();
        clock.after(this.#between(...STALL_MS), () => {
          if (!worker.isOver) worker.resume(true);
          clock.after(this.#between(...RUN_MS), stall);
        });
      };
      stall();
    }
    clock.after(ms, heal);
  }

  /** Two groups, on all links or on that of the cluster. */
  #part(ms: number): void {
    const { members, clock } = this.#cluster;
    const first = this.#pick(members);
    const other = this.#pick(members.filter((each) => each !== first));
    const far = members.filter((each) => each === other || (each !== first && this.#chance(50)));
    const near = members.filter((each) => !far.includes(each));
    const isOneWay = this.#chance(25);
    const link = this.#chance(60) ? "all" : "cluster";
    const names = [near, far].map((group) => group.map(({ name }) => name).join(" "));
    this.#note(`  ${names.join(isOneWay ? " > " : " | ")}, ${link}`);
    clock.after(ms, part(this.#cluster, [near, far], { link, isOneWay }));
  }

  /** A node's disk is gone for good; or everybody thinks so, and the node is only cut off. */
  #lose(member: SimMember, ms: number): void {
    const isAlive = this.#chance(30);
    if (isAlive) this.#cut(member, "all", "both", ms);
    this.#replacements.lose(member, { isAlive });
  }

  /** Two members campaign in the same instant, as when the leadership was handed over to both. */
  #rivals(member: SimMember): void {
    const rival = this.#pick(this.#cluster.members.filter((each) => each !== member));
    this.#note(`  with ${rival.name}`);
    this.#cluster.campaign(member);
    this.#cluster.campaign(rival);
  }

  /** No fault: an operator gives a node more slots. */
  reweigh(member: SimMember): void {
    const weight = 2 + this.#random(2);
    this.#note(`${member.name} is given weight ${weight}`);
    this.#propose(member, { type: "weight", node: member.id, weight });
  }

  /** A node that was drained takes part again. */
  #bringBack(member: SimMember): void {
    const present = stateOf(member);
    if (present === "draining") this.#setState(member, "active");
    if (present === "drained") this.#setState(member, "joining");
  }

  #setState(member: SimMember, state: "draining" | "active" | "joining"): void {
    this.#propose(member, { type: "setState", node: member.id, state });
  }

  #propose({ life, running }: SimMember, command: Command): void {
    life?.run(() => {
      void running?.controller.propose(command).catch(() => undefined);
    });
  }

  #startIn(member: SimMember, ms: number): void {
    this.#cluster.clock.after(ms, () => {
      member.disk.repair();
      if (this.#canStart(member)) this.#start(member);
    });
  }

  #canLose(member: SimMember): boolean {
    return member.isNode && !this.#replacements.isLost(member) && this.#replacements.canSpare(member);
  }

  #canStart(member: SimMember): boolean {
    const { members } = this.#cluster;
    return !member.isRunning && members.includes(member) && this.#replacements.canStart(member);
  }

  #start(member: SimMember): void {
    this.#note(`start ${member.name}`);
    this.#cluster.start(member.name);
  }

  #link(member: SimMember): Link {
    return member.isNode ? LINKS[this.#random(LINKS.length)]! : "cluster";
  }

  #oneWay(): Way {
    return this.#random(2) === 0 ? "in" : "out";
  }

  #pick(members: readonly SimMember[]): SimMember {
    return members[this.#random(members.length)]!;
  }

  readonly #random = (bound: number): number => this.#cluster.random(bound);

  #chance(percent: number): boolean {
    return this.#random(100) < percent;
  }

  #between(low: number, high: number): number {
    return low + ((high - low) * this.#random(1_000_001)) / 1_000_000;
  }

  #count(fault: Fault | "weather"): void {
    this.counts[fault] = (this.counts[fault] ?? 0) + 1;
  }

  #note(what: string): void {
    this.done.push(`${this.#cluster.clock.nowMs().toFixed(3)} ${what}`);
  }
}

/** What the cluster thinks of a member, as far as the member knows. */
export function stateOf(member: SimMember): string {
  const state = member.running?.controller.driver.state();
  return state?.members.find(({ id }) => id === member.id)?.state ?? "unknown";
}
