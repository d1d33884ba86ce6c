/**
 * Faults: what can be done to a lab's members and wires. Each is undone by `start` or `heal`.
 *
 * A cut disables the member's port of the bridge. Frames no longer pass, but both ends keep their carrier, as when a switch
 * or a cable in the middle fails: nobody is told, it must be noticed.
 */
import { SynwallError } from "../../src/base/errors.ts";
import { nowMs } from "../../src/node/clock.ts";
import { healDistance } from "./distance.ts";
import { healHarm } from "./harm.ts";
import { type Lab, memberOf, runningProcess, startMember } from "./lab.ts";
import { signal } from "./processes.ts";
import { run } from "./run.ts";
import { BRIDGE_HOST, type Link, namespaceOf, type Wire } from "./topology.ts";
import { pause, poll } from "./wait.ts";

const PORT_DISABLED = 0;
const PORT_FORWARDING = 3;
const GET_READY_MS = 50;
const END_TIMEOUT_MS = 5_000;
/** A member that cannot stop in order ends itself after 5 s. */
const STOP_TIMEOUT_MS = 10_000;
const PAUSE_MAX_MS = 600_000;

/** Kills a member at once, as a crash does. Answers when (CLOCK_MONOTONIC). */
export async function killMember(lab: Lab, name: string): Promise<number> {
  const target = runningProcess(lab, memberOf(lab, name).name);
  if (target === undefined) throw new SynwallError("SW_LAB_FAILED", `${name} does not run: nothing to kill`);
  const atMs = nowMs();
  signal(target, "SIGKILL");
  if (!(await poll(() => runningProcess(lab, name) === undefined, END_TIMEOUT_MS))) {
    throw new SynwallError("SW_LAB_FAILED", `${name} (process ${target.pid}) does not end`);
  }
  return atMs;
}

/** Starts a member that does not run. Answers when. */
export async function startAgain(lab: Lab, name: string): Promise<number> {
  const member = memberOf(lab, name);
  if (runningProcess(lab, name) !== undefined) {
    throw new SynwallError("SW_LAB_FAILED", `${name} runs already: kill it first`);
  }
  const atMs = nowMs();
  await startMember(lab, member);
  return atMs;
}

/** Ends a member in order (SIGTERM), and starts it again. Answers when it was told to end. */
export async function restartMember(lab: Lab, name: string): Promise<number> {
  const target = runningProcess(lab, memberOf(lab, name).name);
  if (target === undefined)
    throw new SynwallError("SW_LAB_FAILED", `${name} does not run: nothing to restart`);
  const atMs = nowMs();
  signal(target, "SIGTERM");
  if (!(await poll(() => runningProcess(lab, name) === undefined, STOP_TIMEOUT_MS))) {
    throw new SynwallError("SW_LAB_FAILED", `${name} (process ${target.pid}) does not end`);
  }
  await startAgain(lab, name);
  return atMs;
}

/** Stops a member for `ms`, then lets it go on. Answers when it was stopped. */
export async function pauseMember(lab: Lab, name: string, ms: number): Promise<number> {
  if (!Number.isFinite(ms) || ms < 1 || ms > PAUSE_MAX_MS) {
    throw new SynwallError("SW_LAB_FAILED", `pause of ${ms} ms: use 1 to ${PAUSE_MAX_MS}`);
  }
  const target = runningProcess(lab, memberOf(lab, name).name);
  if (target === undefined) throw new SynwallError("SW_LAB_FAILED", `${name} does not run: nothing to pause`);
  const atMs = nowMs();
  signal(target, "SIGSTOP");
  try {
    await pause(ms, lab.context.abort);
  } finally {
    signal(target, "SIGCONT");
  }
  return atMs;
}

/** Cuts a member off `link`, or off everything. Answers when, on the clock of the journals. */
export async function cutMember(lab: Lab, name: string, link: Link | "all"): Promise<number> {
  const wires = wiresOf(lab, name).filter((wire) => link === "all" || wire.link === link);
  if (wires.length === 0) throw new SynwallError("SW_LAB_FAILED", `${name} has no link "${link}"`);
  return setPorts(lab, wires, PORT_DISABLED);
}

/** Takes the carrier of a member's link away, as a pulled cable does, or gives it back. Answers when. */
export async function setCarrier(lab: Lab, name: string, link: Link, isUp: boolean): Promise<number> {
  const atMs = nowMs();
  for (const { port, link: each } of wiresOf(lab, name)) {
    if (each === link)
      await run("ip", ["-n", bridgeNamespace(lab), "link", "set", port, isUp ? "up" : "down"]);
  }
  return atMs;
}

/** Mends every wire of the lab: carriers first, since a port without one can not forward. */
export async function healAll(lab: Lab): Promise<void> {
  const { wires } = lab.state.topology;
  const lines = wires.map(({ port }) => `link set dev ${port} up`);
  await run("ip", ["-n", bridgeNamespace(lab), "-batch", "-"], { input: `${lines.join("\n")}\n` });
  await healHarm(lab);
  await healDistance(lab);
  await setPorts(lab, wires, PORT_FORWARDING);
}

/** Wires that are cut now, as "fw2-cluster". */
export async function cutWires(lab: Lab): Promise<string[]> {
  const text = await run("bridge", ["-n", bridgeNamespace(lab), "-j", "link", "show"]);
  const ports = JSON.parse(text || "[]") as { ifname: string; state?: string }[];
  const states = new Map(ports.map(({ ifname, state }) => [ifname, state]));
  return lab.state.topology.wires.map(({ port }) => port).filter((port) => states.get(port) !== "forwarding");
}

function wiresOf(lab: Lab, name: string): readonly Wire[] {
  const member = memberOf(lab, name);
  return lab.state.topology.wires.filter((wire) => wire.host === member.name);
}

/**
 * One batch: all wires change within one process, microseconds apart. The process is started first and given time to get
 * ready, so that the moment which is answered is that of the change, not of a start that may take long on a busy machine.
 */
async function setPorts(lab: Lab, wires: readonly Wire[], state: number): Promise<number> {
  const lines = wires.map((wire) => `link set dev ${wire.port} state ${state}`);
  let atMs = 0;
  await run("bridge", ["-n", bridgeNamespace(lab), "-batch", "-"], {
    input: `${lines.join("\n")}\n`,
    inputAfterMs: GET_READY_MS,
    onInput: () => {
      atMs = nowMs();
    },
  });
  return atMs;
}

function bridgeNamespace(lab: Lab): string {
  return namespaceOf(lab.state.options.name, BRIDGE_HOST);
}
