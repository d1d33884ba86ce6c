import { describe, expect, test } from "vitest";
import { decodeEnvelope, encodeEnvelope } from "../../../../cluster/control/codec.ts";
import { downCommand } from "../../../../cluster/control/commands.ts";
import {
  applyCommand,
  applyEntry,
  decodeMachine,
  emptyMachine,
  encodeMachine,
} from "../../../../cluster/control/machine.ts";
import {
  type ClusterState,
  type Command,
  type CommandResult,
  emptyState,
  type SlotTable,
} from "../../../../cluster/control/model.ts";
import { plan } from "../../../../cluster/control/planner.ts";

const SLOTS = 16;

function up(id: number, role: "node" | "witness" = "node"): Command {
  const weight = role === "node" ? 1 : 0;
  return { type: "up", member: { id, name: `fw${id}`, role, address: `192.0.2.${id}`, weight } };
}

/** Applies commands that must all succeed. */
function changed(state: ClusterState, ...commands: Command[]): ClusterState {
  return commands.reduce((before, command) => {
    const { cluster, result } = applyCommand(before, command);
    expect(result).toEqual({ ok: true, changed: true });
    return cluster;
  }, state);
}

/** Does what planner, backups and owners would do until nothing is left to do. */
function settle(state: ClusterState): ClusterState {
  let now = state;
  for (let round = 0; round < 500; round++) {
    const command = proofs(now) ?? plan(now);
    if (command === undefined) return now;
    now = changed(now, command);
  }
  throw new Error("does not settle");
}

function proofs({ table }: ClusterState): Command | undefined {
  for (let s = 0; s < table.owner.length; s++) {
    if (table.awaiting[s]!.length > 0) {
      return { type: "settled", node: table.owner[s]!, slots: [s], movedEpochs: [table.movedEpoch[s]!] };
    }
    if (table.backup[s] !== 0 && !table.synced[s]) {
      return { type: "ready", node: table.backup[s]!, slots: [s], backupEpochs: [table.backupEpoch[s]!] };
    }
  }
  return undefined;
}

function pair(): ClusterState {
  return settle(changed(emptyState(SLOTS), up(1), up(2), up(3, "witness")));
}

function count(cells: readonly number[], id: number): number {
  return cells.filter((cell) => cell === id).length;
}

function stateOf(state: ClusterState, id: number): string | undefined {
  return state.members.find((member) => member.id === id)?.state;
}

function reasonOf(result: CommandResult): string {
  return result.ok ? "" : result.reason;
}

describe("up", () => {
  test("a new node joins in its first life, a witness is active at once", () => {
    const state = changed(emptyState(SLOTS), up(2), up(1), up(3, "witness"));
    expect(state.members.map(({ id, state: s, incarnation }) => [id, s, incarnation])).toEqual([
      [1, "joining", 1],
      [2, "joining", 1],
      [3, "active", 1],
    ]);
  });

  test("a node that still owns slots must be declared down first", () => {
    const state = pair();
    expect(reasonOf(applyCommand(state, up(1)).result)).toMatch(/still owns slots/);
    const fallen = changed(state, downCommand(state, 1)!);
    expect(changed(fallen, up(1)).members[0]).toMatchObject({ state: "joining", incarnation: 2 });
  });

  test("a node in a new life that only backed up slots has everything to prove again", () => {
    const drained = settle(changed(pair(), { type: "setState", node: 2, state: "draining" }));
    expect(stateOf(drained, 2)).toBe("drained");
    const { table } = changed(drained, up(2));
    expect(count(table.backup, 2)).toBe(SLOTS);
    expect(table.synced.some((isSynced) => isSynced)).toBe(false);
    expect(table.epoch).toBe(drained.table.epoch + 1);
  });

  test.each([
    ["a weight that does not fit the role", { ...(up(4) as { member: object }).member, weight: 0 }],
    ["another member's name", { ...(up(4) as { member: object }).member, name: "fw1" }],
    ["another role than before", { ...(up(3) as { member: object }).member }],
  ])("%s is refused", (_name, member) => {
    expect(applyCommand(pair(), { type: "up", member } as Command).result.ok).toBe(false);
  });

  test("a removed member stays away", () => {
    const state = pair();
    const fallen = changed(state, downCommand(state, 2)!);
    const remove = { type: "setState", node: 2, state: "removed" } as const;
    expect(reasonOf(applyCommand(fallen, remove).result)).toMatch(/may still decide/);
    const gone = changed(settle(fallen), remove);
    expect(reasonOf(applyCommand(gone, up(2)).result)).toMatch(/removed for good/);
  });
});

