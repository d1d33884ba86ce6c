/**
 * etcd for tests: servers of Debian's package on loopback, each with a folder of its own, which end with the test.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PLACES = [
  "/usr/bin/etcd",
  "/usr/local/bin/etcd",
  `${process.cwd()}/node_modules/.cache/synwall/servers/usr/bin/etcd`,
];

/** Where etcd is; undefined: nowhere, and what needs it is skipped. */
export const ETCD = PLACES.find((path) => existsSync(path));

export interface EtcdTls {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export class EtcdServer {
  readonly url: string;
  readonly #port: number;
  readonly #peerPort: number;
  readonly #folder = mkdtempSync(join(tmpdir(), "synwall-etcd-"));
  readonly #tls: EtcdTls | undefined;
  #process: ChildProcess | undefined;

  private constructor(port: number, peerPort: number, tls: EtcdTls | undefined) {
    this.#port = port;
    this.#peerPort = peerPort;
    this.#tls = tls;
    this.url = `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`;
  }

  static async start(tls?: EtcdTls): Promise<EtcdServer> {
    const server = new EtcdServer(await freePort(), await freePort(), tls);
    await server.run();
    return server;
  }

  /** Starts it (again), with the data that it had. Resolves when it takes requests. */
  async run(): Promise<void> {
    const peer = `http://127.0.0.1:${this.#peerPort}`;
    const tls = this.#tls;
    const child = spawn(
      ETCD!,
      [
        ["--name", "one"],
        ["--data-dir", join(this.#folder, "data")],
        ["--listen-client-urls", this.url],
        ["--advertise-client-urls", this.url],
        ["--listen-peer-urls", peer],
        ["--initial-advertise-peer-urls", peer],
        ["--initial-cluster", `one=${peer}`],
        // Elections of a single member need not wait for others.
        ["--heartbeat-interval", "20", "--election-timeout", "200"],
        ["--logger", "zap", "--log-level", "error"],
        tls === undefined
          ? []
          : [
              "--cert-file",
              tls.cert,
              "--key-file",
              tls.key,
              "--trusted-ca-file",
              tls.ca,
              "--client-cert-auth",
            ],
      ].flat(),
      { stdio: "ignore", env: { PATH: process.env["PATH"], ETCD_UNSUPPORTED_ARCH: process.arch } },
    );
    this.#process = child;
    for (let tries = 0; ; tries++) {
      if (child.exitCode !== null) throw new Error(`etcd ended with ${child.exitCode}`);
      if (await this.#answers()) return;
      if (tries > 600) throw new Error("etcd does not start");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Ends it as a crash does; its data stay. */
  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  /** It stands still, and holds its connections. */
  pause(): void {
    this.#process?.kill("SIGSTOP");
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }

  /** All that it stored is gone. Only while it does not run. */
  empty(): void {
    rmSync(join(this.#folder, "data"), { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    await this.#end("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** As with etcdctl, by etcd's JSON gateway: only without TLS. */
  async post(path: string, body: object, token?: string): Promise<Record<string, unknown>> {
    const headers = token === undefined ? {} : { Authorization: token };
    const answer = await fetch(`${this.url}/v3/${path}`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    return (await answer.json()) as Record<string, unknown>;
  }

  #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      child.once("exit", () => resolve());
      child.kill(signal);
    });
  }

  async #answers(): Promise<boolean> {
    if (this.#tls !== undefined) return isOpen(this.#port);
    try {
      const { health } = (await (await fetch(`${this.url}/health`)).json()) as { health?: string };
      return health === "true";
    } catch {
      return false;
    }
  }
}

function isOpen(port: number): boolean {
  try {
    execFileSync("bash", ["-c", `exec 3<>/dev/tcp/127.0.0.1/${port}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
