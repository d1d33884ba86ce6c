/**
 * Ownership: from committed slot tables and proofs to what this node does with each slot. Owns the rules of stopping and
 * gaining; leases, fences and liveness hand in the facts, the shell carries the effects out.
 *
 *   stop    the moment a table is applied in which we are not the owner
 *   gain    when each awaited node is proven to have let go:
 *             barrier   it sent its barrier for an epoch >= movedEpoch              for good
 *             gone      the process of that incarnation is provably gone
 *                       (rule `lifelineReleases`)                                   for good
 *             known     a majority has it down in an epoch >= movedEpoch, and the
 *                       promises made before have run out                           for good
 *             shown     it has shown an epoch >= movedEpoch: it stopped (only when
 *                       patience is over: its last changes may still be on the way) for good
 *             fenced    a majority refuses it and its promises have run out         while they do
 *   settle  when all proofs of a slot are for good: only then may the cluster forget who was awaited
 *
 * Why `gone` is a proof: the lifeline is a TCP connection, authenticated and held by the peer's process for its whole life;
 * the kernel closes it only when the process is gone. A stopped or hung process keeps its socket, so its promises stand. A
 * forged RST alone is not enough, since the heartbeats, which cannot be forged, must be missing too. A local time-out of
 * the connection is no close: the shell must not report it as one.
 */
import { SLOT_HANDOVER, SLOT_OWNED, SLOT_REMOTE, SLOT_TAKEOVER } from "../../src/base/slot-state.ts";
import { residents } from "../control/commands.ts";
import { coBackupOf, heirOf } from "../control/former.ts";
import type { Member, SlotTable } from "../control/model.ts";
import { homes } from "../ring/quota.ts";
import type { FenceAsker } from "./fence.ts";

/** What the shell must do, in this order. */
export type OwnershipEffect =
  /** `state`, `owner`, `backup`, `coBackup`, `home`, `gainedEpoch` and `epoch` changed: put them before the engine, before anything below. */
  | { readonly type: "view" }
  /** We stopped deciding `slot`: put a barrier behind its last change, towards `to`. The stream keeps it until it is there. */
  | { readonly type: "barrier"; readonly to: number; readonly slot: number; readonly epoch: number }
  /** Send a frame from the virtual MAC of each slot into each zone. */
  | { readonly type: "announce"; readonly slots: readonly number[] }
  /** Packets of these slots may have passed through another node, that took us for dead and decided nothing. */
  | { readonly type: "unseen"; readonly slots: readonly number[] }
  /** Propose `settled` for these slots. Repeated until the table shows it. */
  | { readonly type: "settle"; readonly slots: readonly number[]; readonly movedEpochs: readonly number[] }
  /** For the journal: exclusive from now on (with a lease) / no longer / forwarding known flows of a dead owner. */
  | { readonly type: "gained" | "lost" | "steered"; readonly slots: readonly number[] };

export interface OwnershipConfig {
  readonly selfId: number;
  readonly slots: number;
  readonly leaseMs: number;
  /** The closed lifeline of a silent process releases what it held. */
  readonly lifelineReleases: boolean;
  /** How long a living old owner may take to send its barrier before other proofs are sought; default 4 leases. */
  readonly patienceMs?: number;
}

const NOTHING: OwnershipEffect[] = [];

export class Ownership {
  /** By slot: SLOT_*. */
  readonly state: Uint8Array;
  readonly owner: Uint8Array;
  /** By slot: who takes it over, and whose copy first packets wait for. */
  readonly backup: Uint8Array;
  /** By slot: whose copy they wait for as well, while the slot changes its backup; 0: nobody. */
  readonly coBackup: Uint8Array;
  /** By slot: the node that owns it when all members are there. */
  readonly home: Uint8Array;
  /** By slot: the epoch in which this node gained it. A slot that is steered early counts as gained in the epoch to come. */
  readonly gainedEpoch: Uint32Array;
  epoch = 0;
  readonly #config: OwnershipConfig;
  readonly #fences: FenceAsker;
  readonly #alive = new Set<number>();
  /** Peers that were seen dying: a peer that was never heard may only not have been met yet. */
  readonly #dead = new Set<number>();
  /** By node: all incarnations up to this one are gone. */
  readonly #gone = new Map<number, number>();
  readonly #slots: SlotProofs[];
  #table: SlotTable | undefined;
  #isAdmitted = false;
  /** Slots that we own and that await somebody in the table. */
  #open: number[] = [];
  /** Slots of dead owners that we back up. */
  #steered: number[] = [];
  #settleAgainMs = Number.POSITIVE_INFINITY;
  #unseenAgainMs = Number.POSITIVE_INFINITY;

