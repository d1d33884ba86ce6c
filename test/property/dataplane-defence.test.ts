import fc from "fast-check";
import { expect, test } from "vitest";
import { addressWords } from "../../src/base/address.ts";
import { seededRandom } from "../../src/base/env.ts";
import { CountSketch } from "../../src/dataplane/defence/count-sketch.ts";
import { EarlyDrop } from "../../src/dataplane/defence/early-drop.ts";
import { HalfOpen } from "../../src/dataplane/defence/half-open.ts";
import { LIFE_LEAST, LIFE_WHOLE, Pressure } from "../../src/dataplane/defence/pressure.ts";
import { SourceRate } from "../../src/dataplane/defence/source-rate.ts";
import { COOKIE_PERIOD_MS, SynCookies } from "../../src/dataplane/defence/syn-cookie.ts";
import {
  F_COMMIT,
  F_META,
  F_STATE,
  FLAG_REPLICA,
  FLAG_REPLIED,
  FLAG_USED,
  NONE,
  ROW_WORDS,
} from "../../src/dataplane/flow-layout.ts";
import { FlowTable } from "../../src/dataplane/flow-table.ts";
import { TCP_STATE_NAMES, TCP_STATES } from "../../src/dataplane/tcp-state.ts";
import { putFlow } from "../unit/dataplane/defence/flows.ts";
import { TEST_KEY } from "../unit/dataplane/world.ts";

test("a sketch never answers less than there is, and nothing when all have left", () => {
  const step = fc.record({ key: fc.nat(9), isLeaving: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { size: "max", maxLength: 200 }), fc.constantFrom(1, 2, 8), (steps, cells) => {
      const sketch = new CountSketch(cells);
      const truth = new Map<number, number>();
      const hashes = (key: number): [number, number] => [
        Math.imul(key, 0x9e3779b1),
        Math.imul(key, 0x85ebca6b),
      ];
      const add = (key: number, by: number): void => {
        truth.set(key, (truth.get(key) ?? 0) + by);
        sketch.add(...hashes(key), by);
      };
      for (const { key, isLeaving } of steps) {
        if (!isLeaving) add(key, 1);
        else if ((truth.get(key) ?? 0) > 0) add(key, -1);
        const all = [...truth.values()].reduce((sum, n) => sum + n, 0);
        const wrong = [...truth].filter(([each, n]) => {
          const least = sketch.least(...hashes(each));
          return least < n || least > all;
        });
        expect(wrong).toEqual([]);
      }
      for (const [key, n] of truth) add(key, -n);
      for (const key of truth.keys()) expect(sketch.least(...hashes(key))).toBe(0);
    }),
  );
});

interface OpenStep {
  readonly do: "put" | "state" | "replica" | "settle" | "remove";
  readonly which: number;
  readonly client: number;
  readonly port: number;
  readonly state: number;
}

test("half-open counts are those of the rows that this node tracks, whatever becomes of them and however often it is told", () => {
  const step: fc.Arbitrary<OpenStep> = fc.record({
    do: fc.constantFrom("put", "put", "state", "replica", "settle", "remove"),
    which: fc.nat(7),
    client: fc.integer({ min: 1, max: 3 }),
    port: fc.constantFrom(80, 443),
    state: fc.nat(TCP_STATES - 1),
  });
  fc.assert(
    fc.property(fc.array(step, { size: "max", maxLength: 80 }), (steps) => {
      const table = new FlowTable(8, TEST_KEY);
      const limits = { perSource: 2, perDestination: 3, total: 5, proxyAbove: 4 };
      const halfOpen = new HalfOpen(table, TEST_KEY, limits);
      const rows = new Map<number, { client: number; port: number; state: number; isReplica: boolean }>();
      for (const { do: what, which, client, port, state } of steps) {
        const row = [...rows.keys()][which % Math.max(1, rows.size)] ?? NONE;
        const flow = rows.get(row);
        if (what === "put" && rows.size < 8) {
          const made = putFlow(table, { client, serverPort: port, state });
          halfOpen.settle(made);
          rows.set(made, { client, port, state, isReplica: false });
        } else if (flow === undefined) continue;
        else if (what === "remove") {
          halfOpen.forget(row);
          table.remove(row);
          rows.delete(row);
        } else {
          if (what === "state") flow.state = state;
          if (what === "replica") flow.isReplica = !flow.isReplica;
          const meta = row * ROW_WORDS + F_META;
          table.words[meta] = (table.words[meta]! & ~FLAG_REPLICA) | (flow.isReplica ? FLAG_REPLICA : 0);
          table.words[row * ROW_WORDS + F_STATE] = flow.state;
          halfOpen.settle(row);
        }
        // Naively: look at all rows.
        const open = [...rows.values()].filter(
          (each) => !each.isReplica && ["syn_sent", "syn_received"].includes(TCP_STATE_NAMES[each.state]!),
        );
        expect(halfOpen.now).toBe(open.length);
        for (const source of [1, 2, 3]) {
          for (const service of [80, 443]) {
            const ofSource = open.filter((each) => each.client === source).length;
            const toService = open.filter((each) => each.port === service).length;
            const wanted = open.length >= 5 ? 3 : ofSource >= 2 ? 1 : toService >= 3 ? 2 : 0;
            const server = addressWords(0xc6336464);
            expect(halfOpen.judge(addressWords(source), 0, server, 0, service)).toBe(wanted);
            expect(halfOpen.isFlooded(server, 0, service)).toBe(open.length > 4 || toService > 4);
          }
        }
      }
    }),
  );
});

