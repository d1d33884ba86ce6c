/**
 * gRPC server: what a member hears from its peers. Every call begins with the question who is there: the common name of the
 * peer's certificate must be a member's, and a Raft message must come in that member's name.
 * Owns accepting and refusing; does not own what happens with a message (the handlers).
 */
import type { EventEmitter } from "node:events";
import type { TLSSocket, Server as TlsServer } from "node:tls";
import {
  Metadata,
  Server,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServiceError,
  status as StatusCode,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { MalformedError, type Message } from "raft-ts";
import type {
  RestartRequest,
  RestartResponse,
  StatusRequest,
  StatusResponse,
} from "../../proto/gen/synwall/v1/control.ts";
import type {
  ExchangeRequest,
  ExchangeResponse,
  SendSnapshotRequest,
  SendSnapshotResponse,
} from "../../proto/gen/synwall/v1/raft.ts";
import { assert } from "../../src/base/assert.ts";
import { SynwallError } from "../../src/base/errors.ts";
import type { ReceiverMessage, SenderMessage } from "../sync/messages.ts";
import { MemberCredentials } from "./grpc-credentials.ts";
import { GrpcLink } from "./grpc-link.ts";
import {
  CHANNEL_OPTIONS,
  controlService,
  encodeSync,
  type Read,
  raftService,
  syncService,
} from "./grpc-services.ts";
import { SnapshotCollector } from "./grpc-snapshot.ts";
import { fromWire } from "./raft-codec.ts";
import { type RefusalReason, watchRefusals } from "./refusals.ts";
import { commonName, isOfAnother, TLS_FLOOR, type TlsMaterial } from "./tls.ts";
import {
  CANNOT_RESTART,
  maySend,
  type TransportCounters,
  type TransportHandlers,
  type TransportPeer,
} from "./transport.ts";

export interface GrpcServerOptions {
  readonly address: string;
  readonly port: number;
  readonly tls: TlsMaterial;
  readonly peers: readonly TransportPeer[];
  /** Members whose certificates need not name their ids (tls.ts); absent: all. */
  readonly founders?: readonly number[] | undefined;
  readonly counters: TransportCounters;
  readonly handlers: TransportHandlers;
  /** A peer has connected. */
  readonly onSeen: (peer: number) => void;
  /** A peer was turned away, or sent what nobody may send. */
  readonly onRefused: (why: string) => void;
}

/** A peer has two, twice that while they are replaced; of 9 members. The rest is room for strangers until they are refused. */
const CONNECTIONS_MAX = 128;

type AnyCall = Pick<ServerUnaryCall<unknown, unknown>, "getAuthContext" | "getPeer">;

export class GrpcServer {
  readonly #options: GrpcServerOptions;
  readonly #server = new Server({ ...CHANNEL_OPTIONS });
  #idByName: ReadonlyMap<string, number>;
  /** By peer: how to end each of its calls. */
  readonly #calls = new Map<number, Set<() => void>>();

  constructor(options: GrpcServerOptions) {
    this.#options = options;
    this.#idByName = new Map(options.peers.map((peer) => [peer.name, peer.id]));
    this.#server.addService(raftService, {
      exchange: (
        call: ServerReadableStream<Read<ExchangeRequest>, ExchangeResponse>,
        answer: sendUnaryData<ExchangeResponse>,
      ) => this.#exchange(call, answer),
      sendSnapshot: (
        call: ServerReadableStream<Read<SendSnapshotRequest>, SendSnapshotResponse>,
        answer: sendUnaryData<SendSnapshotResponse>,
      ) => this.#takeSnapshot(call, answer),
    });
    this.#server.addService(controlService, {
      status: (
        call: ServerUnaryCall<Read<StatusRequest>, StatusResponse>,
        answer: sendUnaryData<StatusResponse>,
      ) => this.#status(call, answer),
      restart: (
        call: ServerUnaryCall<Read<RestartRequest>, RestartResponse>,
        answer: sendUnaryData<RestartResponse>,
      ) => this.#restart(call, answer),
    });
    this.#server.addService(syncService, {
      replicate: (call: ServerDuplexStream<Read<SenderMessage>, Buffer>) => this.#replicate(call),
    });
  }

  /** Rejects with SW_PORT_TAKEN, or SW_CONFIG_INVALID when the address is not this machine's. */
  listen(): Promise<void> {
    const { address, port, tls } = this.#options;
    const credentials = new MemberCredentials(tls);
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(`${address}:${port}`, credentials, (error) => {
        if (error === null) {
          this.#watchRefusals();
          resolve();
        } else reject(listenError("cluster.ports.grpc", `${address}:${port}`, error));
      });
    });
  }

  close(): void {
    this.#server.forceShutdown();
  }

  /** Calls of peers that are not among them end. */
  setPeers(peers: readonly TransportPeer[]): void {
    this.#idByName = new Map(peers.map((peer) => [peer.name, peer.id]));
    const ids = new Set(this.#idByName.values());
    for (const [id, ends] of this.#calls) {
      if (ids.has(id)) continue;
      this.#calls.delete(id);
      for (const end of ends) end();
    }
  }

  /** For handshakes from now on. */
  setTls({ ca, cert, key }: TlsMaterial): void {
    for (const listener of tlsListeners(this.#server)) {
      listener.setSecureContext({ ca, cert, key, ...TLS_FLOOR });
    }
  }

  #watch(from: number, call: Pick<EventEmitter, "once">, end: () => void): void {
    const ends = this.#calls.get(from) ?? new Set();
    this.#calls.set(from, ends);
    ends.add(end);
    const forget = (): void => void ends.delete(end);
    call.once("end", forget);
    call.once("cancelled", forget);
  }

  /** Who fails in TLS never comes as far as a call, and grpc-js does not tell: its listeners are asked directly. */
  #watchRefusals(): void {
    const refuse = (reason: RefusalReason, address: string, why: string): void => {
      this.#options.counters.refused[reason]++;
      this.#options.onRefused(`refused ${address}: ${why}`);
    };
    for (const listener of tlsListeners(this.#server)) {
      listener.maxConnections = CONNECTIONS_MAX;
      watchRefusals(listener, refuse);
      listener.on("unknownProtocol", (socket: TLSSocket) => {
        refuse("tls", socket.remoteAddress ?? "an unknown address", "it speaks TLS, but no HTTP/2");
        socket.destroy();
      });
    }
  }

  #exchange(
    call: ServerReadableStream<Read<ExchangeRequest>, ExchangeResponse>,
    answer: sendUnaryData<ExchangeResponse>,
  ): void {
    const from = this.#identify(call);
    if (from === undefined) {
      answer(denied());
      return;
    }
    call.sendMetadata(new Metadata());
    this.#options.onSeen(from);
    let isOver = false;
    const finish = (error: CallError | null): void => {
      if (isOver) return;
      isOver = true;
      if (error === null) answer(null, {});
      else answer(error);
    };
    this.#watch(from, call, () => finish(denied()));
    call.on("data", (request: Read<ExchangeRequest>) => {
      if (isOver) return;
      if (request instanceof MalformedError) finish(this.#refuse(from, request));
      else for (const wire of request.messages) this.#take(from, () => fromWire(wire));
    });
    call.on("error", () => {});
    call.on("end", () => finish(null));
  }

  #takeSnapshot(
    call: ServerReadableStream<Read<SendSnapshotRequest>, SendSnapshotResponse>,
    answer: sendUnaryData<SendSnapshotResponse>,
  ): void {
    const from = this.#identify(call);
    if (from === undefined) {
      answer(denied());
      return;
    }
    const collector = new SnapshotCollector();
    let failure: string | undefined;
    call.on("data", (request: Read<SendSnapshotRequest>) => {
      if (failure !== undefined) return;
      failure = this.#malformed(from, () => {
        if (request instanceof MalformedError) throw request;
        collector.add(request);
      });
    });
    call.on("error", () => {});
    call.on("end", () => {
      const isTaken = failure === undefined && this.#take(from, () => collector.finish());
      if (isTaken) {
        this.#options.counters.snapshotsReceived++;
        answer(null, {});
      } else {
        answer({ code: StatusCode.INVALID_ARGUMENT, details: failure ?? "the snapshot is not whole" });
      }
    });
  }

  /** Hands a message on when it is well-formed and in the sender's own name. */
  #take(from: number, decode: () => Message): boolean {
    const { counters, handlers, onRefused } = this.#options;
    let message: Message | undefined;
    const why = this.#malformed(from, () => {
      message = decode();
    });
    if (why !== undefined || message === undefined) return false;
    if (!maySend(from, message)) {
      counters.refused.stranger++;
      onRefused(`member ${from} sent ${message.type} in the name of ${message.from}`);
      return false;
    }
    counters.raftReceived++;
    handlers.onRaft(from, message);
    return true;
  }

  #malformed(from: number, work: () => void): string | undefined {
    try {
      work();
      return undefined;
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      return this.#refuse(from, error).details;
    }
  }

  /** Counts and tells what a member sent that nobody can read; answers how its call ends. */
  #refuse(from: number, { message }: MalformedError): CallError {
    this.#options.counters.refused.malformed++;
    this.#options.onRefused(`member ${from}: ${message}`);
    return callError(StatusCode.INVALID_ARGUMENT, message);
  }

  #status(
    call: ServerUnaryCall<Read<StatusRequest>, StatusResponse>,
    answer: sendUnaryData<StatusResponse>,
  ): void {
    const from = this.#identify(call);
    if (from === undefined) {
      answer(denied());
      return;
    }
    if (call.request instanceof MalformedError) {
      answer(this.#refuse(from, call.request));
      return;
    }
    const report = this.#options.handlers.onStatus(from);
    const { process } = report;
    answer(null, {
      ...report,
      lostLinks: [...report.lostLinks],
      hearing: report.hearing.map((each) => ({ ...each, nodes: [...each.nodes] })),
      process: process && { ...process, recordVersions: [...process.recordVersions] },
    });
  }

  #restart(
    call: ServerUnaryCall<Read<RestartRequest>, RestartResponse>,
    answer: sendUnaryData<RestartResponse>,
  ): void {
    const from = this.#identify(call);
    const { request } = call;
    if (from === undefined) answer(denied());
    else if (request instanceof MalformedError) answer(this.#refuse(from, request));
    else
      answer(null, {
        refusal: this.#options.handlers.onRestart?.(from, request.incarnation) ?? CANNOT_RESTART,
      });
  }

  #replicate(call: ServerDuplexStream<Read<SenderMessage>, Buffer>): void {
    const from = this.#identify(call);
    if (from === undefined) {
      call.emit("error", denied());
      return;
    }
    call.sendMetadata(new Metadata());
    const link = new GrpcLink<ReceiverMessage, SenderMessage>(encodeSync.fromReceiver, (error) =>
      call.emit("error", this.#refuse(from, error)),
    );
    this.#watch(from, call, () => link.lose("it is no member any more"));
    this.#options.handlers.onSyncLink(from, link);
    link.open({
      duplex: call,
      abort: () => {
        if (!call.writableEnded) call.end();
      },
      onGone: (gone) => {
        call.once("end", () => gone("the peer closed the link"));
        call.once("cancelled", () => gone("the connection to the peer is gone"));
        call.on("error", (error: Error) => gone(error.message));
      },
    });
  }

  /** The member that the certificate proves; undefined, counted and told when there is none. */
  #identify(call: AnyCall): number | undefined {
    const certificate = call.getAuthContext()?.sslPeerCertificate;
    const name = commonName(certificate);
    const id = this.#idByName.get(name);
    if (id !== undefined && !isOfAnother(id, certificate, this.#options.founders)) return id;
    this.#options.counters.refused.stranger++;
    // Without the port, which differs each time: the log counts lines that are the same.
    const address = call.getPeer().replace(/:\d+$/, "");
    this.#options.onRefused(`refused ${address}: its certificate is for "${name}", which is no other member`);
    return undefined;
  }
}

/** The TLS servers inside a started grpc-js server, which its interface hides; the version is pinned, and a test looks. */
function tlsListeners(server: Server): readonly TlsServer[] {
  const { http2Servers } = server as unknown as { readonly http2Servers?: ReadonlyMap<TlsServer, unknown> };
  assert(http2Servers !== undefined && http2Servers.size > 0, "grpc-js keeps its listeners elsewhere");
  return [...http2Servers.keys()];
}

/** One line that names the setting, for what a listener can meet. */
export function listenError(setting: string, where: string, error: Error): SynwallError {
  const text = `${(error as NodeJS.ErrnoException).code ?? ""} ${error.message}`;
  if (text.includes("EADDRINUSE")) {
    return new SynwallError(
      "SW_PORT_TAKEN",
      `${setting}: cannot listen on ${where}: another process listens there`,
      {},
      error,
    );
  }
  const why = text.includes("EADDRNOTAVAIL")
    ? "this machine has no such address: set it on the cluster interface or correct cluster.members"
    : error.message;
  return new SynwallError("SW_CONFIG_INVALID", `${setting}: cannot listen on ${where}: ${why}`, {}, error);
}

/** How a call ends that is refused. */
type CallError = Error & Pick<ServiceError, "code" | "details">;

function denied(): CallError {
  return callError(StatusCode.PERMISSION_DENIED, "the certificate is of no other member of this cluster");
}

function callError(code: StatusCode, details: string): CallError {
  return Object.assign(new Error(details), { code, details });
}
