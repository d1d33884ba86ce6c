import { expect, test } from "vitest";
import { flowTableBytes } from "../../../src/dataplane/flow-table.ts";
import { compileRules } from "../../../src/dataplane/rules/compile.ts";
import { NatView } from "../../../src/node/nat-view.ts";
import { createSharedMemory } from "../../../src/node/shared-memory.ts";
import { ip, ip6, udp } from "../dataplane/frames.ts";
import { CLIENT, entry, nat64Policy, natPolicy, natWorld, SERVER } from "../dataplane/nat-worlds.ts";
import { LAB_POLICY, PORT_INSIDE } from "../dataplane/world.ts";
import { WorkerWorld } from "./worker-world.ts";

const FIRST = "198.51.100.10";
const SECOND = "198.51.100.11";
const withPool = (...pool: (number | bigint)[]) => natPolicy({ snat: [entry({ pool })] });

test("an address of an older policy is shown until its last flow is gone", () => {
  const { natUsage } = createSharedMemory(flowTableBytes(16), 1);
  const old = withPool(ip(FIRST));
  const world = natWorld(old, { natUsage });
  const view = new NatView(natUsage);
  world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 5000, dport: 53 }));
  const first = { address: FIRST, portsInUse: 1, refused: 0, isRetired: false };
  expect(view.list(old)).toEqual([first]);

  const present = withPool(ip(SECOND));
  world.engine.usePolicy(present, new Float64Array(2));
  const second = { address: SECOND, portsInUse: 0, refused: 0, isRetired: false };
  expect(view.list(present)).toEqual([{ ...first, isRetired: true }, second]);

  world.tick(11_000);
  expect(view.list(present)).toEqual([second]);
});

test("a policy that takes an address up again goes on with its counts", () => {
  const { natUsage } = createSharedMemory(flowTableBytes(16), 1);
  const policies = [withPool(ip(FIRST)), withPool(ip(SECOND)), withPool(ip(SECOND), ip(FIRST))];
  const world = natWorld(policies[0]!, { natUsage });
  world.packet(PORT_INSIDE, udp({ from: CLIENT, to: SERVER, sport: 5000, dport: 53 }));
  for (const policy of policies.slice(1)) world.engine.usePolicy(policy, new Float64Array(2));
  expect(new NatView(natUsage).list(policies[2]!)).toEqual([
    { address: FIRST, portsInUse: 1, refused: 0, isRetired: false },
    { address: SECOND, portsInUse: 0, refused: 0, isRetired: false },
  ]);
});

test("pools of NAT64 and of IPv6 are shown and count, each address once", () => {
  const { natUsage } = createSharedMemory(flowTableBytes(16), 1);
  const policy = nat64Policy({ snat: [entry(), entry({ pool: [ip6("2001:db8:f::10")] })] });
  natWorld(policy, { natUsage });
  const view = new NatView(natUsage);
  expect(view.list(policy).map(({ address }) => address)).toEqual([FIRST, "2001:db8:f::10"]);
  expect(view.poolCount(policy)).toBe(2);
});

test("a worker tells of the addresses of its policy, and of another one that it is given", () => {
  const world = new WorkerWorld();
  const view = new NatView(world.memory.natUsage);
  expect(view.list(LAB_POLICY).map(({ address }) => address)).toEqual([FIRST, SECOND]);
  const policy = { ...LAB_POLICY, snat: [entry({ pool: [ip("198.51.100.12")] })] };
  const ruleHits = new SharedArrayBuffer(8 * (policy.rules.length + 1));
  const compiled = compileRules(policy.rules);
  world.core.receive({ type: "policy", policy: { ...policy, rules: [] }, compiled, ruleHits }, world.nowMs);
  expect(view.list(policy).map(({ address }) => address)).toEqual(["198.51.100.12"]);
});
