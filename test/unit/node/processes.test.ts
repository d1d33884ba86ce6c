import { expect, test } from "vitest";
import { emptyState, type MemberState } from "../../../cluster/control/model.ts";
import { RECORD_FORMATS } from "../../../cluster/sync/wire-format.ts";
import { VERSION } from "../../../config/version.ts";
import { SynwallError } from "../../../src/base/errors.ts";
import { Processes, type ProcessesOptions } from "../../../src/node/processes.ts";

const FW1 = { id: 1, name: "fw1", role: "node", address: "192.0.2.1", weight: 1 } as const;
const FW2 = { ...FW1, id: 2, name: "fw2", address: "192.0.2.2" } as const;
const SLOTS = 16;

interface Given {
  readonly state?: MemberState;
  readonly owner?: number;
  readonly awaited?: readonly number[];
  readonly isSupervised?: boolean;
  readonly more?: Partial<ProcessesOptions>;
}

function processes({
  state = "drained",
  owner = 2,
  awaited = [],
  isSupervised = true,
  more = {},
}: Given = {}) {
  const ended: string[] = [];
  const timers: (() => void)[] = [];
  const empty = emptyState(SLOTS);
  const cluster = {
    ...empty,
    members: [{ ...FW1, state, incarnation: 4 }],
    table: {
      ...empty.table,
      owner: empty.table.owner.map(() => owner),
      awaiting: empty.table.awaiting.map(() => awaited),
    },
  };
  const made = new Processes({
    self: FW1,
    transport: {
      status: async () => {
        throw new SynwallError("SW_CONTROL_TIMEOUT", "no answer");
      },
      restart: async (to, incarnation) => (incarnation === 7 ? "" : `${to} is in life 7`),
    },
    timers: { after: (_ms, callback) => timers.push(callback) as never },
    journal: { add: () => undefined as never },
    recordFormats: RECORD_FORMATS,
    restart: { isSupervised, end: () => void ended.push("ended") },
    state: () => cluster,
    incarnation: () => 4,
    peers: () => [FW2],
    ...more,
  });
  const later = (): void => {
    for (const timer of timers.splice(0)) timer();
  };
  return { made, ended, later };
}

test("a drained node that is supervised ends when it is asked to, after its answer has left", () => {
  const { made, ended, later } = processes();
  expect(made.restart(4)).toBe("");
  expect(ended).toEqual([]);
  later();
  expect(ended).toEqual(["ended"]);
});

test("asked twice it ends once", () => {
  const { made, ended, later } = processes();
  expect([made.restart(4), made.restart(4)]).toEqual(["", ""]);
  later();
  expect(ended).toEqual(["ended"]);
});

test.each<[string, Given, number, RegExp]>([
  ["in another life than the one that is meant", {}, 3, /^fw1 is in life 4, not 3/],
  ["while it owns slots", { owner: 1 }, 4, /^fw1 owns 16 slots: drain it first/],
  [
    "while it may still decide slots that it lost",
    { awaited: [1] },
    4,
    /^fw1 may still decide flows of 16 slots/,
  ],
  ["while it may be given slots", { state: "active" }, 4, /^fw1 may be given slots at any moment/],
  [
    "when nobody starts it again",
    { isSupervised: false },
    4,
    /^fw1 was not started by anybody who starts it again/,
  ],
])("a node does not end %s", (_when, given, incarnation, why) => {
  const { made, ended, later } = processes(given);
  expect(made.restart(incarnation)).toMatch(why);
  later();
  expect(ended).toEqual([]);
});

test("a witness carries nothing, and may end at any time", () => {
  const self = { ...FW1, id: 9, name: "witness", role: "witness", weight: 0 } as const;
  expect(processes({ more: { self } }).made.restart(4)).toBe("");
});

test("another member's refusal is told with its reason", async () => {
  const { made } = processes();
  await expect(made.restartMember(2, 6)).rejects.toThrow("2 is in life 7");
  await expect(made.restartMember(2, 7)).resolves.toBeUndefined();
});

test("a peer that does not answer is listed as such, beside what this one runs", async () => {
  const [own, peer] = await processes().made.list();
  expect(own).toMatchObject({
    name: "fw1",
    isReachable: true,
    version: VERSION,
    process: { incarnation: 4 },
  });
  expect(own?.process?.recordVersions).toEqual(RECORD_FORMATS.map(({ version }) => version));
  expect(peer).toEqual({ id: 2, name: "fw2", role: "node", isReachable: false });
});
