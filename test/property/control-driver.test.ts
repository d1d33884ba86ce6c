/**
 * Property of a cluster of drivers: through crashes, cuts, losses and stalls, no two nodes apply different commands at the
 * same index, what was acknowledged stays, nothing is applied twice, and in the end all agree.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Command, CommandResult } from "../../cluster/control/model.ts";
import { DriverCluster, type Node } from "../unit/cluster/control/cluster-of-drivers.ts";

const IDS = [1, 2, 3];

interface Event {
  readonly kind: "propose" | "kill" | "start" | "cut" | "heal" | "loss" | "leaderDied" | "transfer";
  readonly a: number;
  readonly b: number;
  readonly waitMs: number;
}

const event: fc.Arbitrary<Event> = fc.record({
  kind: fc.constantFrom(
    ...(["propose", "propose", "propose", "kill", "start", "start", "cut", "heal", "heal"] as const),
    ...(["loss", "leaderDied", "transfer"] as const),
  ),
  a: fc.constantFrom(...IDS),
  b: fc.constantFrom(...IDS),
  waitMs: fc.constantFrom(0, 1, 5, 30, 200, 600),
});

interface Applied {
  readonly command: Command;
  readonly result: CommandResult;
}

/** What each index was, as the first node to apply it saw it. */
class History {
  readonly #byIndex = new Map<number, string>();

  note(index: number, applied: Applied): void {
    const text = JSON.stringify(applied);
    const known = this.#byIndex.get(index);
    if (known !== undefined && known !== text) throw new Error(`index ${index}: ${known} and ${text}`);
    this.#byIndex.set(index, text);
  }
}

async function live(events: readonly Event[], seed: number): Promise<void> {
  const tuning = { snapshotEntries: 15, keepEntries: 4 };
  const cluster = new DriverCluster({ ids: IDS, witness: 3, seed, delayMsMin: 0.1, delayMsMax: 8, tuning });
  const history = new History();
  const acknowledged = new Set<number>();
  let weight = 0;
  const collect = (node: Node): void => {
    for (const { index, command, result } of node.commits.splice(0)) {
      if (command !== undefined) history.note(index, { command, result });
    }
    expect(node.fatal).toEqual([]);
  };
  const propose = (node: Node): void => {
    // Each member that is added is known by its id: 10, 11, ...
    const id = 10 + weight++;
    const member = { id, name: `m${id}`, role: "witness", address: "a", weight: 0 } as const;
    node.driver.propose({ type: "up", member }, 1_500).then(
      () => acknowledged.add(id),
      () => {},
    );
  };
  for (const { kind, a, b, waitMs } of events) {
    const node = cluster.nodes.get(a);
    if (kind === "propose" && node !== undefined) propose(node);
    else if (kind === "kill" && node !== undefined) {
      collect(node);
      cluster.kill(a);
    } else if (kind === "start" && node === undefined) cluster.start(a);
    else if (kind === "cut" && a !== b) cluster.network.cut(a, b);
    else if (kind === "heal") cluster.network.healAll();
    else if (kind === "loss") cluster.network.setLoss(a, b, 300);
    else if (kind === "leaderDied") node?.driver.leaderDied(b);
    else if (kind === "transfer") node?.driver.transferLeader(b);
    await cluster.clock.pass(waitMs);
    for (const each of cluster.nodes.values()) collect(each);
  }
  cluster.network.healAll();
  for (const a of IDS) for (const b of IDS) cluster.network.setLoss(a, b, 0);
  for (const id of IDS) if (!cluster.nodes.has(id)) cluster.start(id);
  await cluster.elect();
  propose(cluster.node(1));
  const last = 10 + weight - 1;
  await cluster.clock.until(() =>
    cluster.states().every((state) => state.members.some((m) => m.id === last)),
  );
  await cluster.clock.pass(2_000);
  for (const each of cluster.nodes.values()) collect(each);
  const states = cluster.states();
  expect(new Set(states.map((state) => JSON.stringify(state))).size).toBe(1);
  const members = states[0]!.members;
  for (const id of acknowledged) expect(members.map((member) => member.id)).toContain(id);
  expect(members.every((member) => member.incarnation === 1)).toBe(true);
}

test("all nodes apply the same commands, once each, and keep what was acknowledged", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 5, maxLength: 40, size: "max" }), fc.nat(), live),
    { numRuns: 60 },
  );
});

test("the history notices two nodes that disagree", () => {
  const history = new History();
  const command: Command = { type: "setState", node: 1, state: "active" };
  history.note(4, { command, result: { ok: true, changed: true } });
  history.note(4, { command, result: { ok: true, changed: true } });
  expect(() => history.note(4, { command, result: { ok: true, changed: false } })).toThrow(/index 4/);
});
