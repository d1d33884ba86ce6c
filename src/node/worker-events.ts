/**
 * Worker events: what the control thread does about each thing that the dataplane worker says: words for the journal, times
 * for the histograms, proposals for the cluster.
 */
import type { Command } from "../../cluster/control/model.ts";
import { interfaceLabel, type NodeConfig } from "../../config/node-config.ts";
import type { JournalKind } from "./admin-model.ts";
import type { FailoverTimes } from "./failover-times.ts";
import type { Journal } from "./journal.ts";
import type { StoreQuestion } from "./store-relay.ts";
import type { FromWorker, PathState } from "./worker-protocol.ts";

export interface WorkerEventsOptions {
  readonly config: NodeConfig;
  readonly journal: Journal;
  readonly failover: FailoverTimes;
  readonly nameOf: (id: number) => string;
  readonly peerDown: (node: number, incarnation: number, isGone: boolean, isDeaf?: boolean) => void;
  readonly digestResult: (slot: number, isEqual: boolean) => void;
  readonly copyRefused: (slot: number) => void;
  readonly propose: (command: Command) => void;
  /** The worker goes by the voters of this epoch. */
  readonly votersKnown: (epoch: number) => void;
  readonly askStore: (question: StoreQuestion) => void;
}

type Liveness = Extract<FromWorker, { type: "liveness" }>["event"];
type Slots = Extract<FromWorker, { type: "slots" }>;

const SLOT_KINDS = {
  gained: "slots-gained",
  lost: "slots-lost",
  steered: "steered",
} as const satisfies Record<Slots["change"], JournalKind>;

const PATH_TEXT: Record<PathState, (name: string) => string> = {
  narrow: (name) => `frames of the cluster link's full MTU do not come through from ${name}`,
  whole: (name) => `frames of the cluster link's full MTU come through from ${name} again`,
  unknown: (name) => `${name} is not heard on the cluster link: whether it carries full frames is not known`,
};

const PACE_TEXT = {
  true: (name: string) =>
    `what goes to ${name} over the cluster link comes late or not at all: redirected packets go over the zones`,
  false: (name: string) => `what goes to ${name} over the cluster link comes in time again`,
} as const;

export class WorkerEvents {
  /** The lease does not hold: this node decides nothing. */
  isFenced = true;
  readonly #options: WorkerEventsOptions;

  constructor(options: WorkerEventsOptions) {
    this.#options = options;
  }

  receive(message: Exclude<FromWorker, 0>): void {
    const { config, journal, propose, digestResult } = this.#options;
    switch (message.type) {
      case "liveness":
        this.#onLiveness(message.event);
        return;
      case "slots":
        this.#onSlots(message);
        return;
      case "settle": {
        const { slots, movedEpochs } = message;
        propose({ type: "settled", node: config.cluster.self.id, slots, movedEpochs });
        return;
      }
      case "fenced": {
        const { isFenced, atMs } = message;
        this.isFenced = isFenced;
        if (isFenced) journal.add("fenced", "the lease ran out", { atMs });
        else journal.add("unfenced", "the lease is valid", { atMs });
        return;
      }
      case "voters":
        this.#options.votersKnown(message.epoch);
        return;
      case "storeLease":
      case "storeFence":
        this.#options.askStore(message);
        return;
      case "digest":
        digestResult(message.slot, message.isEqual);
        return;
      case "noRoom":
        this.#options.copyRefused(message.slot);
        return;
      case "carrier": {
        const { port, isUp, atMs } = message;
        const name = interfaceLabel(config.dataplane!.interfaces[port]!);
        const kind = isUp ? "link-up" : "link-down";
        journal.add(kind, `carrier of ${name} is ${isUp ? "back" : "lost"}`, { atMs });
        return;
      }
      case "mtu": {
        const { port, mtuBytes, atMs } = message;
        const name = interfaceLabel(config.dataplane!.interfaces[port]!);
        journal.add("mtu", `the MTU of ${name} is ${mtuBytes} now`, { atMs });
        return;
      }
      case "path": {
        const { node, path, atMs } = message;
        const name = this.#options.nameOf(node);
        journal.add("mtu", PATH_TEXT[path](name), { node, atMs });
        return;
      }
      case "claim":
      case "hearing":
      case "shown":
      case "probed":
      case "started":
      case "failed":
      case "stopped":
        return;
      default:
        message satisfies never;
    }
  }

  #onSlots({ change, slots, epoch, atMs }: Slots): void {
    const { journal, failover } = this.#options;
    journal.add(SLOT_KINDS[change], `${slots.length} slots ${change}`, { slots, epoch, atMs });
    if (change === "gained") failover.gained(slots, atMs);
  }

  #onLiveness(event: Liveness): void {
    const { journal, failover, nameOf, peerDown } = this.#options;
    const { atMs } = event;
    if (event.type === "stalled") {
      journal.add("stall", `the packet worker was late by ${event.lateMs.toFixed(1)} ms`, { atMs });
      return;
    }
    const { node } = event;
    const name = nameOf(node);
    switch (event.type) {
      case "linkUp":
        journal.add("link-up", `${name} is heard on link ${event.link}`, { node, atMs });
        return;
      case "linkDown":
        journal.add("link-down", `${name} is silent on link ${event.link}`, { node, atMs });
        return;
      case "linkPace":
        journal.add(event.isLate ? "link-late" : "link-timely", PACE_TEXT[`${event.isLate}`](name), {
          node,
          atMs,
        });
        return;
      case "peerUp":
        failover.heard(node);
        journal.add("peer-up", `${name} is heard`, { node, atMs });
        return;
      case "peerDown":
        // The takeover first: everything else can wait.
        peerDown(
          node,
          event.incarnation,
          event.cause === "lifeline" || event.cause === "restart",
          event.isDeaf,
        );
        failover.judged(node, event.lastHeardMs, atMs);
        journal.add("peer-down", `${name} is dead: ${event.cause}`, { node, atMs });
        return;
      case "peerGone":
        // A life that showed no incarnation may be any: what is known now may speak of the next one.
        if (event.incarnation !== 0) peerDown(node, event.incarnation, true);
        journal.add("peer-down", `the process of ${name} is gone for good`, { node, atMs });
        return;
      default:
        event satisfies never;
    }
  }
}
