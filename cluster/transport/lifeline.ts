/**
 * Lifelines: one TLS connection between each two nodes, held only to learn at once that the other's process ended: the kernel
 * closes it, whatever killed the process. A hint, not a verdict: liveness waits for one missed heartbeat besides.
 *
 *   the lower id dials                     FIN or RST of the peer  -> closed(peer), at once
 *   both write a byte a second             silence for 3 s         -> the connection is replaced; nobody is told
 *
 * Owns the connections; does not own what follows from a closed one (cluster/liveness).
 */
import type { AddressInfo, Socket } from "node:net";
import { connect, createServer, type Server, type TLSSocket } from "node:tls";
import { openConnections } from "./connections.ts";
import { listenError } from "./grpc-server.ts";
import { BACKOFF_MS_MAX, BACKOFF_MS_MIN } from "./grpc-services.ts";
import { describeHandshake, judgeHandshake, type RefusalReason, watchRefusals } from "./refusals.ts";
import { checkIs, commonName, HANDSHAKE_MS_MAX, isOfAnother, TLS_FLOOR, type TlsMaterial } from "./tls.ts";
import type { TransportPeer } from "./transport.ts";

const PING_MS = 1_000;
const SILENT_MS_MAX = 3_000;
const CONNECT_MS_MAX = 1_000;
/** Connections that may be open beyond one for each peer: those that are replaced, and strangers until they are refused. */
const SPARE_CONNECTIONS = 32;
const PING = Uint8Array.of(1);
/** Sent before a living process closes a line: what follows says nothing about the process. */
const GOODBYE = Uint8Array.of(2);

/** What a peer's kernel sends when its process ended; other errors are the network's. */
const PROCESS_ENDED = new Set(["ECONNRESET", "EPIPE"]);

export interface LifelineOptions {
  readonly self: TransportPeer;
  /** The other nodes at first; a witness has no lifelines. */
  readonly peers: readonly TransportPeer[];
  readonly port: number;
  readonly tls: TlsMaterial;
  /** Members whose certificates need not name their ids (tls.ts); absent: all. */
  readonly founders?: readonly number[] | undefined;
  /** The peer's process ended, or so it seems. Called once for each connection that was up. */
  readonly onClosed: (peer: number) => void;
  readonly onUp?: (peer: number) => void;
  readonly onRefused?: (why: string, reason: RefusalReason) => void;
  /** For tests: HANDSHAKE_MS_MAX unless told. */
  readonly handshakeMsMax?: number;
}

interface Line {
  readonly socket: TLSSocket;
  readonly end: () => void;
}

export class Lifelines {
  readonly #options: LifelineOptions;
  readonly #lines = new Map<number, Line>();
  readonly #timers = new Map<number, NodeJS.Timeout>();
  readonly #dialing = new Map<number, TLSSocket>();
  /** Those that others opened to here. */
  #connections: ReadonlySet<Socket> = new Set();
  #server: Server | undefined;
  #peers: readonly TransportPeer[];
  #tls: TlsMaterial;
  #isClosed = false;

  constructor(options: LifelineOptions) {
    this.#options = options;
    this.#peers = options.peers;
    this.#tls = options.tls;
  }

