/**
 * Pair: stories of two nodes without a witness (`quorum: pair`), or with one that is gone, from one seed each; and every rule that
 * must hold meanwhile. Owns the stories and the verdict; rules are check-*.ts.
 *
 *   start -> settled -> trouble -> the survivor decides alone -> all is healed -> settled, one log, one owner a slot
 *
 * Two nodes may decide one slot only while they are cut from each other on all links, and until they have met again.
 */
import type { JournalEvent } from "../../../src/node/admin-model.ts";
import { isSettled } from "../../../src/node/status.ts";
import { ETHER_HEARTBEAT, etherType } from "../../../src/packet/ethernet.ts";
import { PROTOCOL_UDP } from "../../../src/packet/ipv4.ts";
import { LAB_FEATURES } from "../../lab/features.ts";
import type { Bug } from "./bugs.ts";
import { LogCheck } from "./check-log.ts";
import { OwnerCheck } from "./check-owners.ts";
import { sharedTuples } from "./checks.ts";
import { SimCluster } from "./cluster.ts";
import { plugHosts } from "./hosts.ts";
import type { SimMember } from "./member.ts";
import { SMALL_SIZES } from "./sizes.ts";
import { TrialTraffic } from "./trial-traffic.ts";

export const PAIR_STORIES = [
  /** The process is killed: its kernel closes its lifeline. */
  "kill",
  /** It stops in order, while its machine still answers ARP. */
  "stop",
  /** The machine is gone in silence. */
  "power",
  /** The machine stands still, and goes on. */
  "pause",
  /** One node is cut from everybody, hosts as well, and comes back. */
  "isolate",
  /** Both go on, serve hosts of their own, and are cut from each other on all links. */
  "split",
  /** One hears the other, and is not heard. */
  "one-way",
  /** Heartbeats and control plane are lost between them, everything else passes. */
  "mute",
  /** The survivor is restarted while the other one is still gone; then that one comes back. */
  "restart-survivor",
  /** The survivor dies too; the one that died first comes back alone, and the survivor after it. */
  "swap",
  /** Both start at the same time, with logs that parted. */
  "both-restart",
  /** Of two nodes and a witness the witness dies, and then the leader. */
  "witness",
] as const;
export type PairStory = (typeof PAIR_STORIES)[number];

const LOAD = { flows: 4, askIntervalMs: 50, visitIntervalMs: 40, deniedIntervalMs: 50 };
const SLOTS = 16;
const FLOWS_MAX = 512;
const POLL_MS = 5;
const SETTLE_MS_MAX = 20_000;
/** Of `forgiveAfter`: how long a node that starts alone waits. */
const PATIENCE_MS = 1_500;
/** Some of the words of a node that does not hear the other one: with profile vm they are half a second apart. */
const HEARD_ONLY_MS = 2_500;
/** Detection, promise, probes, the forced step; ten leases more when a copy was not proven. The profile is lan. */
const ALONE_MS_MAX = 1_500;
/** Nodes that can hear each other again have met. */
const MEET_MS_MAX = 250;

export interface PairOptions {
  readonly seed: number;
  readonly story: PairStory;
  /** Default: lan. */
  readonly profile?: "lan" | "vm";
  readonly bug?: Bug;
  readonly onEvent?: (trueMs: number, member: string, event: JournalEvent) => void;
  readonly onLog?: (trueMs: number, member: string, level: string, text: string) => void;
}

export interface PairReport {
  /** Rules that were broken; empty when all held. */
  readonly findings: readonly string[];
  /** From the fault until the survivor decided every slot. */
  readonly aloneMs: number;
  /** Looks at a slot that both decided while they were cut. */
  readonly excused: number;
  readonly forced: number;
  readonly digest: string;
}

export function runPair(options: PairOptions): Promise<PairReport> {
  return new PairRun(options).run();
}

class PairRun {
  readonly #story: PairStory;
  readonly #cluster: SimCluster;
  readonly #owners: OwnerCheck;
  readonly #log: LogCheck;
  readonly #traffic: TrialTraffic;
  readonly #findings: string[] = [];
  #aloneMs = 0;
  #forced = 0;
  #isCut = false;
  #healedMs = Number.NEGATIVE_INFINITY;

  constructor({ seed, story, profile = "lan", bug, onEvent, onLog }: PairOptions) {
    const cluster: SimCluster = new SimCluster({
      ...{ seed, nodes: 2, hasWitness: story === "witness", profile, driftPpmMax: 5000, bug },
      sizes: SMALL_SIZES,
      features: { ...LAB_FEATURES, ipv6: false, helpers: false },
      flowsMax: FLOWS_MAX,
      configure: asPair,
      onEvent: (member, event) => {
        if (event.text.includes("goes on alone, unwitnessed")) this.#forced++;
        onEvent?.(cluster.clock.nowMs(), member, event);
      },
      onLog: (member, level, text) => onLog?.(cluster.clock.nowMs(), member, level, text),
    });
    this.#story = story;
    this.#cluster = cluster;
    this.#traffic = new TrialTraffic(cluster.clock, plugHosts(cluster), cluster.random, LOAD);
    this.#owners = new OwnerCheck(cluster);
    this.#owners.isExcused = () => this.#isCut || cluster.clock.nowMs() < this.#healedMs + MEET_MS_MAX;
    this.#log = new LogCheck(cluster);
  }

