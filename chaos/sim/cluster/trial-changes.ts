/**
 * Changes of a trial: members that lose their disk and come back under another id, as an operator does it with a token
 * (docs/members.md), and partitions into two groups. Owns how they are done; when, and to whom, is trial-faults.ts.
 *
 *   disk lost --> declared down --> token in its name --> join: a new id, the former is removed --> started with an empty disk
 */
import type { ClusterState } from "../../../cluster/control/model.ts";
import { quorumOf } from "../../../cluster/control/quorum.ts";
import { SynwallError } from "../../../src/base/errors.ts";
import type { Link } from "../../lab/topology.ts";
import type { SimCluster } from "./cluster.ts";
import type { SimMember } from "./member.ts";

/** How often an operator looks whether the cluster has noticed, and tries again. */
const LOOK_MS = 20;
/** How long an operator waits for one attempt. */
const ATTEMPT_MS = 400;
const TOKEN_MS = 3_600_000;
/** Of the proof: nobody checks it here (src/node/registration.ts does). */
const TOKEN_KEY = "00".repeat(32);

export class Replacements {
  readonly #cluster: SimCluster;
  readonly #note: (what: string) => void;
  /** Until when the latest attempt has time, for each that waits for somebody to take its place. */
  readonly #lost = new Map<SimMember, number>();
  /** Those whose disk is gone: they cannot be started again, unlike one that an operator only believes to be. */
  readonly #gone = new Set<SimMember>();
  /** Were let in, and did not come up yet. A token of an earlier attempt, whose answer came late, may take their place away. */
  readonly #fresh = new Set<SimMember>();
  #tokens = 0;
  #isAtWork = false;

  constructor(cluster: SimCluster, note: (what: string) => void) {
    this.#cluster = cluster;
    this.#note = note;
    cluster.onRemoved = (member) => this.lose(member, { isAlive: false });
  }

  /** Waits for another machine to take its place: it is not to be started again. */
  isLost(member: SimMember): boolean {
    return this.#lost.has(member);
  }

  canStart(member: SimMember): boolean {
    return !this.#gone.has(member);
  }

  /** Majorities of all that vote, as far as anybody knows, keep their disks when this one is lost as well. */
  canSpare(member: SimMember): boolean {
    const { members } = this.#cluster;
    const kept = new Set(members.filter((each) => each !== member && !this.isLost(each)).map(({ id }) => id));
    const sets = members.flatMap(({ running, config }) => {
      if (running === undefined) return [];
      const { driver } = running.controller;
      const { voters, outgoing } = quorumOf(driver.state(), config.cluster.founders);
      const { confState } = driver.status();
      return [voters, outgoing, confState.voters, confState.votersOutgoing];
    });
    return sets.every((set) => set.length === 0 || 2 * set.filter((id) => kept.has(id)).length > set.length);
  }

  /**
   * Nobody will start this member again. With `isAlive` its process goes on, cut off from everybody by whoever calls: the operator
   * believes that it is gone.
   */
  lose(member: SimMember, { isAlive }: { readonly isAlive: boolean }): void {
    if (this.#lost.has(member)) return;
    this.#fresh.delete(member);
    this.#lost.set(member, 0);
    if (!isAlive) this.#gone.add(member);
    if (!isAlive && member.isRunning) this.#cluster.kill(member.name, { isPowerLost: true });
    if (!this.#isAtWork) this.#operate();
  }

  /** An operator at work, until everybody is back. */
  #operate(): void {
    this.#isAtWork = true;
    this.#cluster.clock.after(LOOK_MS, () => {
      for (const member of this.#fresh) this.#follow(member);
      for (const member of this.#lost.keys()) this.#look(member);
      this.#isAtWork = false;
      if (this.#lost.size + this.#fresh.size > 0) this.#operate();
    });
  }

  #follow(member: SimMember): void {
    const known = this.#cluster.members.flatMap(({ running }) =>
      (running?.controller.driver.state().members ?? []).filter(({ id }) => id === member.id),
    );
    const isRemoved = known.some(({ state }) => state === "removed");
    if (isRemoved) this.lose(member, { isAlive: false });
    else if (known.some(({ incarnation }) => incarnation > 0)) this.#fresh.delete(member);
  }

  /** Asks any member that knows it to be down, until one has let its successor in. */
  #look(member: SimMember): void {
    const { clock, members, random } = this.#cluster;
    const helpers = members.filter((each) => each !== member && isGone(each, member.name));
    if (helpers.length === 0 || clock.nowMs() < this.#lost.get(member)!) return;
    this.#lost.set(member, clock.nowMs() + ATTEMPT_MS);
    const helper = helpers[random(helpers.length)]!;
    helper.life?.run(() => void this.#letIn(helper, member));
  }

  async #letIn(helper: SimMember, member: SimMember): Promise<void> {
    const { clock, members } = this.#cluster;
    const { controller } = helper.running!;
    const { name, role, address, weight } = member.config.cluster.self;
    const token = `token-${++this.#tokens}`;
    const atWallMs = Math.floor(clock.wallMs());
    const issued = { id: token, key: TOKEN_KEY, role, name, weight, expiresWallMs: atWallMs + TOKEN_MS };
    try {
      await controller.command({ type: "token", token: issued });
      const aboveId = Math.max(...members.map(({ id }) => id));
      await controller.command({ type: "join", token, name, role, address, aboveId, atWallMs });
    } catch (error) {
      if (!(error instanceof SynwallError)) throw error;
      // The operator asks again, with another token.
      return;
    }
    const { tokens } = controller.driver.state();
    const id = tokens?.find((each) => each.id === token)?.usedBy;
    if (id === undefined || !this.#lost.delete(member)) return;
    this.#note(`${name} is now member ${id}`);
    const known = [helper.config.cluster.self, ...controller.peers.present()];
    this.#fresh.add(this.#cluster.replace(member, id, known));
    this.#cluster.start(name);
  }
}

/** To whom this member knows: nobody of that name is up. */
function isGone({ running }: SimMember, name: string): boolean {
  const state: ClusterState | undefined = running?.controller.driver.state();
  const present = state?.members.find((each) => each.name === name && each.state !== "removed");
  return present?.state === "down";
}

/** Nothing goes from one group to the other any more, nor back unless `isOneWay`; gives the function that ends it. */
export function part(
  cluster: SimCluster,
  groups: readonly [readonly SimMember[], readonly SimMember[]],
  { link, isOneWay }: { readonly link: Link | "all"; readonly isOneWay: boolean },
): () => void {
  const ways = groups[0].flatMap((from) => groups[1].map((to) => [from, to] as const));
  for (const [from, to] of ways) {
    cluster.cutPair(from, to, link);
    if (!isOneWay) cluster.cutPair(to, from, link);
  }
  return () => {
    for (const [from, to] of ways) {
      cluster.healPair(from, to);
      cluster.healPair(to, from);
    }
  };
}