describe("down", () => {
  test("the dead node's slots go to their backups in a new epoch, awaiting the dead", () => {
    const state = pair();
    const { table } = changed(state, downCommand(state, 1)!);
    expect(count(table.owner, 2)).toBe(SLOTS);
    expect(table.backup.every((id) => id === 0)).toBe(true);
    for (let s = 0; s < SLOTS; s++) {
      expect(table.awaiting[s]).toEqual(state.table.owner[s] === 1 ? [1] : []);
    }
    expect(table).toMatchObject({ epoch: state.table.epoch + 1, cause: "takeover" });
  });

  test("applied twice it changes nothing the second time", () => {
    const state = pair();
    const down = downCommand(state, 1)!;
    const fallen = changed(state, down);
    expect(applyCommand(fallen, down)).toEqual({ cluster: fallen, result: { ok: true, changed: false } });
  });

  test("it does not strike a node in its next life", () => {
    const state = pair();
    const down = downCommand(state, 1)!;
    const back = changed(state, down, up(1));
    expect(reasonOf(applyCommand(back, down).result)).toMatch(/in life 2, not 1/);
  });

  test("computed from an old epoch it is refused, to be computed anew", () => {
    const state = pair();
    const down = downCommand(state, 1)!;
    const moved = changed(state, {
      type: "table",
      baseEpoch: state.table.epoch,
      table: nextTable(state.table),
    });
    expect(reasonOf(applyCommand(moved, down).result)).toMatch(/epoch moved on/);
  });

  test("of a witness leaves the table as it is", () => {
    const state = pair();
    const fallen = changed(state, downCommand(state, 3)!);
    expect(fallen.table).toEqual(state.table);
    expect(stateOf(fallen, 3)).toBe("down");
  });

  test("a proof that was committed after the proposer looked is not undone", () => {
    const state = settleOwners(changed(emptyState(SLOTS), up(1), up(2), up(3)));
    const dead = 1;
    const down = downCommand(state, dead)!;
    const s = state.table.owner.findIndex((owner, i) => owner === 2 && state.table.backup[i] === 3);
    expect(state.table.synced[s]).toBe(false);
    const proven = changed(state, {
      type: "ready",
      node: 3,
      slots: [s],
      backupEpochs: [state.table.backupEpoch[s]!],
    });
    expect(changed(proven, down).table.synced[s]).toBe(true);
  });

  test("whom a slot awaits is worked out by the machine, not taken from the proposer", () => {
    const state = pair();
    const down = downCommand(state, 1) as Extract<Command, { type: "down" }>;
    const careless = { ...down, table: { ...down.table, awaiting: down.table.awaiting.map(() => []) } };
    expect(changed(state, careless).table.awaiting).toEqual(changed(state, down).table.awaiting);
  });
});