  async run(): Promise<PairReport> {
    const { clock, digest, failures } = this.#cluster;
    try {
      await clock.drive(this.#tell());
    } catch (error) {
      this.#findings.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    const { finding, excused } = this.#owners;
    return {
      findings: [
        ...(finding === undefined ? [] : [finding]),
        ...failures.map(({ member, error }) => `${member} ended by itself: ${error}`),
        ...this.#log.findings,
        ...this.#findings,
      ],
      aloneMs: this.#aloneMs,
      excused,
      forced: this.#forced,
      digest: digest.toString(),
    };
  }

  async #tell(): Promise<void> {
    const { clock, random, members } = this.#cluster;
    await this.#cluster.startAll();
    await this.#settled("after the start");
    this.#traffic.begin();
    await clock.pause(300 + random(300));
    const nodes = members.filter(({ isNode }) => isNode);
    const victim = nodes[random(nodes.length)]!;
    const other = nodes.find((node) => node !== victim)!;
    await this.#trouble(victim, other);
    await this.#settled("after healing");
    this.#traffic.quiet();
    await clock.pause(300);
    await this.#until("logs applied", SETTLE_MS_MAX, () => this.#log.atRest()[0]);
    this.#findings.push(...this.#log.atRest(), ...sharedTuples(this.#cluster));
  }

  async #trouble(victim: SimMember, other: SimMember): Promise<void> {
    const cluster = this.#cluster;
    const { clock, random } = cluster;
    const awhile = (): Promise<void> => clock.pause(200 + random(800));
    switch (this.#story) {
      case "kill":
        cluster.kill(victim.name);
        await this.#alone(other);
        await awhile();
        cluster.start(victim.name);
        return;
      case "stop":
        // As Node.stop() does: the control plane first.
        victim.running!.controller.stop();
        victim.running!.dataplane!.receive({ type: "stop" }, victim.life!.nowMs());
        await this.#alone(other);
        cluster.kill(victim.name);
        await awhile();
        cluster.start(victim.name);
        return;
      case "power":
        await this.#silence(victim);
        await this.#alone(other);
        await awhile();
        cluster.heal(victim.name);
        cluster.start(victim.name);
        return;
      case "pause":
        cluster.pause(victim.name, 1_000 + random(1_000));
        await this.#alone(other);
        await clock.pause(2_000);
        return;
      case "isolate":
        cluster.cut(victim.name, "all");
        await this.#alone(other);
        await awhile();
        cluster.heal(victim.name);
        return;
      case "split":
        await this.#split(victim, other);
        return;
      case "one-way":
        cluster.cutPair(victim, other, "all");
        // No connection stands that is not acknowledged.
        cluster.network.cut(other.id, victim.id);
        await this.#alone(other);
        await clock.pause(HEARD_ONLY_MS);
        if (this.#forced > 1) this.#findings.push("a node went on alone, though it heard the other one");
        cluster.healPair(victim, other);
        cluster.network.heal(other.id, victim.id);
        return;
      case "mute":
        await this.#mute(victim, other);
        return;
      case "restart-survivor":
        await this.#silence(victim);
        await this.#alone(other);
        cluster.kill(other.name, { isPowerLost: true });
        await awhile();
        cluster.start(other.name);
        await this.#alone(other, PATIENCE_MS + ALONE_MS_MAX);
        cluster.heal(victim.name);
        cluster.start(victim.name);
        return;
      case "swap":
        await this.#silence(victim);
        await this.#alone(other);
        cluster.kill(other.name, { isPowerLost: true });
        cluster.heal(victim.name);
        cluster.start(victim.name);
        await this.#alone(victim, PATIENCE_MS + ALONE_MS_MAX);
        await awhile();
        cluster.start(other.name);
        return;
      case "both-restart":
        await this.#silence(victim);
        await this.#alone(other);
        cluster.kill(other.name, { isPowerLost: true });
        cluster.heal(victim.name);
        cluster.start(victim.name);
        await clock.pause(random(40));
        cluster.start(other.name);
        return;
      case "witness":
        cluster.kill("witness");
        await this.#until("the witness not to vote", SETTLE_MS_MAX, () => this.#isWitnessVoting());
        await this.#silence(this.#leader());
        await this.#alone(this.#survivor());
        await awhile();
        for (const member of cluster.members) if (!member.isRunning) cluster.start(member.name);
        cluster.healAll();
        return;
      default:
        this.#story satisfies never;
    }
  }

  async #split(victim: SimMember, other: SimMember): Promise<void> {
    const { clock, random } = this.#cluster;
    this.#isCut = true;
    this.#cluster.cutPair(victim, other, "all");
    this.#cluster.cutPair(other, victim, "all");
    const fromMs = clock.nowMs();
    await this.#until("both to go on", 4 * ALONE_MS_MAX, () =>
      this.#forced >= 2 ? undefined : `${this.#forced} of 2 did`,
    );
    this.#aloneMs = clock.nowMs() - fromMs;
    await clock.pause(200 + random(800));
    this.#cluster.healPair(victim, other);
    this.#cluster.healPair(other, victim);
    this.#isCut = false;
    this.#healedMs = clock.nowMs();
  }

  async #mute(victim: SimMember, other: SimMember): Promise<void> {
    const { clock, wires, network } = this.#cluster;
    wires.isFiltered = ({ bytes }) => isHeartbeat(bytes);
    network.cut(victim.id, other.id);
    network.cut(other.id, victim.id);
    await clock.pause(2_000);
    if (this.#forced > 0) this.#findings.push("a node went on alone, though the other one answered");
    wires.isFiltered = undefined;
    this.#cluster.healAll();
  }

  /** The machine is gone: nothing closes its connections. */
  async #silence(victim: SimMember): Promise<void> {
    this.#cluster.cut(victim.name, "all");
    // What was on its way has arrived.
    await this.#cluster.clock.pause(1);
    this.#cluster.kill(victim.name, { isPowerLost: true });
  }

  #leader(): SimMember {
    const { members } = this.#cluster;
    const lead = members.find(({ isRunning }) => isRunning)!.running!.controller.driver.status().lead;
    return members.find(({ id }) => id === lead)!;
  }

  #survivor(): SimMember {
    return this.#cluster.members.find(({ isRunning, isNode }) => isRunning && isNode)!;
  }

  /** To a node: the one that is left must know it as well. */
  #isWitnessVoting(): string | undefined {
    for (const { running, isNode, name } of this.#cluster.members) {
      if (!isNode || running === undefined) continue;
      const { quorum } = running.controller.driver.state();
      const isOver = quorum !== undefined && quorum.outgoing.length === 0 && quorum.voters.length === 2;
      if (!isOver) return `to ${name} voters are ${quorum?.voters}`;
    }
    return this.#leader()?.isNode === true ? undefined : "no node leads";
  }

  /** Waits until `node` decides every slot. */
  async #alone(node: SimMember, msMax = ALONE_MS_MAX): Promise<void> {
    const { clock } = this.#cluster;
    const fromMs = clock.nowMs();
    await this.#until(`${node.name} to go on alone`, msMax, () => this.#owners.undecided(node));
    this.#aloneMs = clock.nowMs() - fromMs;
    const by = node.running?.controller.driver.state().forced?.by;
    if (by !== node.id)
      this.#findings.push(`${node.name} goes on alone in an epoch that is not marked as forced`);
  }

  #settled(when: string): Promise<void> {
    return this.#until(`settled ${when}`, SETTLE_MS_MAX, () => {
      for (const { name, running, isNode, id } of this.#cluster.members) {
        if (running === undefined) return `${name} does not run`;
        const state = running.controller.driver.state();
        if (!isSettled(state)) return `${name} waits for slots to settle`;
        const is = state.members.find((member) => member.id === id)?.state;
        if (isNode && is !== "active") return `${name} is ${is}`;
        const voters = state.quorum?.voters ?? this.#cluster.members.map((member) => member.id);
        if (voters.length < this.#cluster.members.length) return `only ${voters} vote`;
      }
      return this.#owners.undecided();
    });
  }

  async #until(what: string, msMax: number, missing: () => string | undefined): Promise<void> {
    const { clock, failures } = this.#cluster;
    for (const endMs = clock.nowMs() + msMax; ; await clock.pause(POLL_MS)) {
      if (this.#owners.finding !== undefined || failures.length > 0 || this.#findings.length > 0) return;
      const why = missing();
      if (why === undefined) return;
      if (clock.nowMs() < endMs) continue;
      this.#findings.push(`${what}: not in ${msMax} ms: ${why}`);
      return;
    }
  }
}

function asPair(text: string): string {
  return text
    .replace(/^ +quorum: .*\n/m, "")
    .replace(
      /^( +)node: /m,
      `$1slots: ${SLOTS}\n$1quorum: { mode: pair, forgiveAfter: ${PATIENCE_MS}ms }\n$1node: `,
    );
}

/** In a zone by its type, on the cluster link by its port. */
function isHeartbeat(bytes: Uint8Array): boolean {
  if (etherType(bytes, 0) === ETHER_HEARTBEAT) return true;
  return (
    etherType(bytes, 0) === 0x0800 && bytes[23] === PROTOCOL_UDP && bytes[36] === 0x0e && bytes[37] === 0xc8
  );
}
