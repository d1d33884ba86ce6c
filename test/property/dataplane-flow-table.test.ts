import fc from "fast-check";
import { expect, test } from "vitest";
import {
  D_DEADLINE,
  F_META,
  F_PLACE,
  F_PORTS,
  F_SLOT_NEXT,
  F_SLOT_PREVIOUS,
  NONE,
  ROW_DOUBLES,
  ROW_WORDS,
} from "../../src/dataplane/flow-layout.ts";
import { FlowReader } from "../../src/dataplane/flow-reader.ts";
import { FlowTable } from "../../src/dataplane/flow-table.ts";
import { TEST_KEY } from "../unit/dataplane/world.ts";

const CAPACITY = 12;
const SLOTS = 3;

interface Ends {
  readonly source: number;
  readonly destination: number;
  /** 0: IPv4; else an IPv6 address with this in its upper words and the same last word. */
  readonly upper: number;
}

/** The words of a flow's two addresses. */
function tuple({ source, destination, upper }: Ends): Int32Array {
  const high = upper === 0 ? [0, 0, 0xffff] : [0x20010db8, upper, 0];
  return Int32Array.of(...high, source, ...high, destination);
}

function turned({ source, destination, upper }: Ends): Ends {
  return { source: -destination - 1, destination: -source - 1, upper };
}

interface ModelFlow extends Ends {
  readonly ports: number;
  readonly slot: number;
  digest: number;
  deadline: number;
}

type Command =
  | { readonly do: "insert"; readonly id: number; readonly slot: number; readonly lifeMs: number }
  | { readonly do: "remove"; readonly id: number }
  | { readonly do: "digest"; readonly id: number; readonly digest: number }
  | { readonly do: "refresh"; readonly id: number }
  | { readonly do: "extend"; readonly id: number; readonly lifeMs: number }
  | { readonly do: "shorten"; readonly id: number; readonly lifeMs: number }
  | { readonly do: "wait"; readonly ms: number };

const id = fc.integer({ min: 1, max: 16 });
const lifeMs = fc.constantFrom(1, 30, 33, 500, 100_000, 1_000_000);
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("insert" as const), id, slot: fc.nat(SLOTS - 1), lifeMs }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("remove" as const), id }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("digest" as const), id, digest: fc.integer() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("refresh" as const), id }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("extend" as const), id, lifeMs }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("shorten" as const), id, lifeMs }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1, 40, 1000, 300_000) }),
  },
);

/** The table and a Map side by side. */
class Both {
  readonly table = new FlowTable(CAPACITY, TEST_KEY);
  readonly reader = new FlowReader(this.table.buffer);
  readonly model = new Map<number, ModelFlow>();
  readonly clock = Float64Array.of(1_000_000);

  constructor() {
    this.table.wheel.start(this.clock);
  }

  find(flow: ModelFlow): number {
    return this.table.find(17, tuple(flow), 0, flow.ports);
  }

  rowOf(flowId: number): number {
    const flow = this.model.get(flowId);
    return flow === undefined ? NONE : this.find(flow) >> 1;
  }

  run(step: Command): void {
    const { table, model } = this;
    switch (step.do) {
      case "insert":
        if (!model.has(step.id)) this.insert(step.id, step.slot, step.lifeMs);
        return;
      case "remove":
        if (model.has(step.id)) table.remove(this.rowOf(step.id));
        model.delete(step.id);
        return;
      case "digest":
        if (!model.has(step.id)) return;
        table.setDigest(this.rowOf(step.id), step.digest);
        model.get(step.id)!.digest = step.digest;
        return;
      case "refresh":
        if (model.has(step.id)) table.refresh(this.rowOf(step.id), 1);
        return;
      case "extend":
      case "shorten": {
        const flow = model.get(step.id);
        if (flow === undefined) return;
        const deadline = this.clock[0]! + step.lifeMs;
        // A later deadline needs no word to the wheel; an earlier one does.
        if (step.do === "extend" && deadline < flow.deadline) return;
        flow.deadline = deadline;
        table.doubles[this.rowOf(step.id) * ROW_DOUBLES + D_DEADLINE] = deadline;
        if (step.do === "shorten") table.rearm(this.rowOf(step.id));
        return;
      }
      case "wait":
        this.clock[0] = this.clock[0]! + step.ms;
        this.expire();
        return;
    }
  }

