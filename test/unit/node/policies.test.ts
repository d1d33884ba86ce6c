import { expect, test } from "vitest";
import { parseNodeConfig } from "../../../config/load.ts";
import type { NodeConfig } from "../../../config/node-config.ts";
import { RuleLogReader } from "../../../src/dataplane/rule-log.ts";
import { compileRules } from "../../../src/dataplane/rules/compile.ts";
import { Policies } from "../../../src/node/policies.ts";
import { checkPolicyChange } from "../../../src/node/policy-change.ts";
import { exampleText } from "../config/site.ts";
import { tcp } from "../dataplane/frames.ts";
import { INSIDE, LAB_POLICY, OUTSIDE, PORT_INSIDE, rule, World } from "../dataplane/world.ts";
import { WorkerWorld } from "./worker-world.ts";

const named = (...names: string[]): typeof LAB_POLICY => ({
  ...LAB_POLICY,
  rules: names.map((name, i) => rule(i, { name, fromZone: INSIDE, toZone: OUTSIDE })),
});

function memory(...hits: number[]): SharedArrayBuffer {
  const shared = new SharedArrayBuffer(8 * hits.length);
  new Float64Array(shared).set(hits);
  return shared;
}

test("a rule's name is taken from the policy that it is of, also when another holds", () => {
  const policies = new Policies(named("a", "b"), memory(0, 0, 0));
  policies.add(named("b"));
  expect([policies.ruleName(1, 1), policies.ruleName(0, 2), policies.ruleName(0, 0)]).toEqual([
    "b",
    "b",
    "b",
  ]);
  expect([policies.ruleName(5, 2), policies.ruleName(0, 3)]).toEqual(["default", ""]);
});

test("hits go on under a rule's name, wherever it stands, also after more policies than are kept", () => {
  const policies = new Policies(named("a", "b"), memory(1, 2, 4));
  new Float64Array(policies.add(named("b", "c"))).set([8, 16, 32]);
  expect(policies.ruleHits()).toEqual([
    { rule: "b", hits: 10 },
    { rule: "c", hits: 16 },
    { rule: "default", hits: 36 },
  ]);
  for (let i = 0; i < 40; i++) policies.add(named("b"));
  expect(policies.ruleHits()).toEqual([
    { rule: "b", hits: 10 },
    { rule: "default", hits: 36 },
  ]);
  expect(policies.ruleName(0, 1)).toBe("");
});

function config(edits: Readonly<Record<string, string>> = {}): NodeConfig {
  let text = exampleText("fw1");
  for (const [from, to] of Object.entries(edits)) {
    expect(text).toContain(from);
    text = text.replace(from, to);
  }
  return parseNodeConfig(text, "node", { name: "fw1.yaml", secret: new Uint8Array(32) });
}

test("rules may change while a node runs; what it was started with may not, and is named", () => {
  const { dataplane, ...rest } = config();
  const { policy } = dataplane!;
  const other = {
    ...rest,
    dataplane: { ...dataplane!, policy: { ...policy, rules: policy.rules.slice(1) } },
  };
  expect(() => checkPolicyChange(config(), other, "fw1.yaml")).not.toThrow();
  const moved = { ...rest, logLevel: "debug", dataplane: { ...dataplane!, flowsMax: 1024 } } as const;
  expect(() => checkPolicyChange(config(), moved, "fw1.yaml")).toThrow(
    "Cannot apply the policy of fw1.yaml: flows.max, log must stay as this node was started with; restart it, drained first",
  );
});

test("a record of the rule log tells of which policy its rule is", () => {
  const logged = { ...named("a"), rules: named("a").rules.map((one) => ({ ...one, log: true })) };
  const world = new World({ policy: logged, ruleLogRecords: 16 });
  const syn = (sport: number): void =>
    void world.packet(
      PORT_INSIDE,
      tcp({ from: "10.10.0.2", to: "198.51.100.100", sport, dport: 443, flags: "S" }),
    );
  syn(4000);
  world.engine.usePolicy(logged, new Float64Array(2));
  syn(4001);
  expect(new RuleLogReader(world.ruleLog!).take(4).map(({ policy }) => policy)).toEqual([1, 2]);
});

test("the worker takes another policy over, and counts its hits where it is told", () => {
  const world = new WorkerWorld();
  const ruleHits = new SharedArrayBuffer(16);
  const policy = named("only");
  const compiled = compileRules(policy.rules);
  world.core.receive({ type: "policy", policy: { ...policy, rules: [] }, compiled, ruleHits }, world.nowMs);
  world.run(2);
  expect(new Float64Array(ruleHits)).toEqual(new Float64Array(2));
});

test("the engine is told the time of day about once a second", () => {
  const world = new WorkerWorld();
  const told: number[] = [];
  const { engine } = world.core;
  const tell = engine.setWallTime.bind(engine);
  engine.setWallTime = (wallMs) => {
    told.push(wallMs[0]!);
    tell(wallMs);
  };
  world.wallMs = Date.UTC(2026, 0, 1);
  world.run(2500);
  expect(told).toEqual([world.wallMs, world.wallMs, world.wallMs]);
});
