/**
 * Harm: what can be done to a member's wire besides cutting it: frames lost in one way or both, all or some of them, and a wire that
 * carries little. Done at the member's port of the bridge, by the kernel, and gone after healHarm().
 *
 *   member  --- "out": frames that it sent, at the port's ingress ---> bridge
 *           <-- "in": frames for it, at the port's egress ------------
 */
import { nowMs } from "../../src/node/clock.ts";
import { type Lab, memberOf } from "./lab.ts";
import { run } from "./run.ts";
import { BRIDGE_HOST, type Link, namespaceOf, type Wire } from "./topology.ts";

const TABLE = "drill";
/** What a slow wire keeps before it drops: a switch's port has about that. */
const QUEUE_BYTES = 131_072;
const BURST_BYTES = 16_384;

/** What is done to the frames of a wire; "out" are those that the member sends. */
export interface Harm {
  readonly way: "in" | "out" | "both";
  /** Of all frames, lost at random; 100 cuts that way. */
  readonly lossPercent?: number;
  /** The wire carries no more than that towards the member. */
  readonly kbytesPerSecond?: number;
}

/** Harms a member's wire to `link`, or all of them. Answers when (CLOCK_MONOTONIC). */
export async function harmWires(lab: Lab, name: string, link: Link | "all", harm: Harm): Promise<number> {
  const member = memberOf(lab, name);
  const wires = lab.state.topology.wires.filter(
    (wire) => wire.host === member.name && (link === "all" || wire.link === link),
  );
  const namespace = namespaceOf(lab.state.options.name, BRIDGE_HOST);
  if (harm.kbytesPerSecond !== undefined) {
    for (const { port } of wires) await shape(namespace, port, harm.kbytesPerSecond);
  }
  const atMs = nowMs();
  const rules = wires.flatMap((wire) => chainsOf(wire, harm)).join("\n");
  await nft(namespace, `table netdev ${TABLE} {\n${rules}\n}\n`);
  return atMs;
}

/** Undoes all of it. */
export async function healHarm(lab: Lab): Promise<void> {
  const namespace = namespaceOf(lab.state.options.name, BRIDGE_HOST);
  // Made first, so that there is something to delete in any case.
  await nft(namespace, `table netdev ${TABLE}\ndelete table netdev ${TABLE}\n`);
  // Most wires were not shaped, and tc says so of each: it goes on, and its status means nothing.
  const lines = lab.state.topology.wires.map(({ port }) => `qdisc del dev ${port} root`);
  await run("tc", ["-n", namespace, "-force", "-batch", "-"], {
    input: `${lines.join("\n")}\n`,
    mayFail: true,
  });
}

function chainsOf({ port }: Wire, { way, lossPercent = 0 }: Harm): string[] {
  if (lossPercent === 0) return [];
  const match = lossPercent >= 100 ? "" : `numgen random mod 100 < ${lossPercent} `;
  const chain = (hook: string): string =>
    `chain ${hook}-${port} { type filter hook ${hook} device "${port}" priority 0; ${match}drop; }`;
  return [...(way === "in" ? [] : [chain("ingress")]), ...(way === "out" ? [] : [chain("egress")])];
}

async function shape(namespace: string, port: string, kbytesPerSecond: number): Promise<void> {
  const rate = ["rate", `${kbytesPerSecond * 8}kbit`, "burst", `${BURST_BYTES}`, "limit", `${QUEUE_BYTES}`];
  await run("tc", ["-n", namespace, "qdisc", "replace", "dev", port, "root", "tbf", ...rate]);
}

async function nft(namespace: string, rules: string): Promise<void> {
  await run("ip", ["netns", "exec", namespace, "nft", "-f", "-"], { input: rules });
}
