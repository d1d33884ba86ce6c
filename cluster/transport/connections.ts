/**
 * Connections: what a TLS listener holds from the first moment on, before a handshake has shown whose it is. A listener that closes
 * ends them all: one that it does not know of would keep its thread alive. Owns nothing but the list.
 */
import type { Socket } from "node:net";
import type { Server } from "node:tls";

/** Those that are open, at any time. A TLS socket on top of one ends with it. */
export function openConnections(server: Server): ReadonlySet<Socket> {
  const open = new Set<Socket>();
  server.on("connection", (raw: Socket) => {
    open.add(raw);
    raw.once("close", () => open.delete(raw));
  });
  return open;
}
