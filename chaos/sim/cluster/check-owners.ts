/**
 * Owner check: no slot has two exclusive owners at any instant of true time, and after healing each has one. Exclusive is what the
 * engine itself would act on: the slot's state says owned and the lease, on the machine's own clock, is not over.
 *
 * Looked at whenever a worker has done something: an exclusive time can only begin there, and while it lasts everybody else's
 * is judged by their clocks at that instant. A worker that stands still counts: it may go on at any moment.
 */
import { SLOT_OWNED } from "../../../src/base/slot-state.ts";
import type { SimCluster } from "./cluster.ts";
import type { SimMember } from "./member.ts";

export class OwnerCheck {
  finding: string | undefined;
  /** Two nodes of a pair that are cut from each other on all links, and both went on alone: the one case in which both decide. */
  isExcused: () => boolean = () => false;
  /** Slots that were decided twice while that was excused. */
  excused = 0;
  readonly #cluster: SimCluster;
  #members: readonly SimMember[] = [];
  #nodes: readonly SimMember[] = [];

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
    cluster.onWorked = (member) => this.#check(member);
  }

  /** A slot that is not decided by exactly one node now, in words; by this one, when it is named. */
  undecided(by?: SimMember): string | undefined {
    const { slots } = this.#cluster.members[0]!.config.cluster;
    for (let slot = 0; slot < slots; slot++) {
      const deciders = this.#everyNode().filter((node) => this.#decides(node, slot));
      if (deciders.length !== 1 || (by !== undefined && deciders[0] !== by))
        return `slot ${slot} is decided by [${deciders.map(({ name }) => name)}]`;
    }
    return undefined;
  }

  #check(member: SimMember): void {
    const view = member.running?.dataplane?.view;
    if (view === undefined || this.finding !== undefined || !this.#hasLease(member)) return;
    for (const other of this.#everyNode()) {
      if (other === member || !this.#hasLease(other)) continue;
      const theirs = other.running!.dataplane!.view.state;
      for (let slot = 0; slot < view.slots; slot++) {
        if (view.state[slot] !== SLOT_OWNED || theirs[slot] !== SLOT_OWNED) continue;
        if (this.isExcused()) {
          this.excused++;
          return;
        }
        const atMs = this.#cluster.clock.nowMs().toFixed(3);
        this.finding = `at ${atMs} ms ${member.name} and ${other.name} both decide slot ${slot}`;
        return;
      }
    }
  }

  /** Those whose place was taken as well: it is for them to know that they may not decide. */
  #everyNode(): readonly SimMember[] {
    const { members, ghosts } = this.#cluster;
    if (members !== this.#members) {
      this.#members = members;
      this.#nodes = [...members, ...ghosts].filter((member) => member.isNode);
    }
    return this.#nodes;
  }

  #decides(node: SimMember, slot: number): boolean {
    return this.#hasLease(node) && node.running!.dataplane!.view.state[slot] === SLOT_OWNED;
  }

  #hasLease(node: SimMember): boolean {
    const dataplane = node.running?.dataplane;
    if (dataplane === undefined) return false;
    return node.clocks.localMs(this.#cluster.clock.nowMs()) < dataplane.view.leaseUntilMs[0]!;
  }
}
