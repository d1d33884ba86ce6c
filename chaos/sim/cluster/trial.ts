/**
 * Trial: one cluster of real nodes, from its first start through trouble to its rest, from one seed; and every rule that must hold
 * meanwhile. Owns the story and the verdict; rules are check-*.ts, trouble is trial-faults.ts, traffic trial-traffic.ts.
 *
 *   start -> settled -> flows stand -> trouble -> all is healed -> settled, flows stand, copies alike, logs agree
 */
import { SynwallError } from "../../../src/base/errors.ts";
import type { JournalEvent } from "../../../src/node/admin-model.ts";
import type { Controller } from "../../../src/node/controller.ts";
import { isSettled } from "../../../src/node/status.ts";
import { LAB_FEATURES } from "../../lab/features.ts";
import type { Bug } from "./bugs.ts";
import { LogCheck } from "./check-log.ts";
import { OwnerCheck } from "./check-owners.ts";
import { CLOSED_PORT, WireCheck } from "./check-wire.ts";
import { CommitWatch, sharedTuples, unlikeReplicas } from "./checks.ts";
import { SimCluster } from "./cluster.ts";
import { plugHosts } from "./hosts.ts";
import { CRAMPED_SIZES, SMALL_SIZES } from "./sizes.ts";
import { CHANGING_ODDS, drawFault, ODDS, stateOf, TrialFaults } from "./trial-faults.ts";
import { planTrial, type Scene, type TrialPlan } from "./trial-plan.ts";
import { type TrialFlow, type TrialLoad, TrialTraffic } from "./trial-traffic.ts";

const LOAD: TrialLoad = { flows: 4, askIntervalMs: 50, visitIntervalMs: 40, deniedIntervalMs: 50 };
const FLOWS_MAX = 512;
const SLOTS = 16;
const POLL_MS = 10;
/** From an operator's command to the fault: slots get other backups, then other owners, a few at a time. */
const MOVING_MS_MAX = 80;
/** So many flows begin meanwhile. */
const LATE_FLOWS = 4;
const HURRIED_SPREAD_MS = 3;
/** Of a trial in which voters change: a few times as long as it takes to find out that somebody is gone. */
const FORGIVE_AFTER_MS = 150;
/** How long what must happen in the end may take. */
const SETTLE_MS_MAX = 12_000;
const FLOWS_MS_MAX = 8_000;
const ALIKE_MS_MAX = 12_000;

export interface TrialOptions {
  readonly seed: number;
  /** Small clusters and little trouble. */
  readonly isBrief?: boolean | undefined;
  readonly bug?: Bug | undefined;
  readonly isMixed?: boolean | undefined;
  readonly scene?: Scene | undefined;
  /** Hears every entry of every journal, in true time. */
  readonly onEvent?: (trueMs: number, member: string, event: JournalEvent) => void;
  readonly onLog?: (trueMs: number, member: string, level: string, text: string) => void;
}

export interface TrialReport {
  readonly plan: TrialPlan;
  /** Rules that were broken; empty when all held. */
  readonly findings: readonly string[];
  readonly faults: readonly string[];
  readonly faultCounts: Readonly<Record<string, number>>;
  /** Of all events of the trial. */
  readonly digest: string;
  readonly virtualMs: number;
  /** From the end of the trouble until the cluster was whole. */
  readonly recoveredMs: number;
  readonly counts: {
    readonly takeovers: number;
    readonly fenced: number;
    readonly committed: number;
    readonly flows: number;
    readonly looked: number;
    readonly watched: number;
    readonly answers: number;
    readonly denied: number;
  };
}

export async function runTrial(options: TrialOptions): Promise<TrialReport> {
  return new Trial(options).run();
}

class Trial {
  readonly #plan: TrialPlan;
  readonly #cluster: SimCluster;
  readonly #traffic: TrialTraffic;
  readonly #faults: TrialFaults;
  readonly #owners: OwnerCheck;
  readonly #log: LogCheck;
  readonly #wire: WireCheck;
  readonly #commits: CommitWatch;
  readonly #findings: string[] = [];
  #standing: readonly TrialFlow[] = [];
  #recoveredMs = 0;
  /** Epochs in which a member was declared down. */
  readonly #takeovers = new Set<number>();
  #fenced = 0;

