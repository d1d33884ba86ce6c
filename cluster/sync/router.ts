/**
 * Router: takes the owner's records from the changes ring, in order, and gives each to the sender of the node that must have
 * it; knows which changes each peer has applied, and gets slots to new backups by snapshots, a few at a time.
 * Does not own batching and resending (sender.ts) nor the state of slots (slot-book.ts).
 *
 * Where a record goes is decided when it is drained, by the table known then:
 *   owner of the slot     its backup; nobody when there is none (such a change counts as acknowledged everywhere); and its
 *                         former backup, while it has one
 *   leaving the slot      the new owner, up to and including the barrier
 *   otherwise             nowhere, counted as stray
 *
 * Claims: ackedSequence[peer] is the highest count n of drained changes such that every change <= n that was destined to the
 * peer is applied there. It stands still while records lost on the way to that peer are not made up for by a snapshot.
 */
import {
  OP_BARRIER,
  OP_DELETE,
  OP_DIGEST,
  OP_SNAPSHOT_BEGIN,
  OP_SNAPSHOT_END,
  OP_UPSERT,
} from "../../src/base/record.ts";
import type { SlotTable } from "../control/model.ts";
import type { ResyncRequest } from "./messages.ts";
import { opAt, slotAt, wordsOf } from "./record-words.ts";
import { type RouterOptions, routerCounts } from "./router-options.ts";
import { Sender, type SessionEnd } from "./sender.ts";
import {
  COPY_ENDED,
  COPY_HELD,
  COPY_NONE,
  COPY_REQUESTED,
  COPY_SENT,
  COPY_STREAMING,
  COPY_WANTED,
  type CopyState,
  SlotBook,
} from "./slot-book.ts";

