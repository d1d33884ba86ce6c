import { describe, expect, test } from "vitest";
import { downCommand, wouldLoseFlows } from "../../../../cluster/control/commands.ts";
import { applyCommand } from "../../../../cluster/control/machine.ts";
import {
  type ClusterState,
  type Command,
  emptyState,
  type SlotTable,
} from "../../../../cluster/control/model.ts";
import { MOVES_PER_EPOCH, plan } from "../../../../cluster/control/planner.ts";

const SLOTS = 64;

function up(id: number, weight = 1): Command {
  return { type: "up", member: { id, name: `fw${id}`, role: "node", address: `192.0.2.${id}`, weight } };
}

/** A cluster whose backups and owners do their part when told to. */
class Cluster {
  state: ClusterState = emptyState(SLOTS);
  readonly log: string[] = [];

  apply(command: Command): void {
    const { cluster, result } = applyCommand(this.state, command);
    expect(result).toEqual({ ok: true, changed: true });
    if (command.type === "table") this.log.push(`${command.table.cause} ${this.#changes(command)}`);
    else if (command.type === "setState") this.log.push(`${command.state} ${command.node}`);
    this.state = cluster;
  }

  /** Runs the plan as far as it goes without help. */
  plan(alive?: ReadonlySet<number>): void {
    for (let i = 0; i < 200; i++) {
      const command = plan(this.state, alive === undefined ? {} : { alive });
      if (command === undefined) return;
      this.apply(command);
    }
    throw new Error("the plan does not come to an end");
  }

  prove(): boolean {
    const { table } = this.state;
    const slots = [...table.owner.keys()].filter((s) => table.backup[s] !== 0 && !table.synced[s]);
    for (const s of slots) {
      this.apply({
        type: "ready",
        node: table.backup[s]!,
        slots: [s],
        backupEpochs: [table.backupEpoch[s]!],
      });
    }
    return slots.length > 0;
  }

  activate(): boolean {
    const { table } = this.state;
    const slots = [...table.owner.keys()].filter((s) => table.awaiting[s]!.length > 0);
    for (const s of slots) {
      this.apply({ type: "settled", node: table.owner[s]!, slots: [s], movedEpochs: [table.movedEpoch[s]!] });
    }
    return slots.length > 0;
  }

  settle(): void {
    do this.plan();
    while (this.activate() || this.prove());
  }

  owned(id: number): number {
    return this.state.table.owner.filter((owner) => owner === id).length;
  }

  stateOf(id: number): string | undefined {
    return this.state.members.find((member) => member.id === id)?.state;
  }

  #changes(command: Extract<Command, { type: "table" }>): number {
    return command.table.owner.filter((owner, s) => owner !== this.state.table.owner[s]).length;
  }
}

test("a lone node gets everything and is active", () => {
  const cluster = new Cluster();
  cluster.apply(up(1));
  cluster.plan();
  expect(cluster.owned(1)).toBe(SLOTS);
  expect(cluster.stateOf(1)).toBe("active");
});

test("a node owns nothing before it has proven what it backs up", () => {
  const cluster = new Cluster();
  cluster.apply(up(1));
  cluster.plan();
  cluster.apply(up(2));
  cluster.plan();
  expect(cluster.state.table.backup.every((id) => id === 2)).toBe(true);
  expect([cluster.owned(2), cluster.stateOf(2)]).toEqual([0, "joining"]);
  cluster.prove();
  cluster.plan();
  expect(cluster.stateOf(2)).toBe("active");
  expect(cluster.owned(2)).toBe(MOVES_PER_EPOCH);
});

test("moves come in batches, the next only after the former has settled", () => {
  const cluster = new Cluster();
  cluster.apply(up(1));
  cluster.settle();
  cluster.apply(up(2));
  cluster.log.length = 0;
  cluster.settle();
  const batches = cluster.log.filter((line) => line.startsWith("handover"));
  expect(batches).toEqual(["handover 8", "handover 8", "handover 8", "handover 8"]);
  expect(plan(cluster.state)).toBeUndefined();
  expect([cluster.owned(1), cluster.owned(2)]).toEqual([32, 32]);
});

