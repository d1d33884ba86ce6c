/**
 * Rig: a whole cluster's replication in virtual time, from one seed. Real cores (cluster/sync), model workers, links that delay,
 * break and lose their tail, nodes that restart, tables that move slots. Answers what went wrong, as text.
 */
import { emptyState, type SlotTable } from "../../cluster/control/model.ts";
import type { SyncLimits } from "../../cluster/sync/limits.ts";
import type { ReceiverLink, SenderLink } from "../../cluster/sync/link.ts";
import type { ReceiverMessage, SenderMessage } from "../../cluster/sync/messages.ts";
import { Replication } from "../../cluster/sync/replication.ts";
import { RECORD_FORMATS } from "../../cluster/sync/wire-format.ts";
import { MemoryLinkEnd, type Wire } from "../../cluster/transport/memory-link.ts";
import { seededRandom } from "../../src/base/env.ts";
import { OP_DELETE, OP_UPSERT } from "../../src/base/record.ts";
import { digestOf, LATER_FORMAT, type ModelEvents, ModelWorker } from "./sync-model.ts";

export const RIG_SLOTS = 16;
const HASHES_PER_SLOT = 6;
const LIMITS: Partial<SyncLimits> = {
  backlogRecords: 512,
  exportSlots: 3,
  exportWindowRecords: 64,
  stagedRecords: 512,
  unappliedBatches: 32,
  digestIntervalMs: 400,
  exportDeadlineMs: 300,
  exportMsMax: 2000,
  answerMsMax: 400,
  resyncBackoffMs: 50,
  resyncBackoffMsMax: 400,
};

/** Ways to break the rig on purpose, to see the checks bite. */
export interface Sabotage {
  /** Stands between a receiver and its link. */
  readonly receiverLink?: (link: ReceiverLink) => ReceiverLink;
  readonly senderLink?: (link: SenderLink) => SenderLink;
}

export interface RigOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly chaosMs: number;
  readonly limits?: Partial<SyncLimits>;
  readonly sabotage?: Sabotage;
  /** Chances per node and ms, in 1/1000. */
  readonly cuts?: number;
  readonly restarts?: number;
  readonly moves?: number;
  readonly stalls?: number;
  readonly changesPerMs?: number;
  /** Nodes of a build that has a later version of records; after a restart they are of the other build. */
  readonly laterBuilds?: readonly number[];
}

export interface RigReport {
  readonly problems: readonly string[];
  readonly restarts: number;
  readonly cuts: number;
  readonly moves: number;
  readonly overflows: number;
  readonly resent: number;
  readonly exports: number;
  readonly stalls: number;
  readonly divergences: number;
  /** Records that told what only the later version tells, and those that did not, at nodes of the later build. */
  readonly toldLater: number;
  readonly toldEarlier: number;
}

interface Connection {
  readonly from: number;
  readonly to: number;
  isCut: boolean;
  readonly ends: readonly MemoryLinkEnd<never, never>[];
}

interface RigNode {
  readonly id: number;
  worker: ModelWorker;
  replication: Replication;
  acked: Float64Array;
  claimed: number[];
  tableSeen: number;
  table: SlotTable;
  stalledUntilMs: number;
  toldMs: number;
  /** Counts lives: events of an older one do nothing. */
  life: number;
}

export class Rig {
  readonly problems: string[] = [];
  readonly nodes: RigNode[] = [];
  readonly tables: SlotTable[] = [];
  nowMs = 1000;
  restarts = 0;
  cuts = 0;
  moves = 0;
  overflows = 0;
  readonly #options: RigOptions;
  readonly #random: (bound: number) => number;
  readonly #events: { readonly atMs: number; readonly order: number; readonly run: () => void }[] = [];
  #order = 0;
  #connections: Connection[] = [];
  #sums = { resent: 0, exports: 0, stalls: 0, divergences: 0, toldLater: 0, toldEarlier: 0 };
  readonly #boots = new Map<number, number>();

