/**
 * In-memory transport: a cluster link inside one process, for simulation and tests. Delays, loss and cuts are under the
 * simulator's control, all time comes from its scheduler, and all chance from its generator, so a seed repeats a run.
 * Also owns the lifelines of simulated nodes: kill() closes them at once, as the kernel does for a process that ends.
 */

import type { Message, MsgSnap } from "raft-ts";
import { SynwallError } from "../../src/base/errors.ts";
import type { SenderLink } from "../sync/link.ts";
import type { ReceiverMessage, SenderMessage } from "../sync/messages.ts";
import { MemoryLinkEnd, type Wire } from "./memory-link.ts";
import type {
  PeerReport,
  Transport,
  TransportCounters,
  TransportHandlers,
  TransportPeer,
} from "./transport.ts";
import { CANNOT_RESTART, maySend, zeroCounters } from "./transport.ts";

export interface MemoryNetworkOptions {
  /** Calls back after `delayMs`; 0 means soon, never at once. */
  schedule(delayMs: number, callback: () => void): void;
  random(bound: number): number;
  readonly delayMsMin?: number;
  readonly delayMsMax?: number;
  /** How long a cut lasts until connections over it break. */
  readonly breakAfterMs?: number;
}

/** One member's place in the network; a restart is a new one. */
interface Endpoint {
  readonly id: number;
  readonly transport: MemoryTransport;
  handlers: TransportHandlers | undefined;
  lifeline: ((peer: number) => void) | undefined;
}

interface LinkPair {
  readonly from: number;
  readonly to: number;
  readonly lose: (why: string) => void;
}

export class MemoryNetwork {
  readonly options: MemoryNetworkOptions;
  readonly #endpoints = new Map<number, Endpoint>();
  /** Directed cuts, "from>to". */
  readonly #cuts = new Set<string>();
  /** What is under way, for each directed pair, oldest first. */
  readonly #lanes = new Map<string, (() => void)[]>();
  readonly #stalled = new Map<string, (() => void)[]>();
  readonly #links = new Set<LinkPair>();
  readonly #lossPerMille = new Map<string, number>();

  constructor(options: MemoryNetworkOptions) {
    this.options = options;
  }

