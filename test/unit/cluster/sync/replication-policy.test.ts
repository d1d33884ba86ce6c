/** Replication.setPolicy(): two nodes compare the fingerprints of their policies, which both change while they run. */
import { expect, test } from "vitest";
import type { SenderLink } from "../../../../cluster/sync/link.ts";
import type { ReceiverMessage, SenderMessage } from "../../../../cluster/sync/messages.ts";
import { Replication } from "../../../../cluster/sync/replication.ts";
import { MemoryLinkEnd, type Wire } from "../../../../cluster/transport/memory-link.ts";
import { drainRing, FakeClock, pairTable, publish, ring, SLOTS } from "./fakes.ts";

/** Node 1 owns all, node 2 backs it up; what is sent arrives at the next tick. */
class TwoNodes {
  readonly changes = ring(64);
  readonly #clock = new FakeClock();
  readonly #replicas = [ring(64), ring(64)];
  readonly #applied = [new Float64Array(1), new Float64Array(1)];
  readonly #nodes: readonly [Replication, Replication];
  #arriving: (() => void)[] = [];

  constructor() {
    this.#nodes = [this.#make(1), this.#make(2)];
    for (const node of this.#nodes) node.setTable(pairTable());
    this.run(50);
  }

  /** What each node says of the other's policy. */
  get matches(): string[] {
    return this.#nodes.map((node, i) => node.status(2 - i, this.#clock.ms).policy);
  }

  get resyncs(): number {
    return this.#nodes[0].status(2, this.#clock.ms).resyncs;
  }

  get received(): number {
    return this.#nodes[1].receiver.peer(1)!.counts.records;
  }

  node(id: 1 | 2): Replication {
    return this.#nodes[id - 1]!;
  }

  run(ms: number): void {
    for (let i = 0; i < ms; i++) {
      this.#clock.ms++;
      for (const arrive of this.#arriving.splice(0)) arrive();
      this.#nodes.forEach((node, at) => {
        node.tick(this.#clock.ms);
        this.#applied[at]![0]! += drainRing(this.#replicas[at]!).length;
        node.onApplied();
        node.drain(this.#clock.ms);
      });
    }
  }

  #make(selfId: 1 | 2): Replication {
    const replication = new Replication({
      selfId,
      slots: SLOTS,
      changes: selfId === 1 ? this.changes : ring(64),
      replicas: this.#replicas[selfId - 1]!,
      applied: this.#applied[selfId - 1]!,
      acked: new Float64Array(256),
      env: this.#clock,
      policy: "p1",
      openLink: () => this.#open(selfId),
      requestExport: () => {},
      requestDigest: () => {},
      onResync: () => {},
      onRefused: () => {},
      reportReady: () => {},
    });
    replication.setPeers([3 - selfId]);
    return replication;
  }

  #open(from: 1 | 2): SenderLink {
    const later = (work: () => void): void => void this.#arriving.push(work);
    const wire: Wire = { carry: later, soon: later };
    const near = new MemoryLinkEnd<SenderMessage, ReceiverMessage>(wire);
    const far = new MemoryLinkEnd<ReceiverMessage, SenderMessage>(wire);
    later(() => {
      near.join(far);
      far.join(near);
      this.#nodes[2 - from]!.attachReceiver(far, from);
    });
    return near;
  }
}

test("a node whose policy changes differs on both sides until the other one changes too", () => {
  const nodes = new TwoNodes();
  expect(nodes.matches).toEqual(["same", "same"]);
  nodes.node(1).setPolicy("p2");
  nodes.run(50);
  expect(nodes.matches).toEqual(["different", "different"]);
  nodes.node(2).setPolicy("p2");
  nodes.run(50);
  expect(nodes.matches).toEqual(["same", "same"]);
});

test("changes go on across the new links, each once, and no slot is sent whole", () => {
  const nodes = new TwoNodes();
  for (let hash = 1; hash <= 40; hash++) {
    publish(nodes.changes, { slot: hash % SLOTS, hash });
    if (hash % 10 === 0) nodes.node(1).setPolicy(`p${hash}`);
    nodes.run(1);
  }
  nodes.run(50);
  expect([nodes.received, nodes.resyncs]).toEqual([40, 0]);
});