  constructor({ seed, onEvent, onLog, ...planned }: TrialOptions) {
    const plan = planTrial(seed, planned);
    const cluster: SimCluster = new SimCluster({
      ...plan,
      sizes: plan.isCramped ? CRAMPED_SIZES : SMALL_SIZES,
      features: { ...LAB_FEATURES, ipv6: false, helpers: false },
      flowsMax: FLOWS_MAX,
      configure: inLittle,
      forgiveAfterMs: plan.isChanging ? FORGIVE_AFTER_MS : undefined,
      onEvent: (member, event) => {
        this.#count(event);
        onEvent?.(cluster.clock.nowMs(), member, event);
      },
      onLog: (member, level, text) => onLog?.(cluster.clock.nowMs(), member, level, text),
    });
    this.#plan = plan;
    this.#cluster = cluster;
    const hosts = plugHosts(cluster);
    this.#traffic = new TrialTraffic(cluster.clock, hosts, cluster.random, LOAD);
    this.#faults = new TrialFaults(cluster, plan.isChanging ? CHANGING_ODDS : ODDS);
    this.#owners = new OwnerCheck(cluster);
    this.#log = new LogCheck(cluster);
    this.#commits = new CommitWatch(cluster);
    this.#wire = new WireCheck(
      cluster,
      Object.values(hosts).map(({ nic }) => nic.mac),
    );
    const { onSent } = cluster;
    cluster.onSent = (frame) => {
      onSent(frame);
      this.#wire.onSent(frame);
    };
  }

  async run(): Promise<TrialReport> {
    const { clock, digest } = this.#cluster;
    const startMs = clock.nowMs();
    try {
      await clock.drive(this.#story());
    } catch (error) {
      this.#findings.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    return {
      plan: this.#plan,
      findings: this.#verdict(),
      faults: this.#faults.done,
      faultCounts: this.#faults.counts,
      digest: digest.toString(),
      virtualMs: clock.nowMs() - startMs,
      recoveredMs: this.#recoveredMs,
      counts: {
        takeovers: this.#takeovers.size,
        fenced: this.#fenced,
        committed: this.#log.committed,
        flows: this.#standing.length,
        looked: this.#wire.looked,
        watched: this.#commits.watched,
        answers: this.#traffic.answers,
        denied: this.#traffic.denied,
      },
    };
  }

  async #story(): Promise<void> {
    const { clock } = this.#cluster;
    const { members, random } = this.#cluster;
    const { isHurried } = this.#plan;
    await this.#cluster.startAll(isHurried ? HURRIED_SPREAD_MS : undefined);
    if (isHurried) this.#cluster.campaign(members[random(members.length)]!);
    await this.#settled("after the start");
    // What finds no room goes on without a copy, and is counted.
    this.#commits.isArmed = !this.#plan.isCramped;
    this.#traffic.begin();
    await clock.pause(this.#plan.warmUpMs);
    await this.#until("first answers", FLOWS_MS_MAX, () => this.#unanswered(0));
    if (this.#isBroken()) return;
    this.#commits.isArmed = false;
    this.#wire.isUnharmed = false;
    this.#standing = this.#traffic.established();
    await this.#trouble();
    const healedMs = clock.nowMs();
    this.#faults.healAll();
    await this.#settled("after healing");
    this.#recoveredMs = clock.nowMs() - healedMs;
    if (this.#isBroken()) return;
    await this.#rest();
  }

  async #trouble(): Promise<void> {
    const { clock, members, random } = this.#cluster;
    const { kind, isWeatherBad, isMoving, isCramped, stormMs, fault = drawFault(random, ODDS) } = this.#plan;
    if (isWeatherBad) this.#faults.weather();
    if (kind === "storm") {
      if (this.#plan.fault === undefined) this.#faults.storm(stormMs);
      else this.#faults.one(this.#plan.fault, members[random(members.length)]!, stormMs);
      await clock.pause(stormMs);
      return;
    }
    const ms = random(2) === 0 ? 1 + random(100) : 100 + random(300);
    if (isCramped) {
      await this.#cramp(ms);
      return;
    }
    if (isMoving) await this.#move();
    this.#faults.one(fault, members[random(members.length)]!, ms);
    await clock.pause(ms + 1);
  }

  /**
   * Slots move just when a main thread wakes up that stood still for `ms`, while more flows began than replication has room for. Nobody
   * dies: flows that began without a copy must stand as well.
   */
  async #cramp(ms: number): Promise<void> {
    const { clock, random } = this.#cluster;
    const nodes = this.#cluster.members.filter(({ isNode }) => isNode);
    this.#faults.one("pause-main", nodes[random(nodes.length)]!, ms);
    this.#traffic.burst();
    await clock.pause(Math.max(1, ms - random(8)));
    this.#standing = this.#traffic.established();
    this.#faults.reweigh(nodes[random(nodes.length)]!);
    await clock.pause(MOVING_MS_MAX);
  }

  /** Slots are on their way, and flows that began meanwhile count as well: they waited for every copy that may be needed. */
  async #move(): Promise<void> {
    const { clock, members, random } = this.#cluster;
    const { nodes, isWeatherBad } = this.#plan;
    this.#faults.reweigh(members.filter(({ isNode }) => isNode)[random(nodes)]!);
    const movingMs = 1 + random(MOVING_MS_MAX);
    for (let i = 0; i < LATE_FLOWS; i++) clock.wire(random(movingMs), () => this.#traffic.open());
    await clock.pause(movingMs);
    // Where records come late, a flow may go on without a copy.
    if (!isWeatherBad) this.#standing = this.#traffic.established();
  }

  /** What must hold once nothing is wrong any more. */
  async #rest(): Promise<void> {
    const { clock } = this.#cluster;
    if (this.#plan.kind === "single") {
      const fromMs = clock.nowMs();
      await this.#until("flows that stood", FLOWS_MS_MAX, () => this.#unanswered(fromMs));
    }
    this.#traffic.quiet();
    let unlike: string[] = [];
    await this.#until("copies alike", ALIKE_MS_MAX, async () => {
      unlike = await unlikeReplicas(this.#cluster);
      return unlike[0];
    });
    await this.#until("logs applied", SETTLE_MS_MAX, () => this.#log.atRest()[0]);
    this.#findings.push(...this.#log.atRest(), ...sharedTuples(this.#cluster));
  }

  #count({ kind, epoch, node }: JournalEvent): void {
    if (kind === "fenced") this.#fenced++;
    if (kind === "epoch-committed" && node !== 0) this.#takeovers.add(epoch);
  }

  // ---------------------------------------------------------------- waiting

  #settled(when: string): Promise<void> {
    return this.#until(`settled ${when}`, SETTLE_MS_MAX, () => this.#unsettled());
  }

  /** Waits until `missing` misses nothing; what it still misses when time is up is a finding. */
  async #until(
    what: string,
    msMax: number,
    missing: () => string | undefined | Promise<string | undefined>,
  ): Promise<void> {
    const { clock } = this.#cluster;
    for (const endMs = clock.nowMs() + msMax; !this.#isBroken(); ) {
      const why = await missing();
      if (why === undefined) return;
      if (clock.nowMs() >= endMs) {
        this.#findings.push(`${what}: not in ${msMax} ms: ${why}`);
        return;
      }
      await clock.pause(POLL_MS);
    }
  }

  #unsettled(): string | undefined {
    const { members } = this.#cluster;
    for (const member of members) {
      const { name, running, isNode } = member;
      if (running === undefined) return `${name} does not run`;
      const cluster = running.controller.driver.state();
      if (!isSettled(cluster)) return `${name} waits for slots to settle`;
      for (const other of members) {
        const state = cluster.members.find(({ id }) => id === other.id)?.state;
        if (other.isNode && state !== "active") return `to ${name} ${other.name} is ${state}`;
      }
      if (isNode && stateOf(member) !== "active") return `${name} is ${stateOf(member)}`;
      const silent = this.#plan.isChanging && members.find(({ id }) => !isVoting(running.controller, id));
      if (silent) return `to ${name} ${silent.name} does not vote`;
    }
    return this.#owners.undecided();
  }

  /** A flow of those that stood that has had no answer since. */
  #unanswered(sinceMs: number): string | undefined {
    const flows = sinceMs === 0 ? this.#traffic.flows : this.#standing;
    for (const { what, number, broken, lastEchoMs } of flows) {
      if (broken !== "") return `flow ${number}, ${what}: ${broken}`;
      if (lastEchoMs <= sinceMs) return `flow ${number}, ${what}: no answer`;
    }
    return undefined;
  }

  // ---------------------------------------------------------------- verdict

  #isBroken(): boolean {
    return this.#owners.finding !== undefined || this.#cluster.failures.length > 0;
  }

  #verdict(): string[] {
    const { failures } = this.#cluster;
    const ended = failures.map(({ member, error }) => `${member} ended by itself: ${describe(error)}`);
    return [
      ...(this.#owners.finding === undefined ? [] : [this.#owners.finding]),
      ...ended,
      ...this.#log.findings,
      ...this.#wire.findings,
      ...this.#traffic.findings,
      ...this.#commits.findings,
      ...this.#findings,
    ];
  }
}

/** By all that this member knows: leases and Raft count its vote, and no other set of voters counts any more. */
function isVoting({ driver }: Controller, id: number): boolean {
  const { quorum } = driver.state();
  const { voters, votersOutgoing } = driver.status().confState;
  if (!voters.includes(id) || votersOutgoing.length > 0) return false;
  return quorum === undefined || (quorum.voters.includes(id) && quorum.outgoing.length === 0);
}

/** Fewer slots, and a port that is closed from inside. */
function inLittle(text: string): string {
  const closed = (protocol: string, indent: string): string =>
    [`- name: closed-${protocol}`, "  from: inside", "  to: outside", `  protocol: ${protocol}`]
      .concat([`  destinationPorts: [${CLOSED_PORT}]`, "  action: drop"])
      .map((line) => `${indent}${line}\n`)
      .join("");
  return text
    .replace(/^( +)node: /m, `$1slots: ${SLOTS}\n$1node: `)
    .replace(
      /( +)- name: out\n/,
      (out, indent: string) => closed("tcp", indent) + closed("udp", indent) + out,
    );
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `; cause: ${error.cause.stack}` : "";
  return `${error instanceof SynwallError ? `${error.code} ` : ""}${error.stack}${cause}`;
}