  /** Listens, and dials the peers with higher ids. Rejects with SW_PORT_TAKEN. */
  async start(): Promise<void> {
    await this.#listen();
    const { self } = this.#options;
    for (const peer of this.#peers) if (self.id < peer.id) this.#dial(peer, BACKOFF_MS_MIN);
  }

  /** Other peers than before; lines to those that are not among them end, and nobody is told. */
  setPeers(peers: readonly TransportPeer[]): void {
    const before = this.#peers;
    this.#peers = peers;
    if (this.#server !== undefined) this.#server.maxConnections = peers.length + SPARE_CONNECTIONS;
    for (const { id } of before) {
      if (peers.some((peer) => peer.id === id)) continue;
      clearTimeout(this.#timers.get(id));
      this.#dialing.get(id)?.destroy();
      this.#lines.get(id)?.end();
    }
    for (const peer of peers) {
      const isNew = !before.some(({ id }) => id === peer.id);
      if (isNew && this.#options.self.id < peer.id) this.#dial(peer, BACKOFF_MS_MIN);
    }
  }

  /** For connections from now on; lines that stand stay. */
  setTls(tls: TlsMaterial): void {
    this.#tls = tls;
    this.#server?.setSecureContext({ ...tls, ...TLS_FLOOR });
  }

  isUp(peer: number): boolean {
    return this.#lines.has(peer);
  }

  close(): void {
    this.#isClosed = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    for (const socket of this.#dialing.values()) socket.destroy();
    for (const line of this.#lines.values()) line.end();
    for (const connection of this.#connections) connection.destroy();
    this.#lines.clear();
    this.#server?.close();
  }

  get port(): number {
    return (this.#server?.address() as AddressInfo | null)?.port ?? 0;
  }

  #listen(): Promise<void> {
    const { self, port, handshakeMsMax = HANDSHAKE_MS_MAX } = this.#options;
    const peers = this.#peers;
    const server = createServer({
      ...this.#tls,
      ...TLS_FLOOR,
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: handshakeMsMax,
    });
    this.#server = server;
    this.#connections = openConnections(server);
    server.on("secureConnection", (socket) => this.#accept(socket));
    watchRefusals(server, (reason, address, why) => {
      this.#options.onRefused?.(`refused a lifeline of ${address}: ${why}`, reason);
    });
    server.maxConnections = peers.length + SPARE_CONNECTIONS;
    return new Promise((resolve, reject) => {
      server.once("error", (error) =>
        reject(listenError("cluster.ports.lifeline", `${self.address}:${port}`, error)),
      );
      server.listen({ host: self.address, port }, () => resolve());
    });
  }

  #accept(socket: TLSSocket): void {
    const certificate = socket.getPeerCertificate();
    const name = commonName(certificate);
    const peer = this.#peers.find((other) => other.name === name);
    const { founders } = this.#options;
    if (peer === undefined || isOfAnother(peer.id, certificate, founders) || this.#isClosed) {
      const why = `refused a lifeline of ${socket.remoteAddress ?? "?"}: "${name}" is no other node`;
      this.#options.onRefused?.(why, "stranger");
      socket.on("error", () => {});
      socket.destroy();
      return;
    }
    this.#hold(peer, socket, () => {});
  }

  #dial({ id }: Pick<TransportPeer, "id">, backoffMs: number): void {
    const peer = this.#peers.find((other) => other.id === id);
    if (this.#isClosed || peer === undefined) return;
    const { port, founders } = this.#options;
    const again = (wasUp: boolean): void => {
      if (this.#isClosed) return;
      const waitMs = wasUp ? BACKOFF_MS_MIN : backoffMs;
      const next = wasUp ? BACKOFF_MS_MIN : Math.min(backoffMs * 2, BACKOFF_MS_MAX);
      const timer = setTimeout(() => this.#dial(peer, next), waitMs);
      timer.unref();
      this.#timers.set(peer.id, timer);
    };
    const socket = connect({
      ...this.#tls,
      host: peer.address,
      port,
      ...TLS_FLOOR,
      checkServerIdentity: checkIs(peer, founders),
    });
    this.#dialing.set(peer.id, socket);
    const deadline = setTimeout(() => socket.destroy(), CONNECT_MS_MAX);
    let isUp = false;
    socket.once("close", () => {
      clearTimeout(deadline);
      if (!isUp) again(false);
    });
    socket.on("error", (error) => {
      const reason = isUp ? undefined : judgeHandshake({ error });
      if (reason !== undefined) {
        const why = describeHandshake({ error });
        this.#options.onRefused?.(`refused a lifeline of ${peer.name}: ${why}`, reason);
      }
    });
    // With TLS 1.3 a client is done before the server judged its certificate: the first byte shows that it was accepted.
    socket.once("data", () => {
      clearTimeout(deadline);
      isUp = true;
      this.#dialing.delete(peer.id);
      this.#hold(peer, socket, () => again(true));
    });
  }

  /** Watches an identified connection until it ends. */
  #hold(peer: TransportPeer, socket: TLSSocket, onEnd: () => void): void {
    socket.setNoDelay(true);
    let isOver = false;
    let quietMs = 0;
    const ping = setInterval(() => {
      quietMs += PING_MS;
      if (quietMs > SILENT_MS_MAX) finish(false);
      else socket.write(PING);
    }, PING_MS);
    ping.unref();
    let isReplaced = false;
    const finish = (isProcessEnd: boolean): void => {
      if (isOver) return;
      isOver = true;
      clearInterval(ping);
      if (isProcessEnd || this.#isClosed) socket.destroy();
      else socket.end(GOODBYE, () => socket.destroy());
      if (this.#lines.get(peer.id) === line) this.#lines.delete(peer.id);
      if (isProcessEnd && !isReplaced && !this.#isClosed) this.#options.onClosed(peer.id);
      onEnd();
    };
    const line: Line = { socket, end: () => finish(false) };
    socket.on("data", (bytes: Uint8Array) => {
      quietMs = 0;
      if (bytes.at(-1) === GOODBYE[0]) isReplaced = true;
    });
    // Whichever comes first: "close" alone would be later than the FIN.
    socket.once("end", () => finish(true));
    socket.once("error", (error: NodeJS.ErrnoException) => finish(PROCESS_ENDED.has(error.code ?? "")));
    socket.once("close", () => finish(true));
    // A second one means that the first broke unseen.
    const former = this.#lines.get(peer.id);
    this.#lines.set(peer.id, line);
    former?.end();
    socket.write(PING);
    this.#options.onUp?.(peer.id);
  }
}
