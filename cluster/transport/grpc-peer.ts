/**
 * gRPC peer: this member's connection to one other: connects, stays connected, sends Raft messages and snapshots, asks.
 * Owns reconnecting and the bounded queue; does not own what is received (grpc-server.ts) nor replication (grpc-link.ts).
 *
 *   connecting --answered within its time--> connected --stream ends--> waiting --backoff--> connecting (anew)
 *        `---------------- not ------------------------------------^
 *
 * A new client, and with it a new TCP connection, for each try: after a cut, an old one would wait for the kernel's
 * retransmission time-out, which grows to seconds.
 */
import {
  type ChannelCredentials,
  Client,
  type ClientWritableStream,
  connectivityState as Connectivity,
  Metadata,
  type ServiceError,
  status as StatusCode,
} from "@grpc/grpc-js";
import { MalformedError, type MsgSnap } from "raft-ts";
import type { ExchangeRequest, ExchangeResponse } from "../../proto/gen/synwall/v1/raft.ts";
import { SynwallError } from "../../src/base/errors.ts";
import {
  BACKOFF_MS_MAX,
  BACKOFF_MS_MIN,
  CLIENT_OPTIONS,
  type MemberMethod,
  type Read,
  raftService,
} from "./grpc-services.ts";
import { snapshotParts } from "./grpc-snapshot.ts";
import { type PlainMessage, queuedBytes, toWire } from "./raft-codec.ts";
import type { TransportCounters, TransportPeer } from "./transport.ts";

/** A try that takes longer is given up: its SYN got lost, and the kernel would wait a second for the next. */
const CONNECT_MS_MIN = 1_000;
const CONNECT_MS_MAX = 4_000;
/** Raft messages on their way to one peer; Raft sends again what is refused here. */
const QUEUE_MESSAGES_MAX = 1_024;
const QUEUE_BYTES_MAX = 8 * 1_048_576;
const SNAPSHOT_MS_MAX = 30_000;

export interface PeerEvents {
  onUnreachable(): void;
  onTurnedAway(): void;
  onSnapshotSent(isDelivered: boolean): void;
  onLog(message: string): void;
}

export class GrpcPeer {
  readonly peer: TransportPeer;
  readonly #target: string;
  #credentials: ChannelCredentials;
  readonly #counters: TransportCounters;
  readonly #events: PeerEvents;
  #client: Client | undefined;
  #stream: ClientWritableStream<ExchangeRequest> | undefined;
  #isConnected = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  #backoffMs = BACKOFF_MS_MIN;
  #connectMs = CONNECT_MS_MIN;
  #queuedMessages = 0;
  #queuedBytes = 0;
  #isUnreachableDue = false;

  constructor(options: {
    peer: TransportPeer;
    port: number;
    credentials: ChannelCredentials;
    counters: TransportCounters;
    events: PeerEvents;
  }) {
    this.peer = options.peer;
    this.#target = `${options.peer.address}:${options.port}`;
    this.#credentials = options.credentials;
    this.#counters = options.counters;
    this.#events = options.events;
  }