  constructor(options: RigOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    const ids = Array.from({ length: options.nodes }, (_, i) => i + 1);
    const base = emptyState(RIG_SLOTS).table;
    const owner = base.owner.map((_, s) => ids[s % ids.length]!);
    const backup = base.backup.map((_, s) => (ids.length > 1 ? ids[(s + 1) % ids.length]! : 0));
    this.tables.push({
      ...base,
      epoch: 1,
      owner,
      backup,
      movedEpoch: base.movedEpoch.map(() => 1),
      backupEpoch: base.backupEpoch.map(() => 1),
    });
    for (const id of ids) this.nodes.push(this.#boot(id));
  }

  run(): RigReport {
    const { chaosMs } = this.#options;
    for (let ms = 0; ms < chaosMs && this.problems.length === 0; ms++) {
      this.#faults();
      this.#step(true);
    }
    for (let ms = 0; ms < 12_000 && this.problems.length === 0; ms++) {
      this.#step(false);
      if (ms % 250 === 249 && this.#isQuiet()) break;
    }
    if (this.problems.length === 0) this.#checkEnd();
    for (const node of this.nodes) this.#retire(node);
    return {
      problems: this.problems,
      restarts: this.restarts,
      cuts: this.cuts,
      moves: this.moves,
      overflows: this.overflows,
      ...this.#sums,
    };
  }

  get table(): SlotTable {
    return this.tables.at(-1)!;
  }

  // ------------------------------------------------------------ one millisecond

  #step(isChaos: boolean): void {
    const endMs = this.nowMs + 1;
    this.#runEvents(endMs);
    this.nowMs = endMs;
    for (const node of this.nodes) {
      this.#followTable(node);
      if (this.nowMs >= node.stalledUntilMs) {
        if (isChaos) this.#load(node);
        node.worker.work(this.#random(24));
        node.worker.apply(this.#random(96));
      }
      this.#drain(node);
      if (this.nowMs % 10 === node.id) node.replication.tick(this.nowMs);
      this.#checkClaims(node);
      this.#checkBounds(node);
    }
  }

  #runEvents(untilMs: number): void {
    for (;;) {
      let best = -1;
      for (let i = 0; i < this.#events.length; i++) {
        const event = this.#events[i]!;
        if (event.atMs > untilMs) continue;
        const first = this.#events[best];
        if (
          first === undefined ||
          event.atMs < first.atMs ||
          (event.atMs === first.atMs && event.order < first.order)
        )
          best = i;
      }
      if (best < 0) return;
      const [event] = this.#events.splice(best, 1);
      this.nowMs = Math.max(this.nowMs, event!.atMs);
      event!.run();
      for (const node of this.nodes) this.#checkClaims(node);
    }
  }

  #at(atMs: number, run: () => void): void {
    this.#events.push({ atMs, order: this.#order++, run });
  }

  #load(node: RigNode): void {
    const count = this.#random(2 * (this.#options.changesPerMs ?? 3));
    for (let i = 0; i < count; i++) {
      const slot = this.#random(RIG_SLOTS);
      node.worker.change(slot, slot * 100 + this.#random(HASHES_PER_SLOT), this.#random(4) === 0);
    }
  }

  #drain(node: RigNode): void {
    node.replication.onApplied();
    node.replication.drain(this.nowMs);
    this.#noteTargets(node);
  }

