/**
 * A node's admin socket for tests of the command line: the real server over answers that a test gives.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SynwallError } from "../../../src/base/errors.ts";
import { main } from "../../../src/cli/main.ts";
import type { StatusReport } from "../../../src/node/admin-model.ts";
import { type AdminHandlers, AdminServer } from "../../../src/node/admin-server.ts";

export async function withAdmin(
  handlers: Partial<AdminHandlers>,
  body: (socket: string) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "synwall-cli-"));
  const unanswered = new Proxy(handlers, {
    get: (given, method) =>
      Reflect.get(given, method) ??
      ((): never => {
        throw new SynwallError("SW_ADMIN_BAD_REQUEST", `this test does not answer ${String(method)}`);
      }),
  }) as AdminHandlers;
  const socket = join(directory, "fw1.sock");
  const server = new AdminServer(socket, unanswered);
  await server.start();
  try {
    await body(socket);
  } finally {
    server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Runs a command and answers what it printed. */
export async function run(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const status = await main(args, { out: (text) => void (out += text), err: (text) => void (err += text) });
  return { status, out, err };
}

/** A healthy pair with a witness, seen from fw1. */
export const PAIR: StatusReport = {
  cluster: "edge",
  node: "fw1",
  id: 1,
  role: "node",
  version: "0.1.0",
  uptimeMs: 11_520_000,
  epoch: 12,
  leader: "fw2",
  raft: { term: 3, commit: 240, state: "follower" },
  members: [
    { id: 1, name: "fw1", role: "node", state: "active", incarnation: 1, slotsOwned: 32, slotsBackedUp: 32 },
    { id: 2, name: "fw2", role: "node", state: "active", incarnation: 2, slotsOwned: 32, slotsBackedUp: 32 },
    {
      id: 3,
      name: "witness",
      role: "witness",
      state: "active",
      incarnation: 1,
      slotsOwned: 0,
      slotsBackedUp: 0,
    },
  ],
  peers: [
    {
      id: 2,
      name: "fw2",
      role: "node",
      state: "active",
      alive: true,
      links: { cluster: true, eth1: true, eth2: false },
      sync: {
        connected: true,
        lagMs: 0.42,
        lagRecords: 3,
        lagBytes: 480,
        ack: { count: 100, p50Ms: 0.3, p99Ms: 1.1, maxMs: 4 },
        resyncs: 1,
        policy: "same",
      },
    },
    { id: 3, name: "witness", role: "witness", state: "active", alive: false, links: { cluster: false } },
  ],
  slots: { owner: [1, 2], backup: [2, 1], synced: [true, true] },
  isSettled: true,
  isReady: true,
  lease: { validForMs: 143, isFenced: false },
  isUnwitnessed: false,
  dataplane: {
    driver: "xdp",
    realtime: true,
    flows: 12_034,
    flowsMax: 262_144,
    ports: [
      { name: "eth1", zone: "inside", driver: "xdp", carrier: true, silent: false },
      { name: "eth2", zone: "outside", driver: "xdp", carrier: false, silent: false },
    ],
    drops: { denied: 120, ttl: 0, no_neighbour: 3 },
    nat: [
      { address: "198.51.100.10", portsInUse: 1204, refused: 0, isRetired: false },
      { address: "198.51.100.11", portsInUse: 7, refused: 3, isRetired: true },
    ],
  },
  alerts: ["eth2: no carrier: the node gave its slots up: check the cable"],
};