/** Token buckets in a Map, one per source, for ever. */
class NaiveRate {
  readonly #levels = new Map<number, { tokens: number; atMs: number }>();

  readonly #perSecond: number;
  readonly #burst: number;

  constructor(perSecond: number, burst: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
  }

  tokens(source: number, nowMs: number): number {
    const before = this.#levels.get(source) ?? { tokens: this.#burst, atMs: nowMs };
    return Math.min(this.#burst, before.tokens + ((nowMs - before.atMs) * this.#perSecond) / 1000);
  }

  /** Takes a token, whether or not there is one: who was let through too often has debts. */
  pay(source: number, nowMs: number): void {
    this.#levels.set(source, { tokens: this.tokens(source, nowMs) - 1, atMs: nowMs });
  }
}

/** Waits are multiples of 250 ms and rates powers of two, so that both sides count without rounding. */
const arrivals = fc.array(
  fc.record({ source: fc.integer({ min: 1, max: 12 }), waits: fc.constantFrom(0, 0, 0, 1, 4) }),
  {
    size: "max",
    maxLength: 150,
  },
);
const rates = fc.record({ perSecond: fc.constantFrom(1, 2, 4), burst: fc.constantFrom(1, 2, 5) });

test("a source's rate is a token bucket as long as there is room", () => {
  fc.assert(
    fc.property(arrivals, rates, (steps, { perSecond, burst }) => {
      const rate = new SourceRate(TEST_KEY, perSecond, burst);
      const naive = new NaiveRate(perSecond, burst);
      const clock = new Float64Array(1);
      for (const { source, waits } of steps) {
        clock[0] = clock[0]! + waits * 250;
        const isConforming = naive.tokens(source, clock[0]) >= 1;
        expect(rate.take(addressWords(source), 0, clock)).toBe(isConforming);
        if (isConforming) naive.pay(source, clock[0]);
      }
    }),
  );
});

test("with too little room nobody is refused who keeps to his rate", () => {
  fc.assert(
    fc.property(arrivals, rates, (steps, { perSecond, burst }) => {
      const rate = new SourceRate(TEST_KEY, perSecond, burst, 4);
      const naive = new NaiveRate(perSecond, burst);
      const clock = new Float64Array(1);
      for (const { source, waits } of steps) {
        clock[0] = clock[0]! + waits * 250;
        const isConforming = naive.tokens(source, clock[0]) >= 1;
        const isTaken = rate.take(addressWords(source), 0, clock);
        if (isConforming) expect(isTaken).toBe(true);
        if (isTaken) naive.pay(source, clock[0]);
      }
    }),
  );
});

test("lives never grow as the table fills, and stay within their bounds", () => {
  const marks = fc
    .tuple(fc.integer({ min: 1, max: 99 }), fc.integer({ min: 1, max: 100 }))
    .filter(([from, to]) => from < to);
  fc.assert(
    fc.property(marks, fc.integer({ min: 1, max: 2000 }), ([from, to], capacity) => {
      const pressure = new Pressure(capacity, {
        shrinkFromPercent: from,
        shrinkToPercent: to,
        reservePercent: 0,
      });
      const lives = Array.from({ length: capacity + 1 }, (_, used) => pressure.life(used));
      const isWrong = (life: number, used: number): boolean =>
        !Number.isInteger(life) ||
        life < LIFE_LEAST ||
        life > (lives[used - 1] ?? LIFE_WHOLE) ||
        (used * 100 <= from * capacity && life !== LIFE_WHOLE) ||
        (used * 100 >= to * capacity && used > (from * capacity) / 100 + 1 && life !== LIFE_LEAST);
      expect(lives.flatMap((life, used) => (isWrong(life, used) ? [used] : []))).toEqual([]);
    }),
  );
});

test("a victim is never assured, never a satellite, never another node's, never one whose commit is under way", () => {
  const flow = fc.record({
    protocol: fc.constantFrom(6, 6, 6, 17, 1, 47, 200, 203, 205),
    state: fc.nat(TCP_STATES - 1),
    isReplied: fc.boolean(),
    slot: fc.nat(2),
    isCommitting: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(flow, { size: "max", maxLength: 30 }), fc.integer(), (flows, seed) => {
      const table = new FlowTable(32, TEST_KEY);
      const drop = new EarlyDrop(table, (slot) => slot !== 2, seededRandom(seed));
      const mayGo = new Set<number>();
      for (const { protocol, state, isReplied, slot, isCommitting } of flows) {
        const row = putFlow(table, { protocol, state, slot, flags: isReplied ? FLAG_REPLIED : 0 });
        if (isCommitting) table.words[row * ROW_WORDS + F_COMMIT] = 3;
        const isUnassured =
          protocol === 6
            ? ["none", "syn_sent", "syn_received", "time_wait", "closed"].includes(TCP_STATE_NAMES[state]!)
            : protocol === 1 || (protocol < 200 && !isReplied);
        if (isUnassured && slot !== 2 && !isCommitting) mayGo.add(row);
      }
      for (let i = 0; i < 20; i++) {
        const victim = drop.choose();
        if (victim === NONE) continue;
        expect(mayGo).toContain(victim);
        // Now and then a reply comes for one of them.
        if (i % 3 === 0) {
          table.words[victim * ROW_WORDS + F_META] = 17 | FLAG_USED | FLAG_REPLIED;
          mayGo.delete(victim);
        } else if (i % 3 === 1) {
          table.remove(victim);
          mayGo.delete(victim);
        }
      }
    }),
  );
});

test("with a fifth of unassured flows a victim is found: none missed in 20,000 choices", () => {
  const table = new FlowTable(1000, TEST_KEY);
  for (let i = 0; i < 1000; i++) putFlow(table, { protocol: 17, flags: i % 5 === 0 ? 0 : FLAG_REPLIED });
  const random = seededRandom(11);
  let missed = 0;
  for (let i = 0; i < 20_000; i++) if (new EarlyDrop(table, () => true, random).choose() === NONE) missed++;
  // (4/5) ** 64 = 6.3e-7 a choice.
  expect(missed).toBe(0);
});

test("with few unassured flows a victim is found as often as 64 random rows find one", () => {
  const table = new FlowTable(1000, TEST_KEY);
  for (let i = 0; i < 1000; i++) putFlow(table, { protocol: 17, flags: i % 20 === 0 ? 0 : FLAG_REPLIED });
  const random = seededRandom(3);
  let missed = 0;
  for (let i = 0; i < 10_000; i++) if (new EarlyDrop(table, () => true, random).choose() === NONE) missed++;
  expect(missed / 10_000).toBeCloseTo(0.95 ** 64, 2);
});

test("a cookie is right for exactly what it was made for, by any node whose clock is not a period away", () => {
  const address = fc.oneof(
    fc.integer({ min: 1, max: 0xdfffffff }),
    fc.bigInt({ min: 0x2000n << 112n, max: (0x4000n << 112n) - 1n }),
  );
  const connection = fc.record({ client: address, ports: fc.integer(), sequence: fc.integer() });
  const change = fc.constantFrom("all", "client", "ports", "sequence");
  const periods = fc.integer({ min: 1, max: 2 ** 31 - 10 });
  fc.assert(
    fc.property(
      connection,
      connection,
      change,
      fc.nat(63),
      periods,
      fc.integer({ min: -6, max: 6 }),
      (one, drawn, what, index, period, later) => {
        const other = what === "all" ? drawn : { ...one, [what]: drawn[what] };
        const maker = new SynCookies(TEST_KEY);
        const checker = new SynCookies(TEST_KEY);
        maker.advance(Float64Array.of(period * COOKIE_PERIOD_MS));
        checker.advance(Float64Array.of((period + later) * COOKIE_PERIOD_MS));
        const words = new Int32Array(8);
        words.set(addressWords(one.client));
        const cookie = maker.make(words, 0, 4, one.ports, one.sequence, index);
        const isInTime = Math.abs(later) <= 1;
        expect(checker.check(words, 0, 4, one.ports, one.sequence, cookie)).toBe(isInTime ? index : NONE);
        const isSame =
          one.client === other.client && one.ports === other.ports && one.sequence === other.sequence;
        words.set(addressWords(other.client));
        if (!isSame) expect(checker.check(words, 0, 4, other.ports, other.sequence, cookie)).toBe(NONE);
      },
    ),
    { numRuns: 500 },
  );
});