  /** Which node must get what was drained, told from the table alone. */
  #noteTargets(node: RigNode): void {
    const { log } = node.worker;
    const { drained } = node.replication.router.counts;
    for (let n = drained; n > 0 && log[n - 1]!.target < 0; n--) {
      const change = log[n - 1]!;
      change.target = targetOf(node.table, change.slot, node.id);
      change.role = roleOf(node.table, change.slot, node.id);
    }
  }

  #followTable(node: RigNode): void {
    if (node.tableSeen === this.tables.length || this.#random(3) === 0) return;
    this.#noteTargets(node);
    const table = this.tables[node.tableSeen++]!;
    node.table = table;
    node.replication.setTable(table);
    const { life } = node;
    // A worker hears of tables late, but in order.
    node.toldMs = Math.max(node.toldMs, this.nowMs + this.#random(3));
    this.#at(node.toldMs, () => {
      if (node.life === life) node.worker.setTable(table);
    });
  }

  // ------------------------------------------------------------ faults

  #faults(): void {
    const { cuts = 0, restarts = 0, moves = 0, stalls = 0 } = this.#options;
    if (this.#random(1000) < cuts) this.#cutOne();
    if (this.#random(1000) < restarts) this.#restart(this.nodes[this.#random(this.nodes.length)]!);
    if (this.#random(1000) < moves) this.#move(this.#random(RIG_SLOTS));
    if (this.#random(1000) < stalls) {
      this.nodes[this.#random(this.nodes.length)]!.stalledUntilMs = this.nowMs + this.#random(150);
    }
  }

  #cutOne(): void {
    const open = this.#connections.filter((c) => !c.isCut);
    const victim = open[this.#random(Math.max(1, open.length))];
    if (victim === undefined) return;
    this.cuts++;
    this.#cut(victim);
  }

  /** What is on its way is lost; each end learns of it at its own time. */
  #cut(connection: Connection): void {
    connection.isCut = true;
    this.#connections = this.#connections.filter((c) => c !== connection);
    for (const end of connection.ends) this.#at(this.nowMs + this.#random(30), () => end.lose("cut"));
  }

  #restart(node: RigNode): void {
    const isSafe = this.table.owner.every((owner, s) => owner !== node.id || this.table.synced[s]);
    if (this.nodes.length < 2 || !isSafe || this.table.awaiting.some((a) => a.length > 0)) return;
    this.restarts++;
    this.#retire(node);
    for (const c of [...this.#connections]) if (c.from === node.id || c.to === node.id) this.#cut(c);
    const { table } = this;
    const epoch = table.epoch + 1;
    const isHit = table.owner.map((owner, s) => owner === node.id || table.backup[s] === node.id);
    this.tables.push({
      ...table,
      epoch,
      owner: table.owner.map((owner, s) => (owner === node.id ? table.backup[s]! : owner)),
      backup: table.backup.map((backup, s) => (isHit[s] ? 0 : backup)),
      synced: table.synced.map((synced, s) => synced && !isHit[s]),
      movedEpoch: table.movedEpoch.map((moved, s) => (table.owner[s] === node.id ? epoch : moved)),
      backupEpoch: table.backupEpoch.map((e, s) => (isHit[s] ? epoch : e)),
      cause: "takeover",
    });
    Object.assign(node, this.#boot(node.id), { life: node.life + 1 });
    this.#at(this.nowMs + 5 + this.#random(100), () => this.#giveBackups());
  }

  #giveBackups(): void {
    const { table } = this;
    const epoch = table.epoch + 1;
    const bare = table.backup.map((backup) => backup === 0);
    if (!bare.includes(true)) return;
    this.tables.push({
      ...table,
      epoch,
      backup: table.backup.map((backup, s) => (bare[s] ? this.#other(table.owner[s]!) : backup)),
      backupEpoch: table.backupEpoch.map((e, s) => (bare[s] ? epoch : e)),
      cause: "backup",
    });
  }

  #other(id: number): number {
    const others = this.nodes.filter((n) => n.id !== id);
    return others[this.#random(others.length)]!.id;
  }

  /** Hands a slot to its proven backup, or gives it another backup. */
  #move(slot: number): void {
    const { table } = this;
    if (table.backup[slot] === 0 || table.awaiting[slot]!.length > 0) return;
    const epoch = table.epoch + 1;
    const put = <T>(cells: readonly T[], value: T): T[] =>
      cells.map((cell, s) => (s === slot ? value : cell));
    if (table.synced[slot]) {
      const from = table.owner[slot]!;
      this.moves++;
      this.tables.push({
        ...table,
        epoch,
        owner: put(table.owner, table.backup[slot]!),
        backup: put(table.backup, from),
        awaiting: put<readonly number[]>(table.awaiting, [from]),
        movedEpoch: put(table.movedEpoch, epoch),
        backupEpoch: put(table.backupEpoch, epoch),
        cause: "handover",
      });
    } else if (this.nodes.length > 2) {
      this.tables.push({
        ...table,
        epoch,
        backup: put(table.backup, this.#other(table.owner[slot]!)),
        backupEpoch: put(table.backupEpoch, epoch),
        cause: "backup",
      });
    }
  }

  // ------------------------------------------------------------ nodes and links

  /** The first build of a node is as told; each restart brings the other one, if any node has it: an upgrade, or the way back. */
  #isLaterBuild(id: number): boolean {
    const { laterBuilds } = this.#options;
    const boots = this.#boots.get(id) ?? 0;
    this.#boots.set(id, boots + 1);
    return laterBuilds !== undefined && laterBuilds.includes(id) === (boots % 2 === 0);
  }

  #boot(id: number): RigNode {
    const acked = new Float64Array(256);
    const later = (run: () => void): void => {
      const life = this.nodes[id - 1]?.life ?? 0;
      this.#at(this.nowMs + this.#random(3), () => {
        if ((this.nodes[id - 1]?.life ?? 0) === life) run();
      });
    };
    const formats = this.#isLaterBuild(id) ? [...RECORD_FORMATS, LATER_FORMAT] : RECORD_FORMATS;
    const events: ModelEvents = {
      digest: (slot, isEqual) => later(() => replication.digestResult(slot, isEqual)),
      settled: (slot, movedEpoch) =>
        this.#at(this.nowMs + this.#random(5), () => this.#settle(id, slot, movedEpoch)),
    };
    const worker = new ModelWorker(id, RIG_SLOTS, 256, 128, events, formats.at(-1));
    const replication = new Replication({
      selfId: id,
      slots: RIG_SLOTS,
      changes: worker.changes,
      replicas: worker.replicas,
      applied: worker.applied,
      acked,
      env: { nowMs: () => this.nowMs, random: this.#random },
      limits: { ...LIMITS, ...this.#options.limits },
      formats,
      openLink: (peerId) => this.#connect(id, peerId),
      requestExport: (slots) => later(() => worker.requestExport(slots)),
      requestDigest: (slots) => later(() => worker.requestDigest(slots)),
      onResync: () => {},
      onRefused: () => {},
      reportReady: (slots, epochs) =>
        this.#at(this.nowMs + this.#random(5), () => this.#ready(id, slots, epochs)),
    });
    const { table } = this;
    const all = Array.from({ length: this.#options.nodes }, (_, i) => i + 1);
    replication.setPeers(all.filter((peer) => peer !== id));
    replication.setTable(table);
    worker.setTable(table);
    return {
      id,
      worker,
      replication,
      acked,
      claimed: new Array<number>(256).fill(0),
      tableSeen: this.tables.length,
      table,
      stalledUntilMs: 0,
      toldMs: 0,
      life: 0,
    };
  }

  #retire(node: RigNode): void {
    const { replication } = node;
    for (const sender of replication.router.peers) {
      this.#sums.resent += sender.counts.recordsResent;
      this.overflows += sender.counts.sessionEnds.overflow;
      sender.close();
    }
    this.#sums.exports += replication.router.counts.exportsDone;
    this.#sums.divergences += replication.receiver.readiness.counts.divergences;
    this.#sums.toldLater += node.worker.told.later;
    this.#sums.toldEarlier += node.worker.told.earlier;
    for (const peer of replication.receiver.peers) this.#sums.stalls += peer.counts.stalls;
  }

  #connect(from: number, to: number): SenderLink {
    const wires = [this.#wire(), this.#wire()] as const;
    const near = new MemoryLinkEnd<SenderMessage, ReceiverMessage>(wires[0]);
    const far = new MemoryLinkEnd<ReceiverMessage, SenderMessage>(wires[1]);
    const connection: Connection = { from, to, isCut: false, ends: [near, far] as never };
    for (const wire of wires) wire.connection = connection;
    this.#connections.push(connection);
    const { sabotage } = this.#options;
    this.#at(this.nowMs + this.#random(4), () => {
      if (connection.isCut) return;
      near.join(far);
      far.join(near);
      const end: ReceiverLink = sabotage?.receiverLink?.(far) ?? far;
      this.nodes[to - 1]!.replication.attachReceiver(end, from);
    });
    return sabotage?.senderLink?.(near) ?? near;
  }

  #wire(): Wire & { connection: Connection | undefined } {
    let lastMs = 0;
    const wire: Wire & { connection: Connection | undefined } = {
      connection: undefined,
      carry: (deliver) => {
        lastMs = Math.max(lastMs, this.nowMs + this.#random(300) / 100);
        this.#at(lastMs, () => {
          if (wire.connection?.isCut !== true) deliver();
        });
      },
      soon: (callback) => this.#at(this.nowMs, callback),
    };
    return wire;
  }

  #ready(id: number, slots: readonly number[], epochs: readonly number[]): void {
    const { table } = this;
    const synced = [...table.synced];
    for (const [i, slot] of slots.entries()) {
      if (table.backup[slot] === id && table.backupEpoch[slot] === epochs[i]) synced[slot] = true;
    }
    this.tables.push({ ...table, synced });
  }

  #settle(id: number, slot: number, movedEpoch: number): void {
    const { table } = this;
    if (table.owner[slot] !== id || table.movedEpoch[slot] !== movedEpoch) return;
    this.tables.push({ ...table, awaiting: table.awaiting.map((cell, s) => (s === slot ? [] : cell)) });
  }

  // ------------------------------------------------------------ checks

  /** Every change that is newly claimed as applied by a peer is reflected there, now. */
  #checkClaims(node: RigNode): void {
    for (const peer of this.nodes) {
      const claim = node.acked[peer.id]!;
      const before = node.claimed[peer.id]!;
      if (claim <= before || peer === node) continue;
      node.claimed[peer.id] = claim;
      this.#noteTargets(node);
      for (let n = before + 1; n <= claim; n++) this.#checkClaim(node, peer, n, claim);
    }
  }

  #checkClaim(node: RigNode, peer: RigNode, n: number, claim: number): void {
    const { log } = node.worker;
    const change = log[n - 1]!;
    if (change.target !== peer.id || (change.op !== OP_UPSERT && change.op !== OP_DELETE)) return;
    // Changes from before the peer got its present role count for nobody: it was sent a snapshot since, or will be.
    if (roleOf(node.table, change.slot, node.id) !== change.role || peer.worker.isActive(change.slot)) return;
    const { hash } = change;
    let last = change;
    for (let m = n + 1; m <= claim; m++) {
      const later = log[m - 1]!;
      if (later.hash === hash && later.target === peer.id && isChange(later.op)) last = later;
    }
    const held = peer.worker.flows[change.slot]!.get(hash);
    if (held !== undefined && held >= last.version + (last.op === OP_DELETE ? 1 : 0)) return;
    if (held === undefined) {
      if (last.op === OP_DELETE) return;
      // Ended later: a snapshot may have told the peer so already.
      for (let m = n + 1; m <= log.length; m++)
        if (log[m - 1]!.hash === hash && log[m - 1]!.op === OP_DELETE) return;
    }
    this.problems.push(
      `at ${this.nowMs} ms node ${node.id} claims change ${claim} for ${peer.id}, which holds ${held} of ${hash}, not op ${last.op} version ${last.version}`,
    );
  }

  #checkBounds(node: RigNode): void {
    const { limits, router, receiver } = node.replication;
    for (const sender of router.peers) {
      if (sender.lagRecords > limits.backlogRecords)
        this.problems.push(`backlog of ${sender.lagRecords} records`);
    }
    const stagedMax = limits.stagedRecords * this.nodes.length;
    if (receiver.stagedRecords > stagedMax) this.problems.push(`${receiver.stagedRecords} records staged`);
    if (router.book.underWay > limits.exportSlots + RIG_SLOTS) this.problems.push("too many slots under way");
  }

  #isQuiet(): boolean {
    const { table } = this;
    return (
      this.nodes.every((n) => n.tableSeen === this.tables.length && n.worker.changes.length() === 0) &&
      table.synced.every((synced) => synced) &&
      table.awaiting.every((a) => a.length === 0) &&
      this.#differences().length === 0 &&
      this.nodes.every((n) => n.replication.router.peers.every((p) => p.lagRecords === 0))
    );
  }

  #differences(): string[] {
    const differences: string[] = [];
    const { table } = this;
    for (let slot = 0; slot < RIG_SLOTS; slot++) {
      if (table.backup[slot] === 0) continue;
      const own = digestOf(this.nodes[table.owner[slot]! - 1]!.worker.flows[slot]!);
      const copy = digestOf(this.nodes[table.backup[slot]! - 1]!.worker.flows[slot]!);
      if (own.count !== copy.count || own.sum !== copy.sum) {
        differences.push(
          `slot ${slot}: ${own.count} flows at ${table.owner[slot]}, ${copy.count} at ${table.backup[slot]}`,
        );
      }
    }
    return differences;
  }

  #checkEnd(): void {
    this.problems.push(...this.#differences());
    const { table } = this;
    for (let slot = 0; slot < RIG_SLOTS; slot++) {
      if (!table.synced[slot])
        this.problems.push(`slot ${slot} of ${table.owner[slot]} is not proven at ${table.backup[slot]}`);
      if (table.awaiting[slot]!.length > 0)
        this.problems.push(`slot ${slot} still awaits ${table.awaiting[slot]}`);
    }
    for (const node of this.nodes) {
      for (const sender of node.replication.router.peers) {
        const drained = node.replication.router.counts.drained;
        const claim = node.acked[sender.peerId]!;
        if (sender.lagRecords > 0 || claim !== drained) {
          this.problems.push(
            `node ${node.id} claims ${claim} of ${drained} changes for ${sender.peerId}, ${sender.lagRecords} unacknowledged`,
          );
        }
      }
    }
  }
}

function isChange(op: number): boolean {
  return op === OP_UPSERT || op === OP_DELETE;
}

/** Changes whenever the peer that must hold the slot, or why, changes. */
function roleOf(table: SlotTable, slot: number, self: number): number {
  return table.owner[slot] === self ? table.backupEpoch[slot]! : -table.movedEpoch[slot]!;
}

function targetOf(table: SlotTable, slot: number, self: number): number {
  if (table.owner[slot] === self) return table.backup[slot]!;
  return table.awaiting[slot]!.includes(self) ? table.owner[slot]! : 0;
}
