/**
 * Store of a lab: an etcd that keeps the cluster's log in place of the members (`lab up --store etcd`), on a host of its own on the
 * cluster link. Owns how it is started and begun; it is one of the lab's processes, and its end is the lab's failure.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { SynwallError } from "../../src/base/errors.ts";
import { checkoutDirectory, namespaceCommand, synwallCommand } from "./processes.ts";
import { run } from "./run.ts";
import type { LabPaths } from "./state.ts";
import { namespaceOf, STORE_ADDRESS, STORE_HOST } from "./topology.ts";
import { poll } from "./wait.ts";

const PORT = 2379;
const PEER_URL = "http://127.0.0.1:2380";
const LISTEN_TIMEOUT_MS = 60_000;
const INIT_TIMEOUT_MS = 120_000;
/** As setup.sh --for-tests unpacks it, or as Debian's package has it. */
const PLACES = [
  join(checkoutDirectory(), "node_modules/.cache/synwall/servers/usr/bin/etcd"),
  "/usr/bin/etcd",
];

export const STORE_URL = `https://${STORE_ADDRESS}:${PORT}`;

/** Command that runs it. Throws SW_LAB_FAILED when there is no etcd. */
export function storeCommand(paths: LabPaths): string[] {
  const etcd = PLACES.find((place) => existsSync(place));
  if (etcd === undefined) {
    throw new SynwallError("SW_LAB_FAILED", "--store etcd: no etcd here: run scripts/setup.sh --for-tests");
  }
  return [
    ...["env", `ETCD_UNSUPPORTED_ARCH=${process.arch}`, etcd],
    ...["--name", "one", "--data-dir", paths.data(STORE_HOST)],
    ...["--listen-client-urls", STORE_URL, "--advertise-client-urls", STORE_URL],
    ...["--cert-file", paths.certificate(STORE_HOST), "--key-file", paths.key(STORE_HOST)],
    ...["--listen-peer-urls", PEER_URL, "--initial-advertise-peer-urls", PEER_URL],
    ...["--initial-cluster", `one=${PEER_URL}`, "--logger", "zap", "--log-level", "error"],
  ];
}

/** Waits until it listens, and begins the log with the configuration of `member`, on its host. */
export async function beginStore(lab: string, paths: LabPaths, member: string): Promise<void> {
  const look = ["-N", namespaceOf(lab, STORE_HOST), "-Hltn", `sport = :${PORT}`];
  if (!(await poll(async () => (await run("ss", look)).trim() !== "", LISTEN_TIMEOUT_MS))) {
    throw new SynwallError("SW_LAB_FAILED", `etcd does not listen on ${STORE_URL}`);
  }
  const init = synwallCommand(["store", "init", "--config", paths.config(member)]);
  const [file, ...args] = namespaceCommand(lab, member, init);
  await run(file!, args, { timeoutMs: INIT_TIMEOUT_MS });
}
