/**
 * Admin server: JSON lines on a Unix socket that only root (file mode 0600) may open. Owns the protocol and its limits;
 * what a method does is handed in.
 */
import { chmodSync, existsSync, mkdirSync, unlinkSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { SynwallError } from "../base/errors.ts";
import { limitConnections } from "../metrics/local-servers.ts";
import type { AdminMethod, AdminMethods } from "./admin-model.ts";

export type AdminHandlers = {
  readonly [M in AdminMethod]: (
    params: AdminMethods[M]["params"],
  ) => AdminMethods[M]["result"] | Promise<AdminMethods[M]["result"]>;
};

const REQUEST_BYTES_MAX = 64 * 1024;
const CONNECTIONS_MAX = 32;

export class AdminServer {
  readonly #path: string;
  readonly #handlers: AdminHandlers;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(path: string, handlers: AdminHandlers) {
    this.#path = path;
    this.#handlers = handlers;
    this.#server = createServer((socket) => this.#serve(socket));
    limitConnections(this.#server, "admin", CONNECTIONS_MAX);
  }

  /** Listens. Throws SW_PORT_TAKEN when a living process holds the socket; a dead one's file is replaced. */
  async start(): Promise<void> {
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o755 });
    if (existsSync(this.#path)) {
      if (await isAnswering(this.#path)) {
        throw new SynwallError(
          "SW_PORT_TAKEN",
          `control.socket: ${this.#path} is held by another running node; stop it or set another path`,
        );
      }
      unlinkSync(this.#path);
    }
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (cause) =>
        reject(
          new SynwallError(
            "SW_PORT_TAKEN",
            `control.socket: cannot listen on ${this.#path}: ${cause.message}`,
            {},
            cause,
          ),
        ),
      );
      const before = process.umask(0o177);
      this.#server.listen(this.#path, () => {
        chmodSync(this.#path, 0o600);
        resolve();
      });
      process.umask(before);
    });
  }

  /** Closes the socket and removes its file. */
  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    let pending = "";
    socket.setEncoding("utf8");
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("data", (chunk: string) => {
      pending += chunk;
      for (let end = pending.indexOf("\n"); end >= 0; end = pending.indexOf("\n")) {
        const line = pending.slice(0, end);
        pending = pending.slice(end + 1);
        if (line.trim() !== "") void this.#answer(socket, line);
      }
      if (pending.length > REQUEST_BYTES_MAX) {
        reply(socket, {
          id: 0,
          error: { code: "SW_ADMIN_BAD_REQUEST", message: `request longer than ${REQUEST_BYTES_MAX} bytes` },
        });
        socket.end();
      }
    });
  }

  async #answer(socket: Socket, line: string): Promise<void> {
    let id = 0;
    try {
      const request = parseRequest(line);
      id = request.id;
      const handler = this.#handlers[request.method] as (params: unknown) => unknown;
      reply(socket, { id, result: await handler(request.params) });
    } catch (error) {
      const code = error instanceof SynwallError ? error.code : "SW_ADMIN_BAD_REQUEST";
      reply(socket, { id, error: { code, message: error instanceof Error ? error.message : String(error) } });
    }
  }
}

function parseRequest(line: string): { id: number; method: AdminMethod; params: unknown } {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new SynwallError("SW_ADMIN_BAD_REQUEST", "request is not JSON: send one JSON object a line");
  }
  if (typeof value !== "object" || value === null)
    throw new SynwallError("SW_ADMIN_BAD_REQUEST", "request is not a JSON object");
  const { id, method, params } = value as { id?: unknown; method?: unknown; params?: unknown };
  if (typeof id !== "number" || typeof method !== "string") {
    throw new SynwallError("SW_ADMIN_BAD_REQUEST", "request needs a number `id` and a text `method`");
  }
  if (!METHODS.has(method)) {
    throw new SynwallError(
      "SW_ADMIN_BAD_REQUEST",
      `no method "${method}": use one of ${[...METHODS].join(", ")}`,
    );
  }
  return { id, method: method as AdminMethod, params: params ?? {} };
}

/** Every method, so that the compiler misses none. */
const ALL: Readonly<Record<AdminMethod, true>> = {
  status: true,
  "flows.list": true,
  "flows.count": true,
  locate: true,
  trace: true,
  drain: true,
  rejoin: true,
  journal: true,
  lag: true,
  "sync.full": true,
  "policy.apply": true,
  counters: true,
  "cluster.members": true,
  "cluster.processes": true,
  "cluster.restart": true,
  "cluster.token": true,
  "cluster.disable": true,
  "cluster.enable": true,
  "cluster.weight": true,
  "cluster.remove": true,
  "cluster.rotate": true,
};
const METHODS: ReadonlySet<string> = new Set(Object.keys(ALL));

function reply(socket: Socket, answer: object): void {
  if (!socket.destroyed) socket.write(`${JSON.stringify(answer)}\n`);
}

function isAnswering(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
}
