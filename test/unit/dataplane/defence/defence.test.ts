import { expect, test } from "vitest";
import { addressWords } from "../../../../src/base/address.ts";
import { seededRandom } from "../../../../src/base/env.ts";
import { COUNTER_CELLS, counterIndex, type ExtraCounter } from "../../../../src/dataplane/counters.ts";
import {
  ADMIT_BY_COOKIE,
  ADMITTED,
  Defence,
  NO_PROTECTION,
} from "../../../../src/dataplane/defence/defence.ts";
import { LIFE_LEAST, LIFE_WHOLE } from "../../../../src/dataplane/defence/pressure.ts";
import { FLAG_REPLIED, NONE } from "../../../../src/dataplane/flow-layout.ts";
import { FlowTable } from "../../../../src/dataplane/flow-table.ts";
import type { ProtectionModel } from "../../../../src/dataplane/policy-model.ts";
import { TCP_ESTABLISHED, TCP_SYN_SENT } from "../../../../src/dataplane/tcp-state.ts";
import { verdictName } from "../../../../src/dataplane/verdict.ts";
import { TEST_KEY } from "../world.ts";
import { putFlow, type TestFlow } from "./flows.ts";

const CLIENT = 0x0a000001;
const OTHER = 0x0a000002;
const FRIEND = 0x0a0000ff;
const SERVER = 0xc6336464;

function rig(protection: Partial<ProtectionModel> | undefined, capacity = 20) {
  const table = new FlowTable(capacity, TEST_KEY);
  const counters = new Float64Array(COUNTER_CELLS);
  const friend = addressWords(FRIEND);
  const defence = new Defence(
    {
      table,
      counters,
      key: TEST_KEY,
      clock: Float64Array.of(1000),
      random: seededRandom(5),
      isAllowed: (words, at) => words[at + 3] === friend[3],
      isOurs: () => true,
    },
    protection && { ...NO_PROTECTION, ...protection },
  );
  return {
    table,
    defence,
    count: (name: ExtraCounter) => counters[counterIndex(name)]!,
    put(flow: TestFlow): number {
      const row = putFlow(table, { state: TCP_SYN_SENT, client: CLIENT, ...flow });
      defence.settle(row);
      return row;
    },
    admit(client: number, isTcp = true, isProven = false): string {
      const verdict = defence.admit(addressWords(client), 0, addressWords(SERVER), 0, 80, isTcp, isProven);
      if (verdict === ADMITTED) return "admitted";
      return verdict === ADMIT_BY_COOKIE ? "cookie" : verdictName(verdict);
    },
  };
}

test("without protection only room in the table is asked for, and unassured flows make way", () => {
  const { put, admit, defence } = rig(undefined, 3);
  put({ state: TCP_ESTABLISHED });
  put({ state: TCP_ESTABLISHED });
  expect([admit(CLIENT), defence.victim]).toEqual(["admitted", NONE]);
  const row = put({});
  expect([admit(CLIENT), defence.victim]).toEqual(["admitted", row]);
});

test("a table full of assured flows is full", () => {
  const { put, admit, defence, count } = rig(undefined, 2);
  put({ state: TCP_ESTABLISHED });
  put({ protocol: 17, flags: FLAG_REPLIED });
  expect([admit(CLIENT), defence.victim]).toEqual(["table_full", NONE]);
  expect(count("earlyDropsFailed")).toBe(1);
});

test("FFW_RUL_EXT.1.10: each kind of half-open limit is refused and counted under its own name", () => {
  const bySource = rig({ halfOpenPerSource: 1 });
  bySource.put({});
  expect([bySource.admit(CLIENT), bySource.admit(OTHER)]).toEqual(["half_open_limit", "admitted"]);
  expect(bySource.count("halfOpenRefusedBySource")).toBe(1);
  const byDestination = rig({ halfOpenPerDestination: 1 });
  byDestination.put({});
  expect(byDestination.admit(OTHER)).toBe("half_open_limit");
  expect(byDestination.count("halfOpenRefusedByDestination")).toBe(1);
  const inAll = rig({ halfOpenMax: 1 });
  inAll.put({ server: OTHER });
  expect([inAll.admit(OTHER), inAll.admit(OTHER, false)]).toEqual(["half_open_limit", "admitted"]);
  expect(inAll.count("halfOpenRefusedInAll")).toBe(1);
});

test("a source beyond its rate is refused, whatever it begins", () => {
  const { admit } = rig({ newFlowsPerSecond: 1, newFlowsBurst: 2 });
  expect([admit(CLIENT), admit(CLIENT, false), admit(CLIENT, false)]).toEqual([
    "admitted",
    "admitted",
    "source_rate",
  ]);
});

test("in a flood a source has to prove itself, and what is not proven costs nobody's limits", () => {
  const { put, admit } = rig({ synProxyAbove: 1, newFlowsPerSecond: 1, newFlowsBurst: 1 });
  put({});
  put({ client: OTHER });
  for (let i = 0; i < 5; i++) expect(admit(CLIENT)).toBe("cookie");
  expect(admit(CLIENT, true, true)).toBe("admitted");
  expect(admit(CLIENT, true, true)).toBe("source_rate");
  expect(admit(OTHER, false)).toBe("admitted");
});

test("allowlisted sources meet no limit, and the reserve is theirs", () => {
  const { put, admit } = rig(
    { halfOpenPerSource: 1, synProxyAbove: 1, newFlowsPerSecond: 1, newFlowsBurst: 1, reservePercent: 20 },
    10,
  );
  for (let i = 0; i < 8; i++) put({ client: FRIEND, state: TCP_ESTABLISHED });
  for (let i = 0; i < 3; i++) expect(admit(FRIEND)).toBe("admitted");
  expect(admit(CLIENT)).toBe("table_reserved");
  put({ client: FRIEND, state: TCP_ESTABLISHED });
  put({ client: FRIEND, state: TCP_ESTABLISHED });
  expect(admit(FRIEND)).toBe("table_full");
});

test("nobody's flow ends for a flow that is refused anyway", () => {
  const { put, admit, count } = rig({ halfOpenPerSource: 1 }, 1);
  put({});
  expect(admit(CLIENT)).toBe("half_open_limit");
  expect(count("earlyDrops")).toBe(0);
});

test("as the table fills unassured flows live shorter, assured ones do not", () => {
  const { put, defence } = rig({ shrinkFromPercent: 10, shrinkToPercent: 50 }, 10);
  const assured = put({ state: TCP_ESTABLISHED });
  const first = put({});
  expect(defence.life(first)).toBeLessThan(LIFE_WHOLE);
  for (let i = 0; i < 5; i++) put({});
  expect(defence.life(first)).toBe(LIFE_LEAST);
  expect(defence.life(assured)).toBe(LIFE_WHOLE);
});

test("gauges tell how things stand", () => {
  const { put, defence, count } = rig({ shrinkFromPercent: 1, shrinkToPercent: 2 });
  const row = put({});
  defence.report();
  expect([count("halfOpenNow"), count("unassuredLifePermilleNow"), count("sourcesEvicted")]).toEqual([
    1,
    LIFE_LEAST,
    0,
  ]);
  defence.forget(row);
  defence.report();
  expect(count("halfOpenNow")).toBe(0);
});
