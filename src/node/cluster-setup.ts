/**
 * Cluster setup: what a machine does before its first start. `init` begins a cluster of this one node, `join` makes this machine
 * a member of one that runs. Owns what the files hold, and that nothing is replaced that is there already; how they come to be all
 * of them or none is new-files.ts.
 */

import { randomBytes } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { joinCluster } from "../../cluster/registration/client.ts";
import type { Hello, Welcome } from "../../cluster/registration/messages.ts";
import { type JoinTicket, parseTicket } from "../../cluster/registration/token.ts";
import { issue, makeAuthority, makeRequest } from "../../cluster/registration/x509.ts";
import { whyNoMember } from "../../config/check.ts";
import type { Newcomer } from "../../config/load.ts";
import { formatMembers, membersFile } from "../../config/members-file.ts";
import { SynwallError } from "../base/errors.ts";
import { NewFiles } from "./new-files.ts";
import { findStore } from "./open-store.ts";

const FIRST_ID = 1;
const CERTIFICATE_DAYS = 397;
const SECRET_BYTES = 32;

/** Makes the CA, this node's certificate, the cluster secret, and a cluster whose only member is this node. */
export async function initCluster(newcomer: Newcomer, address: string): Promise<void> {
  const { role, name, node, tls, secretFile, dataDir } = newcomer;
  requireFit(newcomer, address);
  if (role !== "node") {
    throw new SynwallError(
      "SW_ADMIN_BAD_REQUEST",
      "a cluster begins with a node: run init there, and join the witness",
    );
  }
  if (tls.caKey === undefined) {
    throw new SynwallError("SW_CONFIG_INVALID", "cluster.tls.caKey: say where the CA's key is to be kept");
  }
  const paths = [tls.ca, tls.caKey, tls.cert, tls.key, secretFile, membersFile(dataDir)];
  requireNew(newcomer, paths);
  const nowMs = Date.now();
  const authority = await makeAuthority(name, nowMs);
  const { key, request } = await makeRequest(node);
  const cert = await issue(
    authority,
    request,
    { id: FIRST_ID, name: node, address },
    { days: CERTIFICATE_DAYS, nowMs },
  );
  const files = new NewFiles(paths, dataDir);
  const members = [{ id: FIRST_ID, name: node, role, address, weight: 1 }];
  files.fill([
    [tls.caKey, authority.key],
    [tls.ca, authority.cert],
    [tls.cert, cert!],
    [tls.key, key],
    [secretFile, randomBytes(SECRET_BYTES).toString("hex")],
    [membersFile(dataDir), formatMembers({ founders: [FIRST_ID], members })],
  ]);
}

/** Joins with a token. Answers the id that this machine has in the cluster from now on. */
export async function joinWithToken(newcomer: Newcomer, address: string, text: string): Promise<number> {
  const { role, node, tls, secretFile, dataDir } = newcomer;
  requireFit(newcomer, address);
  const ticket = parseTicket(text);
  if (ticket === undefined) {
    throw new SynwallError(
      "SW_ADMIN_BAD_REQUEST",
      "this is no join token, or not a whole one: copy the line that synwall cluster token printed",
    );
  }
  const paths = [tls.ca, tls.cert, tls.key, secretFile, membersFile(dataDir)];
  requireNew(newcomer, paths);
  const { key, request } = await makeRequest(node);
  const files = telling("the token is still unused", () => new NewFiles(paths, dataDir));
  const welcome = await askToJoin(newcomer, ticket, { name: node, role, address, request }).catch((error) => {
    files.discard();
    throw error;
  });
  const { id, founders, members } = welcome;
  const again = `the token is used, and the cluster knows this machine as member ${id}: mend that, and join with another one (synwall cluster token --name ${node})`;
  telling(again, () =>
    files.fill([
      [tls.ca, welcome.ca],
      [tls.cert, welcome.cert],
      [tls.key, key],
      [secretFile, welcome.secret],
      [membersFile(dataDir), formatMembers({ founders, members })],
    ]),
  );
  return id;
}

function askToJoin(
  newcomer: Newcomer,
  ticket: JoinTicket,
  machine: Parameters<typeof joinCluster>[1],
): Promise<Welcome> {
  const { etcd, name } = newcomer;
  return joinCluster(
    ticket,
    machine,
    (hello) => requireSameCluster(newcomer, ticket, hello),
    etcd === undefined ? undefined : () => findStore(etcd, name),
  );
}

/** Says `more` when files cannot be written. */
function telling<T>(more: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SynwallError)) throw error;
    throw new SynwallError(error.code, `${error.message}; ${more}`, error.details, error);
  }
}

function requireSameCluster(newcomer: Newcomer, { address, port }: JoinTicket, hello: Hello): void {
  for (const [field, has, is, also = ""] of [
    ["cluster.name", newcomer.name, hello.cluster],
    ["cluster.slots", newcomer.slots, hello.slots],
    ["cluster.profile", newcomer.profile, hello.profile],
    newcomer.etcd === undefined
      ? ["control.store", "raft", hello.store ?? "raft", ", and control.etcd to what its members have"]
      : ["control.store", "etcd", hello.store ?? "raft", ", and remove control.etcd"],
  ]) {
    if (has === is) continue;
    throw new SynwallError(
      "SW_CLUSTER_DIFFERS",
      `${field}: the cluster at ${address}:${port} has ${is}, the configuration has ${has}: set it to ${is}${also}; the token is still unused`,
    );
  }
}

/** By the rules of the start that follows. */
function requireFit({ node, zones }: Newcomer, address: string): void {
  const why = whyNoMember({ name: node, address }, zones);
  if (why !== undefined) throw new SynwallError("SW_ADMIN_BAD_REQUEST", `--address: ${why}`);
}

function requireNew({ dataDir }: Newcomer, files: readonly string[]): void {
  const log = `${dataDir}/wal`;
  const isLogged = existsSync(log) && readdirSync(log).length > 0;
  const there = files.find((file) => existsSync(file)) ?? (isLogged ? log : undefined);
  if (there === undefined) return;
  throw new SynwallError(
    "SW_CONTROL_REFUSED",
    `${there} is there already: this machine is or was a member; move it away if it is not needed any more`,
  );
}
