/**
 * Two drivers whose logs part and meet again. Raft alone would break its promises here: each rule of generations.ts is seen at work.
 */
import type { Message } from "raft-ts";
import { describe, expect, test } from "vitest";
import { planConfChange } from "../../../../cluster/control/conf-plan.ts";
import { generationOf } from "../../../../cluster/control/generation.ts";
import { Generations } from "../../../../cluster/control/generations.ts";
import { MemoryLogStore } from "../../../../cluster/storage/memory.ts";
import { VirtualClock } from "./virtual-clock.ts";

const CONF = { voters: [1, 2], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };

class Pair {
  readonly clock = new VirtualClock();
  readonly stores = [1, 2].map(() => new MemoryLogStore(CONF));
  readonly changes: string[] = [];
  readonly yielding: string[] = [];
  readonly serving = new Set<number>();
  isCut = false;
  /** Messages that arrived. */
  delivered = 0;
  readonly nodes: Generations[];

  constructor() {
    this.nodes = [1, 2].map((self) => this.#make(self));
    for (const node of this.nodes) node.start();
  }

  node(id: number): Generations {
    return this.nodes[id - 1]!;
  }

  /** A process that waits for the other one. */
  restart(id: number): void {
    this.node(id).stop();
    this.serving.delete(id);
    this.nodes[id - 1] = this.#make(id);
    this.node(id).start(true);
  }

  /** As src/node/quorum-keeper.ts does: Raft's configuration follows the cluster's state. */
  keepQuorum(): void {
    this.clock.every(100, () => {
      for (const node of this.nodes) {
        const change = planConfChange(node.state(), [1, 2], node.status().confState);
        if (change !== undefined) node.proposeConfChange(change);
      }
    });
  }

  async run(ms: number): Promise<void> {
    await this.clock.pass(ms);
  }

  async up(id: number): Promise<void> {
    const member = { id, name: `fw${id}`, role: "node", address: `192.0.2.${id}`, weight: 1 } as const;
    const done = this.node(id).propose({ type: "up", member, slots: 16 });
    await this.run(500);
    await done;
    this.serving.add(id);
  }

  #make(self: number): Generations {
    const deliver = (message: Message): void => {
      if (this.isCut) return;
      this.clock.after(1, () => {
        if (this.isCut) return;
        this.delivered++;
        this.node(message.to).receive(message);
      });
    };
    let seed = self;
    return new Generations({
      self,
      isWitness: false,
      candidates: (_state, voters) => voters,
      slots: 16,
      founders: [1, 2],
      storage: this.stores[self - 1]!,
      transport: { sendRaft: deliver, sendSnapshot: deliver },
      timers: this.clock,
      random: (bound) => {
        seed = (seed * 48_271) % 2_147_483_647;
        return seed % bound;
      },
      isServing: () => this.serving.has(self),
      onCommitted: () => undefined,
      onGeneration: (change, { epoch, by }) => {
        this.changes.push(`${self} ${change} ${epoch} by ${by}`);
        if (change === "lost") this.serving.delete(self);
      },
      onYielding: (isYielding) => this.yielding.push(`${self} ${isYielding}`),
      onFatal: (error) => {
        throw error;
      },
    });
  }
}

async function settled(): Promise<Pair> {
  const pair = new Pair();
  await pair.run(1000);
  await pair.up(1);
  await pair.up(2);
  return pair;
}

const stateOf = (node: Generations, id: number): string | undefined =>
  node.state().members.find((member) => member.id === id)?.state;

