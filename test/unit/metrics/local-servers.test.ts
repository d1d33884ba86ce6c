import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { LOCAL_SERVER_REFUSALS } from "../../../src/metrics/local-servers.ts";
import { AdminServer } from "../../../src/node/admin-server.ts";
import { HttpServer } from "../../../src/node/http-server.ts";
import { freePort } from "../cluster/transport/free-port.ts";
import { until } from "../cluster/transport/until.ts";
import { NODE_SNAPSHOT } from "./snapshot.ts";

const undo: (() => void)[] = [];
afterEach(() => {
  for (const each of undo.splice(0).reverse()) each();
});

test("connections above the limit of the admin socket are refused and counted", async () => {
  const folder = mkdtempSync(join(tmpdir(), "synwall-admin-"));
  undo.push(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "admin.sock");
  const server = new AdminServer(path, {} as never);
  await server.start();
  undo.push(() => server.stop());
  const before = refusals("admin");
  await crowd(32, () => connect(path));
  expect(refusals("admin")).toBe(before);
  await crowd(2, () => connect(path));
  await until(() => refusals("admin") === before + 2);
});

test("connections above the limit of control.http are refused and counted", async () => {
  const port = await freePort();
  const server = new HttpServer("127.0.0.1", port, {
    metrics: async () => ({ contentType: "text/plain", body: "" }),
    health: () => ({ isHealthy: true, body: {} }),
  });
  await server.start();
  undo.push(() => server.stop());
  const [admin, http] = [refusals("admin"), refusals("http")];
  await crowd(64, () => connect(port, "127.0.0.1"));
  expect(refusals("http")).toBe(http);
  await crowd(2, () => connect(port, "127.0.0.1"));
  await until(() => refusals("http") === http + 2);
  expect(refusals("admin")).toBe(admin);
});

/** So many connections, open or turned away by now. */
async function crowd(count: number, open: () => Socket): Promise<void> {
  const sockets = Array.from({ length: count }, open);
  undo.push(() => {
    for (const socket of sockets) socket.destroy();
  });
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve) => {
          socket.once("connect", () => resolve());
          socket.once("error", () => resolve());
        }),
    ),
  );
}

function refusals(server: string): number {
  const sample = LOCAL_SERVER_REFUSALS.read(NODE_SNAPSHOT).find(({ labels }) => labels["server"] === server);
  return Number(sample?.value);
}
