/** Rules with schedules in a cluster of real nodes, in virtual time of day. */
import { expect, test } from "vitest";
import { waitSettledOn } from "../../chaos/drill/stage.ts";
import { clientAddresses, SERVER_ADDRESS } from "../../chaos/lab/topology.ts";
import { SimCluster } from "../../chaos/sim/cluster/cluster.ts";
import { plugHosts, type SimHosts } from "../../chaos/sim/cluster/hosts.ts";
import { simStage } from "../../chaos/sim/cluster/stage.ts";

const OUT = /( +)- name: out\n/;
const ARRIVAL_MS = 100;
/** Both nodes own some of them. */
const CLIENTS = clientAddresses().slice(0, 16);
/** A Wednesday. */
const MIDNIGHT_MS = Date.UTC(2020, 0, 1);

/** The lab's policy, whose rule for what goes out holds by this schedule only. */
function scheduled(schedule: string, startWallMs: number): { cluster: SimCluster; hosts: SimHosts } {
  const cluster = new SimCluster({
    startWallMs,
    ...{ seed: 21, nodes: 2, hasWitness: true, profile: "lan", flowsMax: 256 },
    configure: (text) => text.replace(OUT, `$1- name: out\n$1  schedule: ${schedule}\n`),
  });
  return { cluster, hosts: plugHosts(cluster) };
}

/** How many clients reach the server now, each with a new flow. */
async function reaching({ cluster, hosts }: ReturnType<typeof scheduled>, port: number): Promise<number> {
  const heard = new Set<string>();
  hosts.server.bind(SERVER_ADDRESS, port, (payload) => heard.add(payload.toString()));
  for (const address of CLIENTS) {
    const to = { address: SERVER_ADDRESS, port };
    hosts.client.sendDatagram({ address, port: 1000 + port }, to, Buffer.from(address));
  }
  await cluster.clock.pause(ARRIVAL_MS);
  return heard.size;
}

async function settled(world: ReturnType<typeof scheduled>): Promise<void> {
  await world.cluster.startAll();
  await waitSettledOn(simStage(world.cluster, world.hosts));
}

test.each([
  ["{ days: [wed] }", CLIENTS.length],
  ["{ days: [thu, fri] }", 0],
  ["{ days: [tue], from: 23:00, to: 01:00 }", CLIENTS.length],
  ["{ from: 00:01 }", 0],
])("a rule with schedule %s lets %i hosts out after midnight of a Wednesday", async (schedule, expected) => {
  const world = scheduled(schedule, MIDNIGHT_MS);
  const story = async (): Promise<number> => {
    await settled(world);
    return reaching(world, 5000);
  };
  expect(await world.cluster.clock.drive(story())).toBe(expected);
});

test("a schedule that ends while the cluster runs ends on both nodes, for new flows", async () => {
  const world = scheduled("{ to: 00:01 }", MIDNIGHT_MS + 57_000);
  const { clock } = world.cluster;
  const story = async (): Promise<number[]> => {
    await settled(world);
    const before = await reaching(world, 5000);
    // The engine is told the time once a second.
    await clock.pause(MIDNIGHT_MS + 61_000 - clock.wallMs());
    return [before, await reaching(world, 5001)];
  };
  expect(await clock.drive(story())).toEqual([CLIENTS.length, 0]);
});