  /** Makes the transport of member `id`; what an earlier one of that id still had under way is lost. */
  attach(id: number): MemoryTransport {
    if (this.#endpoints.has(id)) this.kill(id);
    const transport = new MemoryTransport(this, id);
    this.#endpoints.set(id, { id, transport, handlers: undefined, lifeline: undefined });
    return transport;
  }

  /** `onClosed` hears at once when a peer's process ends. */
  watchLifelines(id: number, onClosed: (peer: number) => void): void {
    const endpoint = this.#endpoints.get(id);
    if (endpoint !== undefined) endpoint.lifeline = onClosed;
  }

  /** The process of `id` ends: its connections close, which peers hear unless a cut hides it. */
  kill(id: number): void {
    if (!this.#endpoints.delete(id)) return;
    for (const link of [...this.#links]) {
      if (link.from === id || link.to === id) this.#breakLink(link, "the peer is gone");
    }
    for (const peer of this.#endpoints.values()) {
      if (this.#isCutEitherWay(id, peer.id)) continue;
      this.carry(id, peer.id, () => this.#endpoints.get(peer.id)?.lifeline?.(id));
    }
  }

  /** Nothing goes from `from` to `to` any more. Connections between the two stall, and break after a while. */
  cut(from: number, to: number): void {
    this.#cuts.add(key(from, to));
    this.options.schedule(this.options.breakAfterMs ?? 1_000, () => {
      if (!this.#isCutEitherWay(from, to)) return;
      for (const link of [...this.#links]) {
        const isBetween = (link.from === from && link.to === to) || (link.from === to && link.to === from);
        if (isBetween) this.#breakLink(link, "the connection timed out");
      }
      this.#stalled.delete(pairKey(from, to));
    });
  }

  heal(from: number, to: number): void {
    this.#cuts.delete(key(from, to));
    if (this.#isCutEitherWay(from, to)) return;
    const waiting = this.#stalled.get(pairKey(from, to)) ?? [];
    this.#stalled.delete(pairKey(from, to));
    for (const deliver of waiting) deliver();
  }

  healAll(): void {
    for (const cut of [...this.#cuts]) {
      const [from, to] = cut.split(">").map(Number) as [number, number];
      this.heal(from, to);
    }
  }

  /** Raft messages from `from` to `to` get lost with this probability; links do not lose, they break. */
  setLoss(from: number, to: number, perMille: number): void {
    this.#lossPerMille.set(key(from, to), perMille);
  }

  // ---------------------------------------------------------------- for transports

  endpoint(id: number): Endpoint | undefined {
    return this.#endpoints.get(id);
  }

  isReachable(from: number, to: number): boolean {
    return this.#endpoints.get(to)?.handlers !== undefined && !this.#isCutEitherWay(from, to);
  }

  isLost(from: number, to: number): boolean {
    const loss = this.#lossPerMille.get(key(from, to)) ?? 0;
    return loss > 0 && this.options.random(1000) < loss;
  }

  isCut(from: number, to: number): boolean {
    return this.#cuts.has(key(from, to));
  }

  /** Delivers after a drawn delay, in order for each direction. */
  carry(from: number, to: number, deliver: () => void): void {
    const { delayMsMin = 0, delayMsMax = 0, random, schedule } = this.options;
    const spread = delayMsMax - delayMsMin;
    const drawn = delayMsMin + (spread > 0 ? (spread * random(1_000)) / 1_000 : 0);
    const lane = key(from, to);
    const queue = this.#lanes.get(lane) ?? [];
    this.#lanes.set(lane, queue);
    queue.push(deliver);
    // Whichever timer of a lane fires first delivers the oldest: order is kept, whatever the delays.
    schedule(drawn, () => queue.shift()?.());
  }

  openLink(from: number, to: number): SenderLink {
    let pair: LinkPair | undefined;
    const wire = (a: number, b: number): Wire => ({
      soon: (callback) => this.options.schedule(0, callback),
      carry: (deliver) =>
        this.#carryReliably(a, b, () => pair !== undefined && this.#links.has(pair) && deliver()),
    });
    const near = new MemoryLinkEnd<SenderMessage, ReceiverMessage>(wire(from, to));
    const far = new MemoryLinkEnd<ReceiverMessage, SenderMessage>(wire(to, from));
    pair = {
      from,
      to,
      lose: (why) => {
        near.lose(why);
        far.lose(why);
      },
    };
    this.#links.add(pair);
    const made = pair;
    const opener = this.#endpoints.get(from);
    this.carry(from, to, () => {
      const endpoint = this.#endpoints.get(to);
      const isKnown = endpoint?.transport.knows(from) === true;
      if (!this.isReachable(from, to) || !isKnown || this.#endpoints.get(from) !== opener) {
        this.#breakLink(made, "the peer cannot be reached");
        return;
      }
      if (near.isClosed) {
        this.#links.delete(made);
        return;
      }
      far.join(near);
      endpoint?.handlers?.onSyncLink(from, far);
      this.carry(to, from, () => near.join(far));
    });
    return near;
  }

  start(id: number, handlers: TransportHandlers): void {
    const endpoint = this.#endpoints.get(id);
    if (endpoint !== undefined) endpoint.handlers = handlers;
  }

  #carryReliably(from: number, to: number, deliver: () => void): void {
    this.carry(from, to, () => {
      if (!this.#isCutEitherWay(from, to)) {
        deliver();
        return;
      }
      const waiting = this.#stalled.get(pairKey(from, to)) ?? [];
      this.#stalled.set(pairKey(from, to), waiting);
      waiting.push(deliver);
    });
  }

  #breakLink(link: LinkPair, why: string): void {
    if (!this.#links.delete(link)) return;
    this.options.schedule(0, () => link.lose(why));
  }

  #isCutEitherWay(a: number, b: number): boolean {
    return this.#cuts.has(key(a, b)) || this.#cuts.has(key(b, a));
  }
}

/** One member's transport on a MemoryNetwork. */
export class MemoryTransport implements Transport {
  readonly counters: TransportCounters = zeroCounters();
  readonly #network: MemoryNetwork;
  readonly #id: number;
  #peers: ReadonlySet<number> | undefined;

  constructor(network: MemoryNetwork, id: number) {
    this.#network = network;
    this.#id = id;
  }

  async start(handlers: TransportHandlers): Promise<void> {
    this.#network.start(this.#id, handlers);
  }

  sendRaft(message: Exclude<Message, MsgSnap>): void {
    const { to } = message;
    const network = this.#network;
    if (network.endpoint(to)?.handlers === undefined) {
      this.counters.raftDropped++;
      network.options.schedule(0, () => this.#own()?.onUnreachable(to));
      return;
    }
    this.counters.raftSent++;
    if (network.isCut(this.#id, to) || network.isLost(this.#id, to)) return;
    this.#deliver(to, message);
  }

  sendSnapshot(message: MsgSnap): void {
    const { to } = message;
    this.#network.carry(this.#id, to, () => {
      const isDelivered = this.#network.isReachable(this.#id, to);
      if (isDelivered) {
        this.counters.snapshotsSent++;
        this.#receive(to, message);
      } else {
        this.counters.snapshotsFailed++;
      }
      this.#network.carry(to, this.#id, () => this.#own()?.onSnapshotSent(to, isDelivered));
    });
  }

  status(to: number, timeoutMs: number): Promise<PeerReport> {
    return this.#call(to, timeoutMs, "ask for the status", async (handlers) => handlers.onStatus(this.#id));
  }

  restart(to: number, incarnation: number, timeoutMs: number): Promise<string> {
    return this.#call(
      to,
      timeoutMs,
      "ask for a restart",
      async (handlers) => handlers.onRestart?.(this.#id, incarnation) ?? CANNOT_RESTART,
    );
  }

  openSyncLink(to: number): SenderLink {
    return this.#network.openLink(this.#id, to);
  }

  /** Whoever else knocks is turned away; before the first call nobody is. */
  setPeers(peers: readonly Pick<TransportPeer, "id">[]): void {
    this.#peers = new Set(peers.map(({ id }) => id));
  }

  knows(id: number): boolean {
    return this.#peers?.has(id) ?? true;
  }

  isConnected(to: number): boolean {
    return this.#network.isReachable(this.#id, to);
  }

  async close(): Promise<void> {
    if (this.#network.endpoint(this.#id)?.transport === this) this.#network.kill(this.#id);
  }

  #deliver(to: number, message: Exclude<Message, MsgSnap>): void {
    this.#network.carry(this.#id, to, () => {
      if (!this.#network.isCut(this.#id, to)) this.#receive(to, message);
    });
  }

  #receive(to: number, message: Message): void {
    const endpoint = this.#network.endpoint(to);
    if (endpoint?.handlers === undefined) return;
    const counters = endpoint.transport.counters;
    if (!maySend(this.#id, message)) {
      counters.refused.stranger++;
      return;
    }
    if (!endpoint.transport.knows(this.#id)) {
      counters.refused.stranger++;
      this.#network.carry(to, this.#id, () => this.#own()?.onTurnedAway?.(to));
      return;
    }
    counters.raftReceived++;
    if (message.type === "MsgSnap") counters.snapshotsReceived++;
    endpoint.handlers.onRaft(this.#id, message);
  }

  #call<T>(
    to: number,
    timeoutMs: number,
    what: string,
    ask: (handlers: TransportHandlers) => Promise<T>,
  ): Promise<T> {
    const network = this.#network;
    return new Promise((resolve, reject) => {
      const fail = (why: string): void =>
        reject(new SynwallError("SW_CONTROL_TIMEOUT", `Cannot ${what} at node ${to}: ${why}`));
      network.options.schedule(timeoutMs, () => fail("no answer in time"));
      network.carry(this.#id, to, () => {
        const { handlers, transport } = network.endpoint(to) ?? {};
        if (handlers === undefined || !network.isReachable(this.#id, to)) return;
        if (transport?.knows(this.#id) === false) return;
        ask(handlers).then(
          (answer) =>
            network.carry(to, this.#id, () => {
              if (!network.isCut(to, this.#id)) resolve(answer);
            }),
          (error: unknown) => fail(error instanceof Error ? error.message : String(error)),
        );
      });
    });
  }

  #own(): TransportHandlers | undefined {
    const endpoint = this.#network.endpoint(this.#id);
    return endpoint?.transport === this ? endpoint.handlers : undefined;
  }
}

function key(from: number, to: number): string {
  return `${from}>${to}`;
}

function pairKey(a: number, b: number): string {
  return a < b ? key(a, b) : key(b, a);
}