describe("table", () => {
  test.each<[string, (table: SlotTable) => Partial<SlotTable>]>([
    ["skips an epoch", (t) => ({ epoch: t.epoch + 1 })],
    ["has too few slots", (t) => ({ owner: t.owner.slice(1) })],
    ["gives a slot to a stranger", (t) => ({ owner: t.owner.map(() => 77) })],
    ["gives a slot to a witness", (t) => ({ owner: t.owner.map(() => 3) })],
    ["lets a node back itself up", (t) => ({ backup: t.owner })],
  ])("is refused when it %s", (_name, change) => {
    const state = pair();
    const table = { ...nextTable(state.table), ...change(nextTable(state.table)) };
    const { cluster, result } = applyCommand(state, { type: "table", baseEpoch: state.table.epoch, table });
    expect(result.ok).toBe(false);
    expect(cluster).toBe(state);
  });

  test("is refused when the epoch moved on", () => {
    const state = pair();
    const command: Command = {
      type: "table",
      baseEpoch: state.table.epoch,
      table: nextTable(state.table),
    };
    expect(reasonOf(applyCommand(changed(state, command), command).result)).toMatch(/epoch moved on/);
  });
});

describe("ready and settled", () => {
  test("count only for the present backup in its epoch, and for the present owner in its", () => {
    const state = changed(pair(), downCommand(pair(), 1)!, up(1));
    const planned = changed(state, plan(state)!);
    const { table } = planned;
    const wrongEpochs = table.backupEpoch.map((epoch) => epoch - 1);
    const slots = [...table.owner.keys()];
    expect(
      applyCommand(planned, { type: "ready", node: 1, slots, backupEpochs: wrongEpochs }).result,
    ).toEqual({ ok: true, changed: false });
    expect(
      applyCommand(planned, { type: "ready", node: 2, slots, backupEpochs: table.backupEpoch }).result,
    ).toEqual({ ok: true, changed: false });
    expect(
      changed(planned, { type: "ready", node: 1, slots, backupEpochs: table.backupEpoch }).table.synced,
    ).toEqual(slots.map(() => true));
    expect(
      applyCommand(planned, { type: "settled", node: 1, slots, movedEpochs: table.movedEpoch }).result,
    ).toEqual({ ok: true, changed: false });
    const done = changed(planned, { type: "settled", node: 2, slots, movedEpochs: table.movedEpoch });
    expect(done.table.awaiting.every((awaited) => awaited.length === 0)).toBe(true);
    expect(done.table.epoch).toBe(table.epoch);
  });

  test("with columns of different lengths are refused", () => {
    expect(applyCommand(pair(), { type: "ready", node: 1, slots: [1], backupEpochs: [] }).result.ok).toBe(
      false,
    );
    expect(applyCommand(pair(), { type: "settled", node: 1, slots: [1], movedEpochs: [] }).result.ok).toBe(
      false,
    );
  });
});

describe("setState", () => {
  test("the last active node cannot be drained", () => {
    const state = pair();
    const alone = changed(state, downCommand(state, 2)!);
    expect(reasonOf(applyCommand(alone, { type: "setState", node: 1, state: "draining" }).result)).toMatch(
      /no other active node/,
    );
  });

  test.each<[string, Command]>([
    ["a node that owns slots cannot be called drained", { type: "setState", node: 1, state: "drained" }],
    ["an active node cannot be removed", { type: "setState", node: 1, state: "removed" }],
    ["a witness cannot be drained", { type: "setState", node: 3, state: "draining" }],
    ["a stranger has no state", { type: "setState", node: 9, state: "active" }],
  ])("%s", (_name, command) => {
    expect(applyCommand(pair(), command).result.ok).toBe(false);
  });

  test("what is so already is no change and no error", () => {
    expect(applyCommand(pair(), { type: "setState", node: 1, state: "active" }).result).toEqual({
      ok: true,
      changed: false,
    });
  });
});

