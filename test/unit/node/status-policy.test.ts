import { expect, test } from "vitest";
import { emptyState } from "../../../cluster/control/model.ts";
import type { PeerStatus } from "../../../src/node/admin-model.ts";
import { buildStatus, type StatusFacts } from "../../../src/node/status.ts";

type Policy = NonNullable<PeerStatus["sync"]>["policy"];

function alertsWith(
  policy: Policy,
  alive = true,
  about = "policy",
  more: Partial<StatusFacts> = {},
): readonly string[] {
  const ack = { count: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 };
  const sync = { connected: true, lagMs: 0, lagRecords: 0, lagBytes: 0, ack, resyncs: 0, policy };
  const peer = { id: 2, name: "fw2", role: "node", state: "active", alive, links: {}, sync } as const;
  return buildStatus({
    cluster: "edge",
    self: { id: 1, name: "fw1", role: "node" },
    version: "1",
    uptimeMs: 1,
    state: emptyState(16),
    raft: { term: 1, commit: 1, state: "leader", lead: 1 },
    voters: [1, 2, 3],
    peers: [peer],
    unsettledOwn: 0,
    ...more,
  }).alerts.filter((line) => line.includes(about));
}

test("a living peer with another policy is an alert that says what it means and what to do", () => {
  expect(alertsWith("different")).toEqual([
    "the policy of fw2 differs from this node's: they may disagree who answers for an address and what a flow's rule is; make zones, nat and rules equal, and the order of interfaces where rules name some, and run 'synwall policy apply' on the one that is wrong (zones and interfaces: restart it, drained first)",
  ]);
});

test("no alert for the same policy, for an older build that tells none, and for a dead peer", () => {
  expect([alertsWith("same"), alertsWith("unknown"), alertsWith("different", false)]).toEqual([[], [], []]);
});

const DATAPLANE = { driver: "xdp", realtime: true, flows: 0, flowsMax: 1, drops: {}, nat: [] } as const;

test("a cluster link whose MTU shrank is an alert that says which it needs", () => {
  const port = { name: "eth3", zone: "cluster", driver: "xdp", carrier: true, silent: false };
  const alerts = (mtuBytes: number) =>
    alertsWith("same", true, "MTU", {
      dataplane: { ...DATAPLANE, ports: [{ ...port, mtuBytes }], clusterMtuNeeded: 1562 },
    });
  expect(alerts(1562)).toEqual([]);
  expect(alerts(1500)).toEqual([
    "eth3 (cluster) has MTU 1500, redirected frames need 1562: larger ones are dropped as too_big; ip link set eth3 mtu 1562",
  ]);
});

test("a peer from which full frames do not come is an alert, while it lives", () => {
  const peer = { id: 2, name: "fw2", role: "node", state: "active", links: {}, isPathNarrow: true } as const;
  const alerts = (alive: boolean) => alertsWith("same", alive, "full MTU", { peers: [{ ...peer, alive }] });
  expect(alerts(true)).toEqual([
    "the cluster link does not carry frames of its full MTU from fw2: redirected packets go over the zones, and are lost where that cannot be; raise the MTU of the switch between, and of fw2's interface",
  ]);
  expect(alerts(false)).toEqual([]);
});