export class Router {
  readonly book: SlotBook;
  /** Copies of former backups. What is the slot's alone (isOwned, isSettled, isExporting) is read from `book`. */
  readonly formers: SlotBook;
  readonly counts = routerCounts();
  readonly #options: RouterOptions;
  readonly #words: Uint32Array;
  #policy: string;
  readonly #senders: (Sender | undefined)[] = new Array(256).fill(undefined);
  readonly #peers: Sender[] = [];
  /** By slot: a barrier that may leave only after what was lost before it was sent again. */
  readonly #owed = new Map<number, Uint32Array>();

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#words = wordsOf(options.changes.bytes);
    this.#policy = options.policy ?? "";
    this.book = new SlotBook(options.selfId, options.slots);
    this.formers = new SlotBook(options.selfId, options.slots, true);
  }

  /** The policy's fingerprint is another one from now on. */
  setPolicy(policy: string): void {
    this.#policy = policy;
    for (const sender of this.peers) sender.setPolicy(policy);
  }

  /** The sender to a peer, made on first use; all peers that may back up a slot must be known before a table names them. */
  sender(peerId: number): Sender {
    const known = this.#senders[peerId];
    if (known !== undefined) return known;
    const { selfId, limits, env } = this.#options;
    const sender = new Sender({
      selfId,
      peerId,
      limits,
      env,
      policy: this.#policy,
      ...(this.#options.formats === undefined ? {} : { formats: this.#options.formats }),
      events: {
        onProgress: (peer) => this.#onProgress(peer),
        onSessionEnd: (peer, end, nowMs) => this.#onSessionEnd(peer, end, nowMs),
        onResync: (peer, request) => this.#onResync(peer, request),
        onRefused: (peer, why) => this.#options.onRefused(peer, why),
      },
    });
    this.#senders[peerId] = sender;
    this.#peers.push(sender);
    return sender;
  }

  /** Frees what is kept for a node that is no member any more. A slot that still names it is lost on its way there. */
  forget(peerId: number): void {
    const sender = this.#senders[peerId];
    if (sender === undefined) return;
    sender.close();
    this.#senders[peerId] = undefined;
    this.#peers.splice(this.#peers.indexOf(sender), 1);
    const nowMs = this.#options.env.nowMs();
    for (const book of [this.book, this.formers]) {
      for (let slot = 0; slot < book.slots; slot++) {
        if (book.target[slot] === peerId) book.lose(slot, nowMs, nowMs);
      }
    }
  }

  get peers(): readonly Sender[] {
    return this.#peers;
  }

  /**
   * A committed table. The worker must hear of it before what is asked of it here, or it would export slots in an old epoch,
   * which nobody takes; and no record of its epoch may be drained before this call. What a table gives a node that is not
   * admitted was given to an earlier life: this one has none of it, and a snapshot of nothing would empty the backup.
   */
  setTable(table: SlotTable, isAdmitted = true): void {
    const nowMs = this.#options.env.nowMs();
    this.#followTable(table, nowMs, isAdmitted);
    for (const slot of [...this.#owed.keys()]) {
      if (this.book.isOwned[slot] === 1 || this.book.target[slot] === 0) this.#owed.delete(slot);
    }
    for (const sender of this.#peers) this.#publishAcked(sender);
    this.#requestExports(nowMs);
  }

  /** A node that becomes a former backup, or goes back from that to be the backup, has what it had in its other role. */
  #followTable(table: SlotTable, nowMs: number, isAdmitted: boolean): void {
    const { book, formers } = this;
    const copies = Array.from(
      { length: book.slots },
      (_, slot) => [book.copyOf(slot), formers.copyOf(slot)] as const,
    );
    book.setTable(table, nowMs, isAdmitted);
    formers.setTable(table, nowMs, isAdmitted);
    copies.forEach(([backup, former], slot) => {
      const isOther = (a: CopyState, now: SlotBook, before: CopyState): boolean =>
        a.target !== 0 && now.target[slot] === a.target && before.target !== a.target;
      if (isOther(backup, formers, former)) formers.inherit(slot, backup, nowMs);
      if (isOther(former, book, backup)) book.inherit(slot, former, nowMs);
    });
  }

  /** Takes what waits in the ring, within bounds. True when more is to be taken: call again soon. */
  drain(nowMs: number): boolean {
    const { changes, limits } = this.#options;
    const count = Math.min(changes.length(), limits.drainRecords);
    for (let i = 0; i < count; i++) this.#route(changes.at(i) >>> 2, nowMs);
    changes.release(count);
    for (const sender of this.#peers) {
      sender.pump();
      this.#publishAcked(sender);
    }
    this.#paceExports(nowMs);
    return changes.length() > 0;
  }

  /** Every open stream waits for an acknowledgement: nothing that is taken now leaves before one comes. */
  get isWaiting(): boolean {
    let isOneOpen = false;
    for (const sender of this.#peers) {
      if (!sender.isOpen) continue;
      if (!sender.isWaiting) return false;
      isOneOpen = true;
    }
    return isOneOpen;
  }

  tick(nowMs: number): void {
    for (const sender of this.#peers) sender.tick(nowMs);
    this.#expireExports(nowMs);
    this.#requestExports(nowMs);
    this.#paceExports(nowMs);
  }

  /** Age of the oldest change that this peer lacks, counting what was lost on the way; see Sender.lagMs(). */
  lagMs(peerId: number, nowMs: number): number {
    const lag = this.#senders[peerId]?.lagMs(nowMs) ?? 0;
    const since = [this.book, this.formers].filter((book) => book.lostSlots[peerId]! > 0);
    return Math.max(lag, ...since.map((book) => nowMs - book.lostSinceMs[peerId]!));
  }

  /** Slots whose copy at this peer lacks records that were dropped on their way. */
  lostSlots(peerId: number): number {
    return this.book.lostSlots[peerId]! + this.formers.lostSlots[peerId]!;
  }

  /** Sends every slot that this node owns to its backup again; only those of one peer when given. Answers how many. */
  forceFullSync(peerId = 0): number {
    const nowMs = this.#options.env.nowMs();
    let count = 0;
    for (const { peerId: peer } of this.#peers) {
      if (peerId !== 0 && peer !== peerId) continue;
      const slots: number[] = [];
      for (let slot = 0; slot < this.book.slots; slot++) {
        if (this.book.target[slot] === peer && this.#want(slot, nowMs)) slots.push(slot);
      }
      if (slots.length === 0) continue;
      count += slots.length;
      this.#options.onResync(peer, slots, "operator");
    }
    this.counts.resyncs.operator += count;
    this.#requestExports(nowMs);
    return count;
  }

  #route(at: number, nowMs: number): void {
    const words = this.#words;
    const { book, counts } = this;
    const op = opAt(words, at);
    const slot = slotAt(words, at);
    counts.drained++;
    if (slot >= book.slots) {
      counts.stray++;
      return;
    }
    if (op !== OP_UPSERT && op !== OP_DELETE) {
      this.#routeMarker(op, slot, at, nowMs);
      return;
    }
    if (this.formers.target[slot] !== 0) this.#send(this.formers, slot, at, nowMs);
    if (book.target[slot] !== 0) this.#send(book, slot, at, nowMs);
    else if (book.isOwned[slot] === 1) counts.unbacked++;
    else counts.stray++;
  }

  #send(book: SlotBook, slot: number, at: number, nowMs: number): void {
    if (book.isLost[slot] === 1 && book.state[slot]! < COPY_STREAMING) this.counts.lost++;
    else this.#append(book, slot, at, nowMs);
  }

  /** A snapshot is for whoever waits for it: a former backup that has everything hears nothing of one. */
  #routeMarker(op: number, slot: number, at: number, nowMs: number): void {
    const { formers } = this;
    if (op === OP_SNAPSHOT_BEGIN) this.book.isExporting[slot] = 1;
    if (op === OP_DIGEST) this.book.isExporting[slot] = 0;
    if (op !== OP_BARRIER && formers.target[slot] !== 0 && formers.state[slot] !== COPY_HELD) {
      this.#routeMarkerTo(formers, op, slot, at, nowMs);
    }
    this.#routeMarkerTo(this.book, op, slot, at, nowMs);
  }

  #routeMarkerTo(book: SlotBook, op: number, slot: number, at: number, nowMs: number): void {
    const target = book.target[slot]!;
    const state = book.state[slot]!;
    switch (op) {
      case OP_SNAPSHOT_BEGIN:
        if (target === 0) break;
        book.set(slot, COPY_STREAMING, nowMs);
        this.#append(book, slot, at, nowMs);
        return;
      case OP_SNAPSHOT_END:
        // An END whose BEGIN went elsewhere, or got lost, would make the peer drop what it was not sent again.
        if (state !== COPY_STREAMING) break;
        book.set(slot, COPY_ENDED, nowMs);
        this.#append(book, slot, at, nowMs);
        return;
      case OP_DIGEST:
        if (state === COPY_ENDED) {
          book.set(slot, COPY_SENT, nowMs);
          this.#append(book, slot, at, nowMs);
          // It found no room, and with it all of the snapshot is lost: the barrier waits for the next one.
          if (book.state[slot] !== COPY_SENT) return;
          book.digestSequence[slot] = this.#senders[target]?.lastSequence ?? 0;
          this.#payBarrier(slot, nowMs);
          return;
        }
        if (state !== COPY_HELD || book.isOwned[slot] === 0) break;
        this.#append(book, slot, at, nowMs);
        return;
      case OP_BARRIER:
        this.#routeBarrier(slot, at, nowMs);
        return;
    }
    this.counts.stray++;
  }

  #routeBarrier(slot: number, at: number, nowMs: number): void {
    const { book } = this;
    const target = book.isOwned[slot] === 1 ? 0 : book.target[slot]!;
    if (target === 0) {
      this.counts.stray++;
      return;
    }
    const state = book.state[slot]!;
    if (state === COPY_HELD || state === COPY_SENT) {
      this.#append(book, slot, at, nowMs);
      return;
    }
    this.#owe(slot, this.#words, at);
  }

  /** What could not be taken is lost, and said so; nothing is lost silently. */
  #append(book: SlotBook, slot: number, at: number, nowMs: number): void {
    const target = book.target[slot]!;
    const sender = this.#senders[target];
    if (sender?.append(this.#words, at, this.counts.drained, nowMs)) return;
    this.counts.lost++;
    if (opAt(this.#words, at) === OP_BARRIER) this.#owe(slot, this.#words, at);
    book.lose(slot, nowMs, nowMs);
  }

  #owe(slot: number, words: Uint32Array, at: number): void {
    this.counts.barriersOwed++;
    this.#owed.set(slot, words.slice(at, at + this.#options.changes.recordBytes / 4));
  }

  #payBarrier(slot: number, nowMs: number): void {
    const words = this.#owed.get(slot);
    const target = this.book.target[slot]!;
    if (words === undefined || this.book.isOwned[slot] === 1 || target === 0) return;
    // When the backlog overflows at this very moment the barrier stays owed.
    if (this.#senders[target]?.append(words, 0, this.counts.drained, nowMs)) this.#owed.delete(slot);
    else this.book.lose(slot, nowMs, nowMs);
  }

  /** While a snapshot fills its peer's window the worker adds nothing to it. Live changes go on, to that peer and to all others. */
  #paceExports(nowMs: number): void {
    this.#options.changes.holdBack(this.#peers.some((sender) => this.#isWindowFull(sender, nowMs)));
  }

  #isWindowFull(sender: Sender, nowMs: number): boolean {
    const { limits } = this.#options;
    const { peerId } = sender;
    if (this.book.streaming[peerId] === 0 && this.formers.streaming[peerId] === 0) return false;
    if (!sender.isOpen || sender.lagRecords < limits.exportWindowRecords) return false;
    return nowMs - sender.progressMs <= limits.exportPauseMsMax;
  }

  #onProgress(peerId: number): void {
    const { env } = this.#options;
    const nowMs = env.nowMs();
    const sender = this.#senders[peerId]!;
    for (const book of [this.book, this.formers]) {
      for (let slot = 0; slot < book.slots && book.sentSlots > 0; slot++) {
        if (book.state[slot] !== COPY_SENT || book.target[slot] !== peerId) continue;
        if (book.digestSequence[slot]! > sender.ackedSequence) continue;
        book.hold(slot, nowMs);
        this.counts.exportsDone++;
      }
    }
    this.#publishAcked(sender);
    this.#requestExports(nowMs);
    this.#paceExports(nowMs);
  }

  #publishAcked(sender: Sender): void {
    const { acked } = this.#options;
    const { peerId, backlog } = sender;
    if (this.lostSlots(peerId) > 0) return;
    const claim = backlog.length === 0 ? this.counts.drained : backlog.change(0) - 1;
    if (claim <= acked[peerId]!) return;
    acked[peerId] = claim;
    this.counts.claims++;
  }

  /** Marks what was in the backlog, and snapshots that were under way; slots of which nothing was in it are still whole. */
  #onSessionEnd(peerId: number, end: SessionEnd, nowMs: number): void {
    this.counts.lost += this.#senders[peerId]!.backlog.length;
    for (const book of [this.book, this.formers]) this.#endSession(book, peerId, end, nowMs);
  }

  #endSession(book: SlotBook, peerId: number, end: SessionEnd, nowMs: number): void {
    const { backlog } = this.#senders[peerId]!;
    const { words } = backlog;
    for (let i = 0; i < backlog.length; i++) {
      const at = backlog.wordAt(i);
      const slot = slotAt(words, at);
      const op = opAt(words, at);
      if (book.target[slot] !== peerId) continue;
      if (op === OP_BARRIER && book === this.book && book.isOwned[slot] === 0) this.#owe(slot, words, at);
      if (op !== OP_DIGEST || book.state[slot] === COPY_SENT) book.lose(slot, backlog.publishedMs(i), nowMs);
    }
    const wanted: number[] = [];
    for (let slot = 0; slot < book.slots; slot++) {
      if (book.target[slot] !== peerId) continue;
      if (end === "restart" || end === "forgot") book.lose(slot, nowMs, nowMs);
      else if (book.state[slot]! > COPY_REQUESTED) book.set(slot, COPY_WANTED, nowMs);
      if (book.state[slot] === COPY_WANTED) wanted.push(slot);
    }
    if (wanted.length > 0) this.#options.onResync(peerId, wanted, end);
  }

  #onResync(peerId: number, request: ResyncRequest): void {
    const nowMs = this.#options.env.nowMs();
    const { book } = this;
    const slots = request.slots.filter(
      (slot) => book.target[slot] === peerId && book.isOwned[slot] === 1 && this.#want(slot, nowMs),
    );
    this.counts.resyncs[request.reason] += slots.length;
    if (request.reason === "refused") for (const slot of request.slots) this.#onNoRoom(slot, peerId, nowMs);
    if (slots.length > 0) this.#options.onResync(peerId, slots, request.reason);
    this.#requestExports(nowMs);
  }

  /**
   * What the peer could not keep was acknowledged: nothing more may be, until a snapshot made up for it. A former backup's copy counts
   * like a backup's, and one that was to be sent again anyway like any other.
   */
  #onNoRoom(slot: number, peerId: number, nowMs: number): void {
    for (const book of [this.book, this.formers]) {
      if (slot >= book.slots || book.target[slot] !== peerId || book.isOwned[slot] === 0) continue;
      // A snapshot that finds no room either begins anew, but not at once.
      if (book.state[slot]! >= COPY_STREAMING) this.#backOff(book, slot, nowMs);
      book.lose(slot, nowMs, nowMs);
    }
  }

  /** Marks a slot to be sent again, at once the first time, then ever less eagerly. False when it is under way already. */
  #want(slot: number, nowMs: number): boolean {
    const { book } = this;
    const state = book.state[slot]!;
    if (state !== COPY_HELD && state !== COPY_SENT) return false;
    this.#backOff(book, slot, nowMs);
    book.set(slot, COPY_WANTED, nowMs);
    return true;
  }

  #backOff(book: SlotBook, slot: number, nowMs: number): void {
    const { resyncBackoffMs, resyncBackoffMsMax } = this.#options.limits;
    const backoff = book.backoffMs[slot]!;
    const isCalm = nowMs - book.notBeforeMs[slot]! > 2 * resyncBackoffMsMax;
    book.backoffMs[slot] =
      backoff === 0 || isCalm ? resyncBackoffMs : Math.min(backoff * 2, resyncBackoffMsMax);
    book.notBeforeMs[slot] = isCalm ? nowMs : nowMs + backoff;
  }

  #requestExports(nowMs: number): void {
    const { limits, requestExport } = this.#options;
    const { book, formers } = this;
    if (book.wantedSlots + formers.wantedSlots === 0) return;
    const asked: number[] = [];
    const askFor = (of: SlotBook, slot: number): void => {
      if (book.underWay + formers.underWay >= limits.exportSlots) return;
      if (of.state[slot] !== COPY_WANTED || !this.#mayExport(of, slot, nowMs)) return;
      of.set(slot, COPY_REQUESTED, nowMs);
      if (!asked.includes(slot)) asked.push(slot);
    };
    const ask = (slot: number): void => {
      askFor(book, slot);
      askFor(formers, slot);
    };
    // The packets of slots that are handed over wait for it.
    for (const slot of this.#owed.keys()) ask(slot);
    for (let slot = 0; slot < book.slots; slot++) ask(slot);
    if (asked.length === 0) return;
    this.counts.exportsAsked += asked.length;
    requestExport(asked);
  }

  #mayExport(of: SlotBook, slot: number, nowMs: number): boolean {
    const { book } = this;
    // A slot that is being left is sent again only to make up for what was lost before its barrier.
    const isDue = book.isOwned[slot] === 1 ? book.isSettled[slot] === 1 : this.#owed.has(slot);
    return (
      isDue &&
      book.isExporting[slot] === 0 &&
      of.notBeforeMs[slot]! <= nowMs &&
      (this.#senders[of.target[slot]!]?.isOpen ?? false)
    );
  }

  #expireExports(nowMs: number): void {
    for (const book of [this.book, this.formers]) this.#expireExportsOf(book, nowMs);
  }

  #expireExportsOf(book: SlotBook, nowMs: number): void {
    const { exportDeadlineMs, exportMsMax } = this.#options.limits;
    for (let slot = 0; slot < book.slots; slot++) {
      const state = book.state[slot]!;
      if (state === COPY_NONE || state === COPY_HELD || state === COPY_SENT) continue;
      const ageMs = nowMs - book.sinceMs[slot]!;
      if (state === COPY_WANTED) {
        // The worker gave up an export that was not wanted any more; do not wait for its end for ever.
        if (ageMs > exportMsMax) this.book.isExporting[slot] = 0;
        continue;
      }
      if (ageMs <= (state === COPY_STREAMING ? exportMsMax : exportDeadlineMs)) continue;
      if (state !== COPY_REQUESTED) this.book.isExporting[slot] = 0;
      this.counts.exportsExpired++;
      book.set(slot, COPY_WANTED, nowMs);
      const sender = this.#senders[book.target[slot]!];
      if (book === this.formers || !this.#owed.has(slot) || sender === undefined || !sender.isOpen) continue;
      // Rather a barrier without the last changes than a slot that nobody decides.
      this.counts.barriersBare++;
      this.#payBarrier(slot, nowMs);
      sender.pump();
    }
  }
}