test("nothing moves while somebody is awaited", () => {
  const cluster = new Cluster();
  cluster.apply(up(1));
  cluster.settle();
  cluster.apply(up(2));
  cluster.plan();
  cluster.prove();
  cluster.plan();
  expect(cluster.state.table.awaiting.some((awaited) => awaited.length > 0)).toBe(true);
  expect(plan(cluster.state)).toBeUndefined();
});

describe("another backup", () => {
  /** Three settled nodes, of which the second has just been made heavier. */
  function rearranging(): Cluster {
    const cluster = new Cluster();
    for (const id of [1, 2, 3]) cluster.apply(up(id));
    cluster.settle();
    expect(cluster.state.table.former).toBeUndefined();
    cluster.apply({ type: "weight", node: 2, weight: 3 });
    do cluster.plan();
    while (changing(cluster).length === 0 && cluster.activate());
    return cluster;
  }

  const changing = ({ state: { table } }: Cluster): number[] =>
    [...table.owner.keys()].filter((s) => table.synced[s] !== true);

  const cells = (table: SlotTable, s: number): unknown[] => [
    table.owner[s],
    table.backup[s],
    table.synced[s],
  ];

  /** Whoever `who` names dies while a slot changes its backup: that slot, and the tables before and after. */
  function death(
    who: (table: SlotTable) => readonly number[],
  ): [slot: number, before: SlotTable, after: SlotTable] {
    const cluster = rearranging();
    const [s = 0] = changing(cluster);
    const before = cluster.state.table;
    cluster.apply(downCommand(cluster.state, who(before)[s]!)!);
    return [s, before, cluster.state.table];
  }

  test("is made beside the old one, which is released when the new one is proven", () => {
    const cluster = rearranging();
    const slots = changing(cluster);
    expect(slots.length).toBeGreaterThan(0);
    for (const s of slots) {
      const { owner, backup, former } = cluster.state.table;
      expect(new Set([owner[s], backup[s], former![s]])).toEqual(new Set([1, 2, 3]));
    }
    expect(wouldLoseFlows(cluster.state, cluster.state.table.owner[slots[0]!]!)).toBe(false);
    cluster.prove();
    expect(cluster.state.table.former).toBeDefined();
    cluster.apply(plan(cluster.state)!);
    expect(cluster.state.table.former).toBeUndefined();
  });

  test("the old one takes over while it is there, and sends the new one everything", () => {
    const [s, before, after] = death(({ owner }) => owner);
    expect(cells(after, s)).toEqual([before.former![s], before.backup[s], false]);
    expect(after.backupEpoch[s]).toBe(after.epoch);
  });

  test("the old one is the backup again, with all it has, when the new one dies", () => {
    const [s, before, after] = death(({ backup }) => backup);
    expect(cells(after, s)).toEqual([before.owner[s], before.former![s], true]);
  });

  test("an old one that dies is none any more", () => {
    const [s, before, after] = death(({ former }) => former!);
    const old = before.former![s]!;
    expect(after.former?.includes(old) ?? false).toBe(false);
    expect(after.backup.includes(old)).toBe(false);
  });

  test("a node that is drained is done when its copies are elsewhere", () => {
    const cluster = new Cluster();
    for (const id of [1, 2, 3]) cluster.apply(up(id));
    cluster.settle();
    cluster.apply({ type: "setState", node: 3, state: "draining" });
    for (let i = 0; i < 200 && cluster.stateOf(3) === "draining"; i++) {
      cluster.plan();
      if (cluster.state.table.former?.includes(3)) expect(cluster.stateOf(3)).toBe("draining");
      if (!cluster.activate()) cluster.prove();
    }
    expect(cluster.stateOf(3)).toBe("drained");
    expect(cluster.state.table.synced.every(Boolean)).toBe(true);
  });
});

