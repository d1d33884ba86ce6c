/**
 * Local servers: connections that this process refused at the servers for its own operators, because too many were open. Counted for the
 * process, which has one of each. Owns the counts and their metric; the limits are the servers' own.
 */
import type { Server } from "node:net";
import type { MetricEntry } from "./entry.ts";
import { labelled } from "./entry.ts";

export type LocalServer = "admin" | "http";

const refused: Record<LocalServer, number> = { admin: 0, http: 0 };

/** Sets how many connections `server` takes at once, and counts what it refuses. */
export function limitConnections(server: Server, name: LocalServer, connectionsMax: number): void {
  server.maxConnections = connectionsMax;
  server.on("drop", () => refused[name]++);
}

export const LOCAL_SERVER_REFUSALS: MetricEntry = labelled(
  "counter",
  "synwall_local_connections_refused_total",
  "Connections that were refused because too many were open: to the admin socket (admin) or to control.http (http)",
  ["server"],
  () => Object.entries(refused).map(([server, count]) => [[server], count]),
);