describe("logs of a pair", () => {
  test("who goes on alone decides alone, in an epoch that is marked", async () => {
    const pair = await settled();
    pair.isCut = true;
    const { epoch } = pair.node(2).state().table;
    expect(pair.node(2).force(1)).toBe(true);
    const { table, quorum, forced } = pair.node(2).state();
    expect([table.cause, table.epoch > epoch, forced]).toEqual([
      "forced",
      true,
      { epoch: table.epoch, by: 2 },
    ]);
    expect([quorum?.voters, stateOf(pair.node(2), 1)]).toEqual([[2], "down"]);
    const decided = pair.node(2).propose({ type: "weight", node: 2, weight: 7 });
    await pair.run(100);
    expect(await decided).toEqual({ ok: true, changed: true });
  });

  test("who was silent gives way, and holds what was decided without it", async () => {
    const pair = await settled();
    pair.isCut = true;
    pair.node(2).force(1);
    void pair.node(2).propose({ type: "weight", node: 2, weight: 7 });
    await pair.run(300);
    pair.isCut = false;
    await pair.run(500);
    expect(pair.changes.at(-1)).toMatch(/^1 lost \d+ by 2$/);
    expect(pair.node(1).state()).toEqual(pair.node(2).state());
    expect(generationOf(pair.stores[0]!.initialState().hardState.term).by).toBe(2);
  });

  test("when both went on, the higher epoch wins and the other log is replaced whole", async () => {
    const pair = await settled();
    pair.isCut = true;
    void pair
      .node(2)
      .propose({ type: "weight", node: 2, weight: 3 })
      .catch(() => undefined);
    pair.node(1).force(2);
    pair.node(2).force(1);
    void pair.node(1).propose({ type: "weight", node: 1, weight: 5 });
    await pair.run(300);
    const epochs = pair.nodes.map((node) => node.generation.epoch);
    // Both forced the same epoch: the lower id wins.
    expect(epochs[0]).toBe(epochs[1]);
    pair.isCut = false;
    await pair.run(800);
    expect(pair.nodes.map((node) => node.generation.by)).toEqual([1, 1]);
    expect(pair.node(2).state()).toEqual(pair.node(1).state());
    expect(
      pair
        .node(1)
        .state()
        .members.find(({ id }) => id === 1)?.weight,
    ).toBe(5);
  });

  test("who has not served since it started gives way to a lower epoch that serves", async () => {
    const pair = await settled();
    pair.isCut = true;
    pair.node(1).force(2);
    pair.node(2).force(1);
    await pair.run(300);
    pair.restart(1);
    await pair.run(300);
    pair.isCut = false;
    await pair.run(800);
    expect(pair.nodes.map((node) => node.generation.by)).toEqual([2, 2]);
  });

  test("a log is not thrown away for a winner that is gone before its snapshot came", async () => {
    const pair = await settled();
    pair.isCut = true;
    pair.node(2).force(1);
    await pair.run(100);
    const before = pair.stores[0]!.lastIndex();
    const { term } = pair.node(2).status();
    pair.node(1).receive({ type: "MsgHeartbeat", from: 2, to: 1, term, commit: 0 });
    expect([pair.node(1).isYielding, pair.stores[0]!.lastIndex()]).toEqual([true, before]);
    await pair.run(3_100);
    pair.node(1).tick();
    expect([pair.node(1).isYielding, pair.node(1).generation.epoch]).toEqual([false, 0]);
    expect(pair.yielding).toEqual(["1 true", "1 false"]);
  });

  /** Node 1 goes on alone, and node 2 learns from it, is cut off again, and goes on alone as well. */
  async function learnerOnItsOwn(): Promise<Pair> {
    const pair = await settled();
    pair.keepQuorum();
    pair.isCut = true;
    pair.node(1).force(2);
    await pair.run(300);
    pair.isCut = false;
    await pair.run(500);
    const { confState, matches } = pair.node(1).status();
    expect([pair.node(2).generation.by, confState.voters, confState.learners]).toEqual([1, [1], [2]]);
    expect(matches.get(2)).toBe(pair.stores[0]!.lastIndex());
    pair.isCut = true;
    await pair.run(300);
    expect(pair.node(2).force(1)).toBe(true);
    return pair;
  }

  for (const decisions of [0, 1, 20]) {
    test(`a learner that went on alone comes back to a leader that knows it, after ${decisions} decisions without it`, async () => {
      const pair = await learnerOnItsOwn();
      for (let weight = 2; weight < 2 + decisions; weight++) {
        void pair.node(1).propose({ type: "weight", node: 1, weight });
        await pair.run(20);
      }
      pair.restart(2);
      await pair.run(300);
      pair.isCut = false;
      pair.delivered = 0;
      await pair.run(1000);
      expect(pair.nodes.map((node) => node.generation.by)).toEqual([1, 1]);
      expect(pair.node(2).state()).toEqual(pair.node(1).state());
      expect(pair.node(1).status().confState.learners).toEqual([2]);
      expect(pair.node(1).status().matches.get(2)).toBe(pair.stores[1]!.lastIndex());
      // A heartbeat and its answer every 30 ms are 67 of them.
      expect(pair.delivered).toBeLessThan(150);
    });
  }

  test("a leader that is refused by a learner of its own log keeps what it knows of it", async () => {
    const pair = await learnerOnItsOwn();
    const { term, matches, confState } = pair.node(1).status();
    const base = { type: "MsgAppResp", from: 2, to: 1, term, reject: true, rejectHint: 0 } as const;
    // An empty log, and one that ends in the same generation.
    pair.node(1).receive({ ...base, index: 6, logTerm: 0 });
    pair.node(1).receive({ ...base, index: 6, logTerm: term });
    await pair.run(200);
    const after = pair.node(1).status();
    expect([after.matches.get(2), after.confState]).toEqual([matches.get(2), confState]);
    pair.node(1).receive({ ...base, index: 6, logTerm: 1 });
    await pair.run(10);
    expect(pair.node(1).status().matches.has(2)).toBe(false);
  });

  test("votes, acknowledgements and proposals of another log do not count", async () => {
    const pair = await settled();
    pair.isCut = true;
    pair.node(2).force(1);
    await pair.run(100);
    const { foreign } = pair.node(2);
    const { term, lastIndex } = { term: 2, lastIndex: pair.stores[1]!.lastIndex() };
    const before = pair.node(2).status();
    const base = { from: 1, to: 2, term };
    pair.node(2).receive({ type: "MsgVote", ...base, index: lastIndex + 9, logTerm: term });
    pair.node(2).receive({ type: "MsgAppResp", ...base, index: 1, reject: false, rejectHint: 0, logTerm: 0 });
    pair.node(2).receive({ type: "MsgApp", ...base, index: 1, logTerm: 1, commit: 1, entries: [] });
    const data = new TextEncoder().encode("{}");
    const entries = [{ term: 0, index: 0, type: "normal", data }] as const;
    pair.node(2).receive({ type: "MsgProp", from: 1, to: 2, term: 0, entries });
    expect(pair.node(2).foreign - foreign).toBe(4);
    expect(pair.node(2).status()).toEqual(before);
  });
});
