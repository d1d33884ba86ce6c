/**
 * Distance: a member that is far away: all that it sends and all that is for it takes some milliseconds longer. Done by a process in
 * the bridges' namespace (distance-main.ts) that is a long wire between the link and the member's port; gone after healDistance().
 *
 *   bridge "cluster" --- near | the process: so many ms each way | far --- bridge "late" --- the member's port
 */
import { SynwallError } from "../../src/base/errors.ts";
import { endHelper, type Lab, lastWords, memberOf, runningProcess, startInHost } from "./lab.ts";
import { inHost } from "./network.ts";
import { moduleCommand } from "./processes.ts";
import { run } from "./run.ts";
import { BRIDGE_HOST, mtuOf, namespaceOf, type Wire } from "./topology.ts";
import { poll } from "./wait.ts";

const PROCESS = "distance";
const NEAR = "near";
const FAR = "far-end";
const BRIDGE = "late";
const START_TIMEOUT_MS = 60_000;
const PINGS = 5;

/**
 * Puts a member of one wire (a witness) so far away. Answers the shortest round trip that was measured then, in milliseconds.
 * Throws SW_LAB_FAILED when it cannot be done, or when it is not that far then.
 */
export async function setDistance(lab: Lab, name: string, oneWayMs: number): Promise<number> {
  const wire = onlyWireOf(lab, name);
  const words = [NEAR, FAR, String(oneWayMs)];
  await startInHost(lab, BRIDGE_HOST, PROCESS, moduleCommand("chaos/lab/distance-main", words));
  const areThere = async (): Promise<boolean> =>
    (await run("ip", ["-n", bridgeNamespace(lab), "link", "show", "dev", FAR], { mayFail: true })) !== "";
  const isReady = await poll(
    async () => runningProcess(lab, PROCESS) === undefined || (await areThere()),
    START_TIMEOUT_MS,
    { abort: lab.context.abort },
  );
  if (!isReady || runningProcess(lab, PROCESS) === undefined) {
    throw new SynwallError("SW_LAB_FAILED", `no long wire for ${name}: ${lastWords(lab, PROCESS)}`);
  }
  await batch(lab, [
    `link add name ${BRIDGE} type bridge stp_state 0 mcast_snooping 0`,
    ...[BRIDGE, NEAR, FAR].map((device) => `link set dev ${device} mtu ${mtuOf(wire.link)}`),
    `link set dev ${NEAR} master ${wire.link}`,
    `link set dev ${FAR} master ${BRIDGE}`,
    ...[BRIDGE, NEAR, FAR].map((device) => `link set dev ${device} up`),
    `link set dev ${wire.port} master ${BRIDGE}`,
  ]);
  return measure(lab, name, 2 * oneWayMs);
}

/** Brings whoever is far away back. */
export async function healDistance(lab: Lab): Promise<void> {
  if (lab.state.processes[PROCESS] === undefined) return;
  // Most of these are where they are to be, or not there at all: ip goes on, and its status means nothing.
  const lines = lab.state.topology.wires
    .filter(({ host }) => lab.state.topology.members.some(({ name }) => name === host))
    .map(({ port, link }) => `link set dev ${port} master ${link}`);
  await batch(lab, [...lines, `link delete dev ${BRIDGE}`], true);
  await endHelper(lab, PROCESS);
}

/** From another member, on the wire: also the first answer, which waits for ARP, tells. */
async function measure(lab: Lab, name: string, leastMs: number): Promise<number> {
  const { members } = lab.state.topology;
  const { address } = memberOf(lab, name);
  const asker = members.find((member) => member.name !== name)!.name;
  const answered = await inHost(lab.state.options.name, asker, `ping -n -c ${PINGS} -i 0.2 -w 10 ${address}`);
  const shortestMs = Number(/min\/avg\/max[^=]*= ([\d.]+)\//.exec(answered)?.[1]);
  if (shortestMs >= leastMs) return shortestMs;
  throw new SynwallError("SW_LAB_FAILED", `${name} is ${shortestMs} ms away, not ${leastMs} ms`);
}

/** A node has three wires, and whoever forwards is not far from its own hosts. */
function onlyWireOf(lab: Lab, name: string): Wire {
  const member = memberOf(lab, name);
  const wires = lab.state.topology.wires.filter(({ host }) => host === member.name);
  if (wires.length === 1) return wires[0]!;
  throw new SynwallError(
    "SW_LAB_FAILED",
    `${name} has ${wires.length} wires: only a witness can be far away`,
  );
}

async function batch(lab: Lab, lines: readonly string[], mayFail = false): Promise<void> {
  const force = mayFail ? ["-force"] : [];
  await run("ip", ["-n", bridgeNamespace(lab), ...force, "-batch", "-"], {
    input: `${lines.join("\n")}\n`,
    mayFail,
  });
}

function bridgeNamespace(lab: Lab): string {
  return namespaceOf(lab.state.options.name, BRIDGE_HOST);
}
