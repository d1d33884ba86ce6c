/**
 * Properties of the cluster's state machine and planner: no sequence of commands, however stale or mistaken, breaks the rules
 * of the slot table; and when the cluster is left alone, the plan comes to an end in balance.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { downCommand, isCarrier, isLeaving } from "../../cluster/control/commands.ts";
import { formerOf } from "../../cluster/control/former.ts";
import { applyCommand } from "../../cluster/control/machine.ts";
import { type ClusterState, type Command, emptyState } from "../../cluster/control/model.ts";
import { plan } from "../../cluster/control/planner.ts";

const SLOTS = 16;
const IDS = [1, 2, 3, 4];

/** One thing that happens. `lag` picks an earlier state for proposers that did not see the latest. */
interface Event {
  readonly kind: "up" | "down" | "plan" | "prove" | "settle" | "drain" | "rejoin" | "remove" | "activate";
  readonly node: number;
  readonly lag: number;
  readonly part: number;
}

const event: fc.Arbitrary<Event> = fc.record({
  kind: fc.constantFrom(
    ...(["up", "up", "down", "plan", "plan", "plan", "prove", "prove", "settle", "settle"] as const),
    ...(["drain", "rejoin", "remove", "activate"] as const),
  ),
  node: fc.constantFrom(...IDS),
  lag: fc.constantFrom(0, 0, 0, 1, 3),
  part: fc.integer({ min: 1, max: SLOTS }),
});

function commandOf({ kind, node, part }: Event, seen: ClusterState): Command | undefined {
  const { table } = seen;
  const slots = [...table.owner.keys()].slice(0, part);
  switch (kind) {
    case "up":
      return {
        type: "up",
        member: { id: node, name: `fw${node}`, role: "node", address: "a", weight: 1 + (node % 2) },
      };
    case "down":
      return downCommand(seen, node);
    case "plan":
      return plan(seen);
    case "prove":
      return { type: "ready", node, slots, backupEpochs: slots.map((s) => table.backupEpoch[s]!) };
    case "settle":
      return { type: "settled", node, slots, movedEpochs: slots.map((s) => table.movedEpoch[s]!) };
    case "drain":
      return { type: "setState", node, state: "draining" };
    case "rejoin":
      return { type: "setState", node, state: "joining" };
    case "remove":
      return { type: "setState", node, state: part === 1 ? "removed" : "drained" };
    case "activate":
      return { type: "setState", node, state: "active" };
    default:
      return kind satisfies never;
  }
}

/** Plain comparisons: this runs for every slot of every state, and a matcher costs a hundred times as much. */
function check(before: ClusterState, after: ClusterState): void {
  const { table, members } = after;
  const was = before.table;
  const living = new Set([0, ...members.filter(isCarrier).map((member) => member.id)]);
  const must = (condition: boolean, rule: string, s: number): void => {
    if (!condition) throw new Error(`slot ${s}: ${rule}: ${JSON.stringify({ before: was, after: table })}`);
  };
  const columns = [
    table.owner,
    table.backup,
    table.synced,
    table.awaiting,
    table.movedEpoch,
    table.backupEpoch,
  ];
  must(
    columns.every((column) => column.length === SLOTS),
    "every column has all slots",
    -1,
  );
  must(table.epoch >= was.epoch, "epochs only grow", -1);
  for (let s = 0; s < SLOTS; s++) {
    const [owner, backup, wasOwner] = [table.owner[s]!, table.backup[s]!, was.owner[s]!];
    const awaited = table.awaiting[s]!;
    must(living.has(owner), "the owner lives", s);
    must(living.has(backup), "the backup lives", s);
    must(backup !== 0 || !table.synced[s], "nobody's copy proves nothing", s);
    must(owner === 0 || owner !== backup, "nobody backs itself up", s);
    must(!awaited.includes(owner), "nobody awaits itself", s);
    must(table.movedEpoch[s]! <= table.epoch, "no slot moved in the future", s);
    if (wasOwner !== owner) {
      must(table.movedEpoch[s] === table.epoch && table.epoch === was.epoch + 1, "a move has a new epoch", s);
      const mayDecide = [...was.awaiting[s]!, wasOwner].filter((id) => id !== 0 && id !== owner);
      must(
        mayDecide.every((id) => awaited.includes(id)),
        "whoever may still decide is awaited",
        s,
      );
    } else if (awaited.length !== was.awaiting[s]!.length) {
      must(awaited.length === 0, "who is awaited stays so until the owner has settled", s);
    }
    if (table.synced[s] && !was.synced[s]) {
      const isProof = table.backupEpoch[s] === was.backupEpoch[s];
      const isKept = (wasOwner !== owner && backup === wasOwner) || backup === formerOf(was, s);
      must(isProof || isKept, "a copy is proven in its own epoch, or was whole before", s);
    }
    const former = formerOf(table, s);
    if (former === 0) continue;
    must(living.has(former), "the former backup lives", s);
    must(former !== owner && former !== backup, "the former backup is a node of its own", s);
    const wasWhole = former === formerOf(was, s) || (was.synced[s]! && former === was.backup[s]);
    must(wasWhole && wasOwner === owner, "a former backup had all of the slot, and of the same owner", s);
  }
}