describe("entries", () => {
  test.each([
    ["not UTF-8", Uint8Array.of(0xff, 0xfe)],
    ["not JSON", Buffer.from("{")],
    ["another version", Buffer.from('{"v":2,"id":"a","by":1,"cmd":{"type":"up"}}')],
    ["an unknown command", Buffer.from('{"v":1,"id":"a","by":1,"cmd":{"type":"reboot"}}')],
    ["a missing field", Buffer.from('{"v":1,"id":"a","by":1,"cmd":{"type":"ready","node":1,"slots":[]}}')],
    ["a field too many", encodeExtra()],
    ["too long", new Uint8Array(2_000_000).fill(32)],
  ])("%s is refused with a reason and changes nothing", (_name, data) => {
    const before = emptyMachine(SLOTS);
    const { state, result, envelope } = applyEntry(before, data);
    expect(state).toBe(before);
    expect(envelope).toBeUndefined();
    expect(reasonOf(result)).toMatch(/^malformed command/);
  });

  test("the first member that comes up decides the slots, whatever the state began with", () => {
    const data = encodeEnvelope({ id: "1-a-1", by: 1, cmd: { ...up(1), slots: 32 } as Command });
    const states = [16, 32, 64].map((slots) => applyEntry(emptyMachine(slots), data).state);
    expect(states.map(({ cluster }) => cluster.table.owner.length)).toEqual([32, 32, 32]);
    expect(states[0]).toEqual(states[2]);
  });

  test("a first member that is refused decides nothing", () => {
    const cmd = { ...up(1), slots: 32 } as Extract<Command, { type: "up" }>;
    const before = emptyState(SLOTS);
    const wrong = { ...cmd, member: { ...cmd.member, weight: 0 } };
    expect(applyCommand(before, wrong).cluster).toBe(before);
  });

  test("a member with other slots than the cluster is refused, on every node alike", () => {
    const before = changed(emptyState(SLOTS), { ...up(1), slots: SLOTS } as Command);
    expect(applyCommand(before, { ...up(2), slots: 64 } as Command)).toEqual({
      cluster: before,
      result: { ok: false, reason: "the cluster has 16 slots, fw2 is set to 64" },
    });
  });

  test("a member keeps the log that it came with; a command of an older build names none", () => {
    const first = changed(emptyState(SLOTS), { ...up(1), log: "a" } as Command);
    expect(changed(first, up(1)).members[0]).toMatchObject({ incarnation: 2, log: "a" });
    const other = applyCommand(first, { ...up(1), log: "b" } as Command);
    expect(other.cluster).toBe(first);
    expect(reasonOf(other.result)).toBe("fw1 comes with another log: it has forgotten what it voted");
  });

  test("the same id answers the same and is applied once", () => {
    const data = encodeEnvelope({ id: "1-a-1", by: 1, cmd: up(1) });
    const first = applyEntry(emptyMachine(SLOTS), data);
    const second = applyEntry(first.state, data);
    expect(second.state).toBe(first.state);
    expect(second.result).toEqual(first.result);
  });

  test("a snapshot restores state and remembered results", () => {
    const { state } = applyEntry(emptyMachine(SLOTS), encodeEnvelope({ id: "x", by: 1, cmd: up(1) }));
    expect(decodeMachine(encodeMachine(state))).toEqual({ ok: true, value: state });
    expect(decodeMachine(Buffer.from("{}")).ok).toBe(false);
  });

  test("what is encoded is decoded alike", () => {
    const envelope = { id: "1-b-2", by: 1, cmd: downCommand(pair(), 1)! };
    expect(decodeEnvelope(encodeEnvelope(envelope))).toEqual({ ok: true, value: envelope });
  });
});

function encodeExtra(): Uint8Array {
  return Buffer.from(JSON.stringify({ v: 1, id: "a", by: 1, cmd: up(1), more: true }));
}

/** A table that changes the backup of slot 0 from the one node to nobody, and nothing else. */
function nextTable(table: SlotTable): SlotTable {
  const backup = [...table.backup];
  backup[0] = 0;
  return { ...table, epoch: table.epoch + 1, backup, cause: "backup" };
}

/** Plans only until every slot has owner and backup; nothing is proven. */
function settleOwners(state: ClusterState): ClusterState {
  let now = state;
  for (;;) {
    const command = plan(now);
    if (command?.type !== "table") return now;
    now = changed(now, command);
  }
}