  /** For connections from now on; what stands stays. */
  setCredentials(credentials: ChannelCredentials): void {
    this.#credentials = credentials;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  connect(): void {
    if (this.#isClosed) return;
    this.#timer = undefined;
    const client = this.newClient();
    this.#client = client;
    this.#await(client, Date.now() + this.#connectMs);
  }

  /** The peer has connected to us, so it is there: what is left of the backoff would be lost time. */
  nudge(): void {
    if (this.#timer === undefined || this.#isClosed) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.connect();
  }

  /** Follows one try to its end. A refused one ends at once: our backoff is shorter than the channel's own. */
  #await(client: Client, deadlineMs: number): void {
    const channel = client.getChannel();
    const look = (): void => {
      if (client !== this.#client) return;
      const state = channel.getConnectivityState(true);
      if (state === Connectivity.READY) {
        this.#connectMs = CONNECT_MS_MIN;
        this.#openStream(client);
      } else if (state === Connectivity.TRANSIENT_FAILURE) {
        this.#reconnect();
      } else {
        channel.watchConnectivityState(state, deadlineMs, (error) => {
          if (client !== this.#client) return;
          if (error === undefined) {
            look();
            return;
          }
          // A busy peer may need longer for its handshake than a healthy one.
          this.#connectMs = Math.min(this.#connectMs * 2, CONNECT_MS_MAX);
          this.#reconnect();
        });
      }
    };
    look();
  }

  /** A client of its own connection to this peer; the caller closes it. */
  newClient(): Client {
    return new Client(this.#target, this.#credentials, {
      ...CLIENT_OPTIONS,
      "grpc.ssl_target_name_override": this.peer.name,
      "grpc.default_authority": this.peer.name,
    });
  }

  send(message: PlainMessage): void {
    const stream = this.#stream;
    const bytes = queuedBytes(message);
    const isFull = this.#queuedMessages >= QUEUE_MESSAGES_MAX || this.#queuedBytes + bytes > QUEUE_BYTES_MAX;
    if (!this.#isConnected || stream === undefined || (isFull && this.#queuedMessages > 0)) {
      this.#counters.raftDropped++;
      this.#tellUnreachable();
      return;
    }
    this.#counters.raftSent++;
    this.#counters.raftQueued++;
    this.#queuedMessages++;
    this.#queuedBytes += bytes;
    stream.write({ messages: [toWire(message)] }, () => {
      if (stream !== this.#stream) return;
      this.#counters.raftQueued--;
      this.#queuedMessages--;
      this.#queuedBytes -= bytes;
    });
  }

  sendSnapshot(message: MsgSnap): void {
    const client = this.#client;
    const done = (isDelivered: boolean): void => {
      if (this.#isClosed) return;
      if (isDelivered) this.#counters.snapshotsSent++;
      else this.#counters.snapshotsFailed++;
      this.#events.onSnapshotSent(isDelivered);
    };
    if (!this.#isConnected || client === undefined) {
      setImmediate(() => done(false));
      return;
    }
    const { path, requestSerialize, responseDeserialize } = raftService.sendSnapshot;
    const call = client.makeClientStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      new Metadata(),
      { deadline: Date.now() + SNAPSHOT_MS_MAX },
      (error, answer) => done(error === null && this.#isReadable(answer)),
    );
    const parts = snapshotParts(message);
    const next = (): void => {
      for (;;) {
        const part = parts.next();
        if (part.done === true) {
          call.end();
          return;
        }
        if (!call.write(part.value)) {
          call.once("drain", next);
          return;
        }
      }
    };
    // The callback above tells what went wrong; without a listener the event would end the process.
    call.on("error", () => {});
    next();
  }

  /** One request, one answer. */
  ask<Request, Response>(
    method: MemberMethod<Request, Response>,
    request: Request,
    options: { readonly timeoutMs: number; readonly what: string },
  ): Promise<Response> {
    const client = this.#client;
    const fail = (why: string, cause?: unknown): SynwallError =>
      new SynwallError(
        "SW_CONTROL_TIMEOUT",
        `Cannot ${options.what} at ${this.peer.name}: ${why}`,
        { node: this.peer.id },
        cause,
      );
    if (client === undefined || !this.#isConnected) return Promise.reject(fail("it is not connected"));
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        new Metadata(),
        { deadline: Date.now() + options.timeoutMs },
        (error: ServiceError | null, response?: Read<Response>) => {
          if (error !== null || response === undefined) {
            reject(fail(error?.details ?? "it sent no answer", error));
          } else if (this.#isReadable(response)) resolve(response);
          else reject(fail(response.message));
        },
      );
    });
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#drop();
  }

  #openStream(client: Client): void {
    const { path, requestSerialize, responseDeserialize } = raftService.exchange;
    const stream = client.makeClientStreamRequest<ExchangeRequest, Read<ExchangeResponse>>(
      path,
      requestSerialize,
      responseDeserialize,
      new Metadata(),
      {},
      (error, answer) => this.#streamEnded(stream, error, answer),
    );
    stream.on("error", () => {});
    // The server answers with its headers at once, when it has accepted who we are.
    stream.once("metadata", () => {
      if (stream !== this.#stream) return;
      this.#isConnected = true;
      this.#backoffMs = BACKOFF_MS_MIN;
      this.#counters.connects++;
    });
    this.#stream = stream;
  }

  #streamEnded(
    stream: ClientWritableStream<ExchangeRequest>,
    error: ServiceError | null,
    answer: Read<ExchangeResponse> | undefined,
  ): void {
    if (stream !== this.#stream) return;
    if (answer instanceof MalformedError) this.onMalformed(answer);
    if (error?.code === StatusCode.PERMISSION_DENIED) {
      this.#events.onLog(`${this.peer.name} refused this node: ${error.details}`);
      this.#events.onTurnedAway();
      this.#backoffMs = BACKOFF_MS_MAX;
    }
    this.#reconnect();
  }

  /** False, counted and told, when an answer of the peer cannot be read. */
  #isReadable<T>(answer: Read<T>): answer is T {
    if (!(answer instanceof MalformedError)) return true;
    this.onMalformed(answer);
    return false;
  }

  /** The peer answered what nobody can read. */
  onMalformed({ message }: MalformedError): void {
    this.#counters.refused.malformed++;
    this.#events.onLog(`member ${this.peer.id}: ${message}`);
  }

  #reconnect(): void {
    const wasConnected = this.#isConnected;
    this.#drop();
    if (this.#isClosed) return;
    if (wasConnected) {
      this.#counters.disconnects++;
      this.#tellUnreachable();
    }
    this.#timer = setTimeout(() => this.connect(), this.#backoffMs);
    this.#timer.unref();
    this.#backoffMs = Math.min(this.#backoffMs * 2, BACKOFF_MS_MAX);
  }

  #drop(): void {
    this.#isConnected = false;
    const stream = this.#stream;
    const client = this.#client;
    this.#stream = undefined;
    this.#client = undefined;
    this.#counters.raftQueued -= this.#queuedMessages;
    this.#queuedMessages = 0;
    this.#queuedBytes = 0;
    stream?.cancel();
    client?.close();
  }

  /** Once for all messages that are refused in one go. */
  #tellUnreachable(): void {
    if (this.#isUnreachableDue || this.#isClosed) return;
    this.#isUnreachableDue = true;
    setImmediate(() => {
      this.#isUnreachableDue = false;
      if (!this.#isClosed) this.#events.onUnreachable();
    });
  }
}
