/**
 * One member of the simulated cluster: the real Authority with what a shell does around it (ticks, the engine's view, the
 * lifeline, streams, proposals). Owns one process life after the other; faults come from ownership-faults.ts.
 */

import type { ClusterState, Command, Member } from "../../cluster/control/model.ts";
import { plan } from "../../cluster/control/planner.ts";
import type { LivenessEvent, PeerConfig } from "../../cluster/liveness/model.ts";
import { takeover } from "../../cluster/ring/assign.ts";
import { Authority, type AuthorityEffect } from "../../cluster/takeover/authority.ts";
import { SLOT_OWNED } from "../../src/base/slot-state.ts";
import type { World } from "./ownership.ts";
import { plantBug } from "./ownership-bugs.ts";
import { SimQuorumKeeper } from "./ownership-voters.ts";

const TICK_MS = 2;
const PROPOSE_MS = 7;
const NO_MAC = new Uint8Array(32);

export class SimMember {
  readonly id: number;
  readonly role: "node" | "witness";
  readonly links: readonly number[];
  /** True time to local time: offset + rate * t. */
  readonly rate: number;
  readonly offsetMs: number;
  life = 0;
  isRunning = false;
  isPaused = false;
  /** What the engine acts on: the shell's copy of the ownership's states. */
  engine: Uint8Array = new Uint8Array(0);
  authority!: Authority;
  applied = 0;
  readonly #world: World;
  readonly #waiting: (() => void)[] = [];
  /** Lives of peers that this member would declare down: node -> incarnation. */
  readonly #suspects = new Map<number, number>();
  #alive = new Set<number>();
  /** Peers to whom a connection stands, held by both kernels. */
  readonly #lifelines = new Set<number>();
  #incarnation = 0;
  #isCaughtUp = false;
  #catchUpTo = Number.POSITIVE_INFINITY;
  /** The epoch whose voters the authority goes by. */
  #knownEpoch = 0;
  #quorum: SimQuorumKeeper | undefined;
  /** What control has applied waits in the worker's queue. */
  #isDeaf = false;

  constructor(world: World, id: number, role: "node" | "witness", links: readonly number[]) {
    this.#world = world;
    this.id = id;
    this.role = role;
    this.links = links;
    this.rate = world.network.between(0.995, 1.005);
    this.offsetMs = world.network.between(0, 1e6);
  }

  localMs(): number {
    return this.offsetMs + this.rate * this.#world.scheduler.nowMs;
  }

  /** This process may act exclusively on slot `s` at this moment, as its engine would judge. */
  isExclusive(s: number): boolean {
    return this.isRunning && this.engine[s] === SLOT_OWNED && this.localMs() < this.leaseUntilMs();
  }

  leaseUntilMs(): number {
    return this.authority.leaseUntilMs;
  }

  /** Starts a new life. The disk still has the log up to what was applied, or a little less. */
  start(): void {
    const { options, network, voters } = this.#world;
    const { profile, slots } = options;
    this.life++;
    this.isRunning = true;
    this.isPaused = false;
    this.#waiting.length = 0;
    this.#suspects.clear();
    this.#lifelines.clear();
    this.#alive = new Set();
    this.#incarnation = 0;
    this.#isCaughtUp = false;
    this.#catchUpTo = Number.POSITIVE_INFINITY;
    this.#isDeaf = false;
    this.#knownEpoch = 0;
    this.#quorum = options.areVotersChanging === true ? new SimQuorumKeeper(this.#world, this) : undefined;
    this.engine = new Uint8Array(slots);
    this.applied = Math.max(0, this.applied - Math.floor(network.between(0, 3)));
    const peers: PeerConfig[] = [];
    for (const m of this.#world.members) {
      if (m.id !== this.id) {
        peers.push({ nodeId: m.id, role: m.role, links: this.links.filter((l) => m.links.includes(l)) });
      }
    }
    this.authority = new Authority(
      {
        selfId: this.id,
        role: this.role,
        cluster: "sim",
        profile,
        peers,
        voters,
        slots,
        mac: () => NO_MAC,
        lifelineReleases: true,
        tickMs: TICK_MS,
      },
      { nowMs: () => this.localMs(), random: (bound) => this.#world.random(bound) },
      {
        send: (link, to, bytes) => this.#send(link, to, bytes),
        event: (event) => this.#onEvent(event),
        effect: (effect) => this.#onEffect(effect),
      },
    );
    if (options.bug !== undefined) plantBug(options.bug, this, this.#world);
    this.#applyUpTo(this.applied);
    const { life } = this;
    this.#every(TICK_MS, life, () => this.authority.tick(this.localMs()));
    this.#every(PROPOSE_MS, life, () => this.#proposeDue());
  }

  /** The process ends; its kernel closes the lifelines. */
  kill(): void {
    this.isRunning = false;
    for (const m of this.#world.members) {
      if (m === this || !m.isRunning || !this.#lifelines.has(m.id)) continue;
      const isTheirs = m.#lifelines.delete(this.id);
      this.#world.scheduler.after(this.#world.network.delayMs(), () => {
        if (isTheirs && this.#world.network.passes(this.id, m.id, 0)) {
          m.whenAwake(m.life, () => m.authority.lifelineClosed(this.id, m.localMs()));
        }
      });
    }
    this.#lifelines.clear();
  }

  /** Opens lifelines to all who can be reached and have none. */
  #openLifelines(): void {
    const { members, network, scheduler } = this.#world;
    for (const m of members) {
      if (m.id <= this.id || !m.isRunning || m.isPaused || this.#lifelines.has(m.id)) continue;
      if (!network.passes(this.id, m.id, 0) || !network.passes(m.id, this.id, 0)) continue;
      this.#lifelines.add(m.id);
      m.#lifelines.add(this.id);
      const { life: hisLife } = m;
      const { life } = this;
      scheduler.after(network.delayMs(), () => {
        this.whenAwake(life, () => this.authority.lifelineOpened(m.id));
        m.whenAwake(hisLife, () => m.authority.lifelineOpened(this.id));
      });
    }
  }

  pauseFor(ms: number): void {
    if (!this.isRunning || this.isPaused) return;
    const { life } = this;
    this.#world.note(`pause ${this.id} for ${ms.toFixed(1)} ms`);
    this.isPaused = true;
    this.#world.scheduler.after(ms, () => {
      if (this.life === life) this.resume();
    });
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    if (!this.isRunning) return;
    for (const run of this.#waiting.splice(0)) run();
    this.#world.check(this);
  }