function happen(events: readonly Event[]): ClusterState {
  const states: ClusterState[] = [emptyState(SLOTS)];
  for (const one of events) {
    const present = states.at(-1)!;
    const command = commandOf(one, states[Math.max(0, states.length - 1 - one.lag)]!);
    if (command === undefined) continue;
    const { cluster, result } = applyCommand(present, command);
    check(present, cluster);
    if ((!result.ok || !result.changed) && cluster !== present)
      throw new Error("a refusal changed the state");
    // Exactly the same command again does nothing harmful.
    check(cluster, applyCommand(cluster, command).cluster);
    states.push(cluster);
  }
  return states.at(-1)!;
}

test("no sequence of commands breaks the slot table", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60, size: "max" }), (events) => {
      happen(events);
    }),
    { numRuns: 300 },
  );
});

test("left alone, the cluster comes to rest in balance, and the plan comes to an end", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40, size: "max" }), (events) => {
      let state = happen(events);
      let quiet = false;
      for (let round = 0; round < 600 && !quiet; round++) {
        const command = plan(state) ?? proof(state);
        quiet = command === undefined;
        if (command === undefined) break;
        const { cluster, result } = applyCommand(state, command);
        if (!result.ok || !result.changed)
          throw new Error(`${JSON.stringify(result)}: ${JSON.stringify(command)}`);
        check(state, cluster);
        state = cluster;
      }
      expect(quiet).toBe(true);
      const { table, members } = state;
      const carriers = members.filter(isCarrier);
      const able = carriers.filter((member) => !isLeaving(member));
      if (carriers.length === 0) return;
      expect(table.owner).not.toContain(0);
      expect(members.filter((member) => member.state === "joining")).toEqual([]);
      // A draining node that is the last one keeps what it has.
      if (able.length > 0) expect(members.filter((member) => member.state === "draining")).toEqual([]);
      const weights = able.reduce((sum, member) => sum + member.weight, 0);
      for (const member of able) {
        const owned = table.owner.filter((owner) => owner === member.id).length;
        expect(Math.abs(owned - (SLOTS * member.weight) / weights)).toBeLessThan(1);
      }
      // A leaving node is no backup that anyone would begin to copy to.
      if (able.length > 1) expect(table.synced.every((isSynced) => isSynced)).toBe(true);
    }),
    { numRuns: 200 },
  );
});

/** What an owner or a backup would commit next. */
function proof({ table }: ClusterState): Command | undefined {
  for (let s = 0; s < SLOTS; s++) {
    if (table.awaiting[s]!.length > 0) {
      return { type: "settled", node: table.owner[s]!, slots: [s], movedEpochs: [table.movedEpoch[s]!] };
    }
    if (table.backup[s] !== 0 && !table.synced[s]) {
      return { type: "ready", node: table.backup[s]!, slots: [s], backupEpochs: [table.backupEpoch[s]!] };
    }
  }
  return undefined;
}
