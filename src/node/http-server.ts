/**
 * HTTP server: /metrics for Prometheus and /healthz for load balancers and people. Read only; no flow data.
 */
import { createServer, type Server } from "node:http";
import { SynwallError } from "../base/errors.ts";
import { limitConnections } from "../metrics/local-servers.ts";

/** Scrapers and load balancers, with room; they are few, and each keeps one. */
const CONNECTIONS_MAX = 64;

export interface HttpSources {
  /** Prometheus text exposition. */
  metrics(): Promise<{ readonly contentType: string; readonly body: string }>;
  /** Healthy: forwards and decides. The body says why not. */
  health(): { readonly isHealthy: boolean; readonly body: object };
}

export class HttpServer {
  readonly #server: Server;
  readonly #address: string;
  readonly #port: number;

  constructor(address: string, port: number, sources: HttpSources) {
    this.#address = address;
    this.#port = port;
    this.#server = createServer((request, response) => {
      const path = (request.url ?? "/").split("?", 1)[0];
      if (request.method !== "GET" && request.method !== "HEAD") {
        response.writeHead(405, { allow: "GET, HEAD" }).end();
      } else if (path === "/metrics") {
        sources.metrics().then(
          ({ contentType, body }) => response.writeHead(200, { "content-type": contentType }).end(body),
          (error: unknown) => response.writeHead(500).end(`metrics failed: ${String(error)}\n`),
        );
      } else if (path === "/healthz") {
        const { isHealthy, body } = sources.health();
        response
          .writeHead(isHealthy ? 200 : 503, { "content-type": "application/json" })
          .end(`${JSON.stringify(body)}\n`);
      } else {
        response.writeHead(404).end("try /metrics or /healthz\n");
      }
    });
    limitConnections(this.#server, "http", CONNECTIONS_MAX);
    this.#server.requestTimeout = 10_000;
  }

  /** Listens. Throws SW_PORT_TAKEN. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", (cause: NodeJS.ErrnoException) => {
        const where = `${this.#address}:${this.#port}`;
        const message =
          cause.code === "EADDRINUSE"
            ? `control.http: ${where} is taken by another process; stop it or set another port`
            : `control.http: cannot listen on ${where}: ${cause.message}`;
        reject(new SynwallError("SW_PORT_TAKEN", message, {}, cause));
      });
      this.#server.listen(this.#port, this.#address, resolve);
    });
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