  /** For `ms` the worker does not take what control tells it; heartbeats and leases go on, and so does control. */
  deafen(ms: number): void {
    const { life } = this;
    this.#isDeaf = true;
    this.#world.scheduler.after(ms, () =>
      this.whenAwake(life, () => {
        this.#isDeaf = false;
        this.#tellWorker();
      }),
    );
  }

  /** Runs `action` in the life `life` of this process: now, or when it wakes up. */
  whenAwake(life: number, action: () => void): void {
    if (!this.isRunning || this.life !== life) return;
    if (this.isPaused) {
      this.#waiting.push(() => this.whenAwake(life, action));
      return;
    }
    action();
    this.#world.check(this);
  }

  /** Learns of committed entries, one by one or (a snapshot) several at once. */
  learn(): void {
    const { log, network } = this.#world;
    if (this.applied >= log.length) return;
    const next = network.chance(0.1) ? log.length : this.applied + 1;
    this.#applyUpTo(next);
  }

  propose(command: Command): void {
    this.#world.propose(this, command);
  }

  #applyUpTo(count: number): void {
    const { log } = this.#world;
    for (let i = this.applied; i < count; i++) {
      const entry = log.entries[i];
      if (entry?.command.type === "up" && entry.by === this.id && entry.life === this.life) {
        this.#incarnation = memberOf(entry.state, this.id)?.incarnation ?? 0;
      }
    }
    this.applied = count;
    if (!this.#isDeaf) this.#tellWorker();
    if (!this.#isCaughtUp && count >= this.#catchUpTo) {
      this.#isCaughtUp = true;
      this.authority.setCaughtUp();
    }
  }

  #tellWorker(): void {
    const state = this.#world.log.stateAt(this.applied);
    this.authority.applyState(state, this.#incarnation, this.localMs());
  }

  #isAdmitted(state: ClusterState): boolean {
    const me = memberOf(state, this.id);
    return me !== undefined && me.incarnation === this.#incarnation && me.state !== "down";
  }

  #onEvent(event: LivenessEvent): void {
    this.#world.trace(this, event);
    const state = this.#world.log.stateAt(this.applied);
    switch (event.type) {
      case "peerUp":
        this.#alive.add(event.node);
        // Only a suspicion: a life that is provably gone stays suspected until it is declared down.
        if ((this.#suspects.get(event.node) ?? 0) > 0) this.#suspects.delete(event.node);
        break;
      case "peerDown":
        this.#alive.delete(event.node);
        this.#suspects.set(
          event.node,
          event.incarnation > 0 || event.cause !== "silent"
            ? event.incarnation
            : (memberOf(state, event.node)?.incarnation ?? 0),
        );
        break;
      case "peerGone":
        if (event.incarnation > 0) this.#suspects.set(event.node, -event.incarnation);
        break;
      default:
        return;
    }
    this.#declareDown();
  }

  #onEffect(effect: AuthorityEffect): void {
    this.#world.trace(this, effect);
    const { life } = this;
    switch (effect.type) {
      case "view":
        if (this.#world.options.bug !== "late-stop") this.engine.set(this.authority.ownership.state);
        else this.#stopLate();
        return;
      case "barrier":
        this.#world.sendBarrier(this, effect.to, effect.slot, effect.epoch);
        return;
      case "voters":
        this.#knownEpoch = effect.epoch;
        return;
      case "settle":
        this.#world.scheduler.after(0, () =>
          this.whenAwake(life, () =>
            this.propose({
              type: "settled",
              node: this.id,
              slots: effect.slots,
              movedEpochs: effect.movedEpochs,
            }),
          ),
        );
        return;
      default:
        return;
    }
  }

  /** A planted bug: what is gained counts at once, what is lost only later. */
  #stopLate(): void {
    const { life } = this;
    const { state } = this.authority.ownership;
    for (let s = 0; s < state.length; s++) if (state[s] === SLOT_OWNED) this.engine[s] = SLOT_OWNED;
    this.#world.scheduler.after(20, () => this.whenAwake(life, () => this.engine.set(state)));
  }

  #send(link: number, to: number, bytes: Uint8Array): void {
    const peer = this.#world.member(to);
    const { life, isRunning } = peer;
    if (!isRunning) return;
    this.#world.network.send(this.id, to, link, bytes, (copy) =>
      peer.whenAwake(life, () => peer.authority.receive(link, copy, peer.localMs())),
    );
  }

  /** What control does of its own accord; real members do it on events, here every few milliseconds. */
  #proposeDue(): void {
    const { log, options } = this.#world;
    this.#openLifelines();
    if (!this.#isCaughtUp) {
      if (this.#world.hasQuorum(this)) this.#catchUpTo = Math.min(this.#catchUpTo, log.length);
      if (this.applied >= this.#catchUpTo) this.#applyUpTo(this.applied);
      return;
    }
    this.#declareDown();
    const state = log.stateAt(this.applied);
    if (this.role === "node" && !this.#isAdmitted(state)) this.#askToBeAdmitted(state);
    const { table } = state;
    const unsynced = table.backup.flatMap((b, s) => (b === this.id && table.synced[s] !== true ? [s] : []));
    if (unsynced.length > 0 && this.#world.network.chance(0.2)) {
      const backupEpochs = unsynced.map((s) => table.backupEpoch[s] as number);
      this.propose({ type: "ready", node: this.id, slots: unsynced, backupEpochs });
    }
    this.#quorum?.act(state, this.#knownEpoch, this.#alive);
    if (this.#world.leader() !== this) return;
    const next = plan(state, {
      alive: new Set([...this.#alive, this.id]),
      movesPerEpoch: Math.max(1, options.slots / 4),
    });
    if (next !== undefined) this.propose(next);
  }

  /** Nobody else may know that the life before is over: then this one declares it down itself. */
  #askToBeAdmitted(state: ClusterState): void {
    const { table } = state;
    const before = memberOf(state, this.id);
    if (before !== undefined && table.owner.includes(this.id)) {
      const { incarnation } = before;
      const next = takeover(table, this.id, this.#living(state, this.id));
      this.propose({ type: "down", node: this.id, incarnation, baseEpoch: table.epoch, table: next });
      return;
    }
    const name = `fw${this.id}`;
    this.propose({ type: "up", member: { id: this.id, name, role: "node", address: name, weight: 1 } });
  }

  /** Nodes that can take slots over from `dead`, as far as this member knows. */
  #living(state: ClusterState, dead: number): Member[] {
    return state.members.filter(
      (m) =>
        m.role === "node" &&
        m.id !== dead &&
        m.state !== "down" &&
        (m.id === this.id || this.#alive.has(m.id)),
    );
  }

  #declareDown(): void {
    const state = this.#world.log.stateAt(this.applied);
    for (const [node, marked] of this.#suspects) {
      const member = memberOf(state, node);
      const incarnation = Math.abs(marked);
      if (member === undefined || member.incarnation > incarnation || member.role === "witness") {
        this.#suspects.delete(node);
        continue;
      }
      if (member.state === "down" || incarnation === 0 || !this.#isCaughtUp) continue;
      const living = this.#living(state, node);
      const table = takeover(state.table, node, living);
      this.propose({ type: "down", node, incarnation, baseEpoch: state.table.epoch, table });
    }
  }

  #every(ms: number, life: number, action: () => void): void {
    const { scheduler, network } = this.#world;
    const again = (): void => {
      if (!this.isRunning || this.life !== life) return;
      if (this.isPaused) {
        this.#waiting.push(again);
        return;
      }
      action();
      this.#world.check(this);
      scheduler.after(network.between(ms * 0.9, ms * 1.3), again);
    };
    scheduler.after(network.between(0, ms), again);
  }
}

function memberOf(state: ClusterState, id: number): Member | undefined {
  return state.members.find((m) => m.id === id);
}
