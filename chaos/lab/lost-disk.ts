/**
 * Lost disk: a member's process dies, and all that its disk held is gone: log, configuration, certificate, secret. Its machine comes back
 * empty, as an operator brings it back (docs/members.md): a configuration that lists nobody, a copy of the CA's key, a token in the
 * member's name, `cluster join`, and the start, under another id.
 *
 * Members that a lab begins with share the files of the lab, which stand for each one's copy; one that comes back has its own.
 */
import { copyFileSync, existsSync } from "node:fs";
import { SynwallError } from "../../src/base/errors.ts";
import { nowMs } from "../../src/node/clock.ts";
import { killMember } from "./faults.ts";
import { returnerYaml } from "./files.ts";
import { type Lab, memberOf, noteMemberId, runningProcess, startMember } from "./lab.ts";
import { register, removeOwnFiles } from "./membership.ts";
import { unmountAll } from "./mounts.ts";

/** Answers when the process was killed (CLOCK_MONOTONIC). */
export async function loseDisk(lab: Lab, name: string): Promise<number> {
  const atMs = await killMember(lab, name);
  // An interrupted drill may have left the data folder on a disk of its own.
  await unmountAll(lab.paths.data(name));
  removeOwnFiles(lab, name);
  return atMs;
}

/** Nothing is there that makes its machine a member: it lost its disk, and has not joined anew. */
export function hasLostDisk(lab: Lab, name: string): boolean {
  return !existsSync(lab.paths.certificate(name));
}

/** Lets a machine that lost its disk take its former place, and starts it. Answers when it was started. */
export async function returnAnew(lab: Lab, name: string): Promise<number> {
  const member = memberOf(lab, name);
  if (member.role === "witness") {
    throw new SynwallError(
      "SW_LAB_FAILED",
      `${name} is a witness: only nodes come back from a lost disk here`,
    );
  }
  const { topology, options } = lab.state;
  const registrar = topology.members.find(
    (each) => each.role === "node" && each.name !== name && runningProcess(lab, each.name) !== undefined,
  );
  if (registrar === undefined)
    throw new SynwallError("SW_LAB_FAILED", `no other node runs: nobody can let ${name} in`);
  const { paths } = lab;
  const id = await register(lab, registrar.name, member, returnerYaml(options, topology, member, paths));
  // As its predecessor it may let others in: else nobody could when the next disk is lost.
  copyFileSync(paths.caKey, paths.ownCaKey(name));
  noteMemberId(lab, name, id);
  const atMs = nowMs();
  await startMember(lab, memberOf(lab, name));
  return atMs;
}
