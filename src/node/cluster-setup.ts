/**
 * Cluster setup: what a machine does before its first start. `init` begins a cluster of this one node, `join` makes this machine
 * a member of one that runs. Owns the files that are left; nothing that is there already is replaced.
 */

import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { joinCluster } from "../../cluster/registration/client.ts";
import type { Hello } from "../../cluster/registration/messages.ts";
import { type JoinTicket, parseTicket } from "../../cluster/registration/token.ts";
import { issue, makeAuthority, makeRequest } from "../../cluster/registration/x509.ts";
import { diskFs } from "../../cluster/storage/fs.ts";
import { replaceFile } from "../../cluster/storage/replace-file.ts";
import type { Newcomer } from "../../config/load.ts";
import { formatMembers, membersFile } from "../../config/members-file.ts";
import { SynwallError } from "../base/errors.ts";
import { findStore } from "./open-store.ts";

const FIRST_ID = 1;
const CERTIFICATE_DAYS = 397;
const SECRET_BYTES = 32;

/** Makes the CA, this node's certificate, the cluster secret, and a cluster whose only member is this node. */
export async function initCluster(newcomer: Newcomer, address: string): Promise<void> {
  const { role, name, node, tls, secretFile, dataDir } = newcomer;
  if (role !== "node") {
    throw new SynwallError(
      "SW_ADMIN_BAD_REQUEST",
      "a cluster begins with a node: run init there, and join the witness",
    );
  }
  if (tls.caKey === undefined) {
    throw new SynwallError("SW_CONFIG_INVALID", "cluster.tls.caKey: say where the CA's key is to be kept");
  }
  requireNew(newcomer, [tls.ca, tls.caKey, tls.cert, tls.key, secretFile]);
  const nowMs = Date.now();
  const authority = await makeAuthority(name, nowMs);
  const { key, request } = await makeRequest(node);
  const cert = await issue(
    authority,
    request,
    { id: FIRST_ID, name: node, address },
    { days: CERTIFICATE_DAYS, nowMs },
  );
  write(tls.caKey, authority.key);
  write(tls.ca, authority.cert);
  write(tls.key, key);
  write(tls.cert, cert!);
  write(secretFile, randomBytes(SECRET_BYTES).toString("hex"));
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const members = [{ id: FIRST_ID, name: node, role, address, weight: 1 }];
  replaceFile(membersFile(dataDir), formatMembers({ founders: [FIRST_ID], members }), diskFs);
}

/** Joins with a token. Answers the id that this machine has in the cluster from now on. */
export async function joinWithToken(newcomer: Newcomer, address: string, text: string): Promise<number> {
  const { role, node, tls, secretFile, dataDir } = newcomer;
  const ticket = parseTicket(text);
  if (ticket === undefined) {
    throw new SynwallError(
      "SW_ADMIN_BAD_REQUEST",
      "this is no join token, or not a whole one: copy the line that synwall cluster token printed",
    );
  }
  requireNew(newcomer, [tls.ca, tls.cert, tls.key, secretFile]);
  const { key, request } = await makeRequest(node);
  const { etcd } = newcomer;
  const welcome = await joinCluster(
    ticket,
    { name: node, role, address, request },
    (hello) => requireSameCluster(newcomer, ticket, hello),
    etcd === undefined ? undefined : () => findStore(etcd, newcomer.name),
  );
  write(tls.ca, welcome.ca);
  write(tls.key, key);
  write(tls.cert, welcome.cert);
  write(secretFile, welcome.secret);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const { id, founders, members } = welcome;
  replaceFile(membersFile(dataDir), formatMembers({ founders, members }), diskFs);
  return id;
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

function requireNew({ dataDir }: Newcomer, files: readonly string[]): void {
  const log = `${dataDir}/wal`;
  const isLogged = existsSync(log) && readdirSync(log).length > 0;
  const there =
    [...files, membersFile(dataDir)].find((file) => existsSync(file)) ?? (isLogged ? log : undefined);
  if (there === undefined) return;
  throw new SynwallError(
    "SW_CONTROL_REFUSED",
    `${there} is there already: this machine is or was a member; move it away if it is not needed any more`,
  );
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  writeFileSync(path, text.endsWith("\n") ? text : `${text}\n`, { mode: 0o600, flag: "wx" });
}