  insert(flowId: number, slot: number, life: number): void {
    const { table, model } = this;
    const row = table.alloc();
    expect(row === NONE).toBe(model.size === CAPACITY);
    if (row === NONE) return;
    // Two flows out of three share addresses, so that chains grow.
    const flow = {
      source: flowId % 3,
      destination: flowId % 2,
      upper: flowId % 4,
      ports: (flowId << 16) | flowId,
      slot,
      digest: 0,
      deadline: this.clock[0]! + life,
    };
    const base = row * ROW_WORDS;
    table.words[base + F_META] = 17;
    table.words[base + F_PLACE] = slot;
    for (const [which, ends] of [flow, turned(flow)].entries()) {
      table.setTuple(row, which, tuple(ends), 0, tuple(ends), 4, flow.ports);
    }
    table.doubles[row * ROW_DOUBLES + D_DEADLINE] = flow.deadline;
    table.insert(row);
    model.set(flowId, flow);
  }

  expire(): void {
    const { table, model } = this;
    table.wheel.advance(this.clock);
    for (let row = table.wheel.takeDue(); row !== NONE; row = table.wheel.takeDue()) {
      const deadline = row * ROW_DOUBLES + D_DEADLINE;
      table.wheel.add(row, table.doubles, deadline);
      if (table.doubles[deadline]! > this.clock[0]!) continue;
      const flowId = table.words[row * ROW_WORDS + F_PORTS]! & 0xffff;
      expect(model.get(flowId)!.deadline).toBeLessThanOrEqual(this.clock[0]!);
      table.remove(row);
      model.delete(flowId);
    }
    // Late by one bucket at most.
    for (const flow of model.values()) expect(flow.deadline).toBeGreaterThan(this.clock[0]! - 33);
  }

  check(): void {
    const { table, model } = this;
    expect(table.used).toBe(model.size);
    for (const flow of model.values()) {
      const entry = this.find(flow);
      expect(entry & 1).toBe(0);
      expect(table.find(17, tuple(turned(flow)), 0, flow.ports)).toBe(entry + 1);
      expect(table.find(6, tuple(flow), 0, flow.ports)).toBe(NONE);
    }
    for (let slot = 0; slot < SLOTS; slot++) {
      const wanted = [...model.values()].filter((flow) => flow.slot === slot);
      const listed: number[] = [];
      for (let row = table.slotHead(slot); row !== NONE; row = table.words[row * ROW_WORDS + F_SLOT_NEXT]!) {
        listed.push(table.words[row * ROW_WORDS + F_PORTS]!);
      }
      const backwards: number[] = [];
      for (
        let row = table.slotTail(slot);
        row !== NONE;
        row = table.words[row * ROW_WORDS + F_SLOT_PREVIOUS]!
      ) {
        backwards.push(table.words[row * ROW_WORDS + F_PORTS]!);
      }
      expect(backwards.reverse()).toEqual(listed);
      expect(listed.sort()).toEqual(wanted.map((flow) => flow.ports).sort());
      expect(table.slotCount(slot)).toBe(wanted.length);
      expect(table.slotSum(slot)).toBe(wanted.reduce((sum, flow) => (sum + flow.digest) | 0, 0));
      expect(this.reader.list({ slot }, 100).total).toBe(wanted.length);
    }
  }
}

test("a flow table behaves like a map with lists, sums and deadlines, whatever is done to it", () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 80, size: "max" }), (commands) => {
      const both = new Both();
      for (const step of commands) {
        both.run(step);
        both.check();
      }
      // In the end everything ends.
      both.clock[0] = both.clock[0]! + 10_000_000;
      both.expire();
      expect(both.table.used).toBe(0);
    }),
    { numRuns: 100 },
  );
});