  constructor(config: OwnershipConfig, fences: FenceAsker) {
    this.#config = config;
    this.#fences = fences;
    this.state = new Uint8Array(config.slots).fill(SLOT_REMOTE);
    this.owner = new Uint8Array(config.slots);
    this.backup = new Uint8Array(config.slots);
    this.coBackup = new Uint8Array(config.slots);
    this.home = new Uint8Array(config.slots);
    this.gainedEpoch = new Uint32Array(config.slots);
    this.#slots = Array.from({ length: config.slots }, () => new SlotProofs());
  }

  /**
   * A committed table with the members of the same state. `isAdmitted`: this life of this node was let in ("up" of this
   * process was applied, and it was not declared down since): otherwise what the table says about our id is about somebody
   * who is gone, and we own nothing.
   */
  applyTable(
    table: SlotTable,
    members: readonly Member[],
    isAdmitted: boolean,
    nowMs: number,
  ): OwnershipEffect[] {
    this.#table = table;
    this.#isAdmitted = isAdmitted;
    this.epoch = table.epoch;
    this.#open = [];
    this.home.set(homes(residents(members), this.#config.slots));
    for (let s = 0; s < this.#config.slots; s++) {
      this.owner[s] = table.owner[s] as number;
      this.backup[s] = heirOf(table, s);
      this.coBackup[s] = coBackupOf(table, s);
      this.#slot(s).enter(table.movedEpoch[s] as number, this.#awaited(s), members, nowMs);
      if (isAdmitted && table.owner[s] === this.#config.selfId && this.#awaited(s).length > 0)
        this.#open.push(s);
    }
    return this.#evaluate(nowMs, true);
  }

  /** Owns nothing from now on, and is not used any more: another one begins, in another log. */
  retire(): OwnershipEffect[] {
    this.#table = undefined;
    this.#open = [];
    const lost: number[] = [];
    for (let s = 0; s < this.#config.slots; s++) if (this.state[s] === SLOT_OWNED) lost.push(s);
    this.state.fill(SLOT_REMOTE);
    this.owner.fill(0);
    this.backup.fill(0);
    this.coBackup.fill(0);
    const view: OwnershipEffect = { type: "view" };
    return lost.length === 0 ? [view] : [view, { type: "lost", slots: lost }];
  }

  /** The barrier of `from` for `slot` went through this node's dataplane: all of its changes before it are applied. */
  barrierApplied(from: number, slot: number, epoch: number, nowMs: number): OwnershipEffect[] {
    if (slot >= this.#config.slots) return [];
    this.#slot(slot).barrier(from, epoch);
    return this.#evaluate(nowMs, false);
  }

  peerUp(node: number, nowMs: number): OwnershipEffect[] {
    this.#alive.add(node);
    this.#dead.delete(node);
    return this.#evaluate(nowMs, false);
  }

  /**
   * A link to `node` came (back) up. It may have thought that we were dead, and have forwarded packets of all flows that it knows, and
   * have announced our slots that it backs up: announce those again.
   */
  linkUp(node: number, nowMs: number): OwnershipEffect[] {
    // It may go on with that until it hears us: for a while, if we are the first to hear.
    this.#unseenAgainMs = nowMs + this.#config.leaseMs;
    return [...this.#unseen(), ...this.#announce((s) => this.backup[s] === node)];
  }

  #unseen(): OwnershipEffect[] {
    const slots = this.#owned(() => true);
    return slots.length === 0 ? [] : [{ type: "unseen", slots }];
  }

  peerDown(node: number, nowMs: number): OwnershipEffect[] {
    this.#alive.delete(node);
    this.#dead.add(node);
    return this.#evaluate(nowMs, false);
  }

  /** The process that was `node` in `incarnation` (and in all before it) is provably gone. 0 says nothing. */
  peerGone(node: number, incarnation: number, nowMs: number): OwnershipEffect[] {
    if (!this.#config.lifelineReleases) return [];
    this.#gone.set(node, Math.max(incarnation, this.#gone.get(node) ?? 0));
    return this.#evaluate(nowMs, false);
  }

  /** We stood still, or were without a lease: others may have announced our slots meanwhile. */
  reannounce(): OwnershipEffect[] {
    return this.#announce(() => true);
  }

  /** Living nodes that are to let go of slots of ours, and have not yet. */
  awaited(): readonly number[] {
    const nodes = new Set<number>();
    for (const s of this.#open) {
      const proofs = this.#slot(s);
      for (const node of this.#awaited(s))
        if (this.#alive.has(node) && !proofs.isProven(node)) nodes.add(node);
    }
    return [...nodes];
  }

  /** Slots await somebody: tick() is to be called often. */
  get isWaiting(): boolean {
    return this.#open.length > 0 || this.#steered.length > 0;
  }

  /** Lets time pass: promises run out, patience ends. */
  tick(nowMs: number): OwnershipEffect[] {
    const isUnseenAgain = nowMs >= this.#unseenAgainMs;
    if (isUnseenAgain) this.#unseenAgainMs = Number.POSITIVE_INFINITY;
    if (!this.isWaiting) return isUnseenAgain ? this.#unseen() : NOTHING;
    const effects = this.#evaluate(nowMs, false);
    return isUnseenAgain ? [...this.#unseen(), ...effects] : effects;
  }

  #evaluate(nowMs: number, isNewTable: boolean): OwnershipEffect[] {
    if (this.#table === undefined) return [];
    const gained: number[] = [];
    const lost: number[] = [];
    const steered: number[] = [];
    const announced: number[] = [];
    let isChanged = isNewTable;
    this.#steered = [];
    for (let s = 0; s < this.#config.slots; s++) {
      const before = this.state[s] as number;
      const state = this.#stateOf(s, nowMs);
      if (state === SLOT_TAKEOVER && this.owner[s] !== this.#config.selfId) this.#steered.push(s);
      this.#setGainedEpoch(s, state);
      if (state === before) continue;
      isChanged = true;
      this.state[s] = state;
      if (before === SLOT_OWNED) lost.push(s);
      if (state === SLOT_OWNED) gained.push(s);
      if (state === SLOT_TAKEOVER && before === SLOT_REMOTE) steered.push(s);
      if (state === SLOT_OWNED || (state === SLOT_TAKEOVER && before === SLOT_REMOTE)) announced.push(s);
    }
    this.#wantFences(nowMs);
    const effects: OwnershipEffect[] = [];
    if (isChanged) effects.push({ type: "view" });
    this.#sendBarriers(effects);
    if (announced.length > 0) effects.push({ type: "announce", slots: announced });
    if (lost.length > 0) effects.push({ type: "lost", slots: lost });
    if (steered.length > 0) effects.push({ type: "steered", slots: steered });
    if (gained.length > 0) effects.push({ type: "gained", slots: gained });
    this.#settle(nowMs, effects);
    return effects;
  }

  #stateOf(s: number, nowMs: number): number {
    const { selfId } = this.#config;
    if (!this.#isAdmitted) return SLOT_REMOTE;
    const owner = this.owner[s] as number;
    if (owner !== selfId) {
      const isSteered = owner !== 0 && this.backup[s] === selfId && this.#dead.has(owner);
      return isSteered ? SLOT_TAKEOVER : SLOT_REMOTE;
    }
    let isFree = true;
    let isTakeover = false;
    for (const node of this.#awaited(s)) {
      if (this.#hasLetGo(s, node, nowMs)) continue;
      isFree = false;
      isTakeover ||= !this.#alive.has(node) || this.#isPatienceOver(s, nowMs);
    }
    if (isFree) return SLOT_OWNED;
    return isTakeover ? SLOT_TAKEOVER : SLOT_HANDOVER;
  }

  /** Notes proofs that hold for good; a fence holds while the voters keep it up. */
  #hasLetGo(s: number, node: number, nowMs: number): boolean {
    const proofs = this.#slot(s);
    if (proofs.isProven(node)) return true;
    const isFenced = this.#fences.isFenced(node, proofs.movedEpoch - 1, nowMs);
    const isForGood =
      (this.#gone.get(node) ?? 0) >= proofs.incarnationOf(node) ||
      (isFenced && this.#fences.knownEpoch(node) >= proofs.movedEpoch) ||
      (this.#isPatienceOver(s, nowMs) && this.#fences.seenEpoch(node) >= proofs.movedEpoch);
    if (isForGood) proofs.prove(node);
    return isForGood || isFenced;
  }

  #isPatienceOver(s: number, nowMs: number): boolean {
    return nowMs >= this.#slot(s).enteredMs + (this.#config.patienceMs ?? 4 * this.#config.leaseMs);
  }

  /** Fences whoever stands between us and a slot: dead owners whose backup we are, and awaited ones that are dead or too slow. */
  #wantFences(nowMs: number): void {
    const needed = new Map<number, number>();
    const need = (node: number, epoch: number): void => {
      needed.set(node, Math.max(epoch, needed.get(node) ?? 0));
    };
    for (const s of this.#steered) {
      need(this.owner[s] as number, this.epoch);
    }
    for (const s of this.#open) {
      const proofs = this.#slot(s);
      for (const node of this.#awaited(s)) {
        if (proofs.isProven(node) || (this.#alive.has(node) && !this.#isPatienceOver(s, nowMs))) continue;
        need(node, proofs.movedEpoch - 1);
      }
    }
    for (const node of this.#fences.wanted()) if (!needed.has(node)) this.#fences.drop(node);
    for (const [node, epoch] of needed) this.#fences.want(node, epoch, nowMs);
  }

  #sendBarriers(effects: OwnershipEffect[]): void {
    const { selfId, slots } = this.#config;
    for (let s = 0; s < slots; s++) {
      const proofs = this.#slot(s);
      const to = this.owner[s] as number;
      if (to === 0 || to === selfId || proofs.barrierSent === proofs.movedEpoch) continue;
      if (!this.#awaited(s).includes(selfId)) continue;
      proofs.barrierSent = proofs.movedEpoch;
      effects.push({ type: "barrier", to, slot: s, epoch: proofs.movedEpoch });
    }
  }

  /** Each slot once when its proofs are complete; all of them again when the table does not show it after a while. */
  #settle(nowMs: number, effects: OwnershipEffect[]): void {
    const isRepeat = nowMs >= this.#settleAgainMs;
    const slots = this.#open.filter((s) => {
      const proofs = this.#slot(s);
      if (!isRepeat && proofs.settleSent === proofs.movedEpoch) return false;
      return this.#awaited(s).every((node) => proofs.isProven(node));
    });
    if (slots.length === 0) return;
    this.#settleAgainMs = nowMs + 4 * this.#config.leaseMs;
    for (const s of slots) this.#slot(s).settleSent = this.#slot(s).movedEpoch;
    effects.push({ type: "settle", slots, movedEpochs: slots.map((s) => this.#slot(s).movedEpoch) });
  }

  #announce(isMeant: (s: number) => boolean): OwnershipEffect[] {
    const slots = this.#owned(isMeant);
    return slots.length === 0 ? [] : [{ type: "announce", slots }];
  }

  #owned(isMeant: (s: number) => boolean): number[] {
    const slots: number[] = [];
    for (let s = 0; s < this.#config.slots; s++)
      if (this.state[s] === SLOT_OWNED && isMeant(s)) slots.push(s);
    return slots;
  }

  #setGainedEpoch(s: number, state: number): void {
    if (state === SLOT_REMOTE) return;
    const isOurs = this.owner[s] === this.#config.selfId;
    this.gainedEpoch[s] = isOurs ? this.#slot(s).movedEpoch : this.epoch + 1;
  }

  #awaited(s: number): readonly number[] {
    return this.#table?.awaiting[s] ?? [];
  }

  #slot(s: number): SlotProofs {
    return this.#slots[s] as SlotProofs;
  }
}

/** What is proven about the earlier owners of one slot, as of its present movedEpoch. */
class SlotProofs {
  movedEpoch = 0;
  enteredMs = 0;
  /** The movedEpoch that our own barrier was sent for, and that we asked to settle. */
  barrierSent = 0;
  settleSent = 0;
  #proven: number[] = [];
  readonly #barriers = new Map<number, number>();
  #incarnations = new Map<number, number>();

  /**
   * Who is awaited held the slot in its present incarnation or in an earlier one: a member comes up anew only when it owns
   * nothing. Read when the table is first seen, which errs to the later incarnation, the safe side.
   */
  enter(movedEpoch: number, awaited: readonly number[], members: readonly Member[], nowMs: number): void {
    if (movedEpoch === this.movedEpoch) return;
    this.movedEpoch = movedEpoch;
    this.enteredMs = nowMs;
    this.#proven = [];
    this.#incarnations = new Map();
    for (const node of awaited) {
      const member = members.find((m) => m.id === node);
      this.#incarnations.set(node, member?.incarnation ?? Number.POSITIVE_INFINITY);
    }
  }

  incarnationOf(node: number): number {
    return this.#incarnations.get(node) ?? Number.POSITIVE_INFINITY;
  }

  /** It may come before the table that it belongs to. */
  barrier(from: number, epoch: number): void {
    this.#barriers.set(from, Math.max(epoch, this.#barriers.get(from) ?? 0));
  }

  prove(node: number): void {
    if (!this.#proven.includes(node)) this.#proven.push(node);
  }

  isProven(node: number): boolean {
    return this.#proven.includes(node) || (this.#barriers.get(node) ?? 0) >= this.movedEpoch;
  }
}