describe("a drain", () => {
  test("empties the node in batches and ends in drained", () => {
    const cluster = new Cluster();
    for (const id of [1, 2, 3]) cluster.apply(up(id));
    cluster.settle();
    cluster.apply({ type: "setState", node: 2, state: "draining" });
    cluster.settle();
    expect([cluster.owned(2), cluster.stateOf(2)]).toEqual([0, "drained"]);
    expect(cluster.state.table.backup.includes(2)).toBe(false);
    expect(cluster.owned(1)).toBe(32);
  });

  test("of one of a pair leaves it as the only backup there is", () => {
    const cluster = new Cluster();
    for (const id of [1, 2]) cluster.apply(up(id));
    cluster.settle();
    cluster.apply({ type: "setState", node: 2, state: "draining" });
    cluster.settle();
    expect([cluster.owned(1), cluster.stateOf(2)]).toEqual([SLOTS, "drained"]);
    expect(cluster.state.table.backup.every((id) => id === 2)).toBe(true);
    expect(cluster.state.table.synced.every((isSynced) => isSynced)).toBe(true);
  });

  test("comes before balance: slots of the leaving node move first", () => {
    const cluster = new Cluster();
    for (const id of [1, 2]) cluster.apply(up(id));
    cluster.settle();
    cluster.apply(up(3));
    cluster.plan();
    cluster.prove();
    cluster.apply({ type: "setState", node: 2, state: "draining" });
    const before = cluster.state.table;
    cluster.plan();
    cluster.prove();
    cluster.plan();
    const moved = [...before.owner.keys()].filter((s) => cluster.state.table.owner[s] !== before.owner[s]);
    expect(moved.length).toBeGreaterThan(0);
    expect(moved.every((s) => before.owner[s] === 2)).toBe(true);
  });

  test("is undone by making the node active or joining again, and it gets its share back", () => {
    const cluster = new Cluster();
    for (const id of [1, 2]) cluster.apply(up(id));
    cluster.settle();
    const home = cluster.state.table.owner;
    cluster.apply({ type: "setState", node: 2, state: "draining" });
    cluster.settle();
    cluster.apply({ type: "setState", node: 2, state: "joining" });
    cluster.settle();
    expect(cluster.stateOf(2)).toBe("active");
    expect(cluster.state.table.owner).toEqual(home);
  });
});

describe("after a death", () => {
  test("slots whose owner and backup died go to whoever lives", () => {
    const cluster = new Cluster();
    for (const id of [1, 2, 3]) cluster.apply(up(id));
    cluster.settle();
    cluster.apply(downCommand(cluster.state, 1)!);
    cluster.apply(downCommand(cluster.state, 2)!);
    cluster.settle();
    expect(cluster.owned(3)).toBe(SLOTS);
  });

  test("with nobody left slots wait, and go to the first who comes up", () => {
    const cluster = new Cluster();
    cluster.apply(up(1));
    cluster.settle();
    cluster.apply(downCommand(cluster.state, 1)!);
    expect(cluster.owned(0)).toBe(SLOTS);
    expect(plan(cluster.state)).toBeUndefined();
    cluster.apply(up(2));
    cluster.settle();
    expect([cluster.owned(2), cluster.stateOf(2)]).toEqual([SLOTS, "active"]);
  });

  test("a node that comes back has its former share in the end", () => {
    const cluster = new Cluster();
    for (const id of [1, 2, 3]) cluster.apply(up(id));
    cluster.settle();
    cluster.apply(downCommand(cluster.state, 3)!);
    cluster.settle();
    cluster.apply(up(3));
    cluster.settle();
    const shares = [cluster.owned(1), cluster.owned(2), cluster.owned(3)].sort();
    expect(shares).toEqual([21, 21, 22]);
  });
});

test("who is not heard is given nothing, neither slots nor backups", () => {
  const cluster = new Cluster();
  for (const id of [1, 2]) cluster.apply(up(id));
  cluster.plan(new Set([1]));
  expect(cluster.owned(1)).toBe(SLOTS);
  expect(cluster.state.table.backup.every((id) => id === 0)).toBe(true);
});

test("weights decide the shares", () => {
  const cluster = new Cluster();
  cluster.apply(up(1, 3));
  cluster.apply(up(2, 1));
  cluster.settle();
  expect([cluster.owned(1), cluster.owned(2)]).toEqual([48, 16]);
});

test("taking over from a node loses flows until every copy of its slots is proven", () => {
  const cluster = new Cluster();
  cluster.apply(up(1));
  cluster.plan();
  expect(wouldLoseFlows(cluster.state, 1)).toBe(true);
  cluster.apply(up(2));
  cluster.plan();
  expect(wouldLoseFlows(cluster.state, 1)).toBe(true);
  expect(wouldLoseFlows(cluster.state, 2)).toBe(false);
  cluster.settle();
  expect([1, 2].map((id) => wouldLoseFlows(cluster.state, id))).toEqual([false, false]);
});
