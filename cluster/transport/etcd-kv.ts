/**
 * etcd store: a Kv on a site's etcd cluster (version 3.4 or later), over gRPC. Owns connections, which endpoint is asked, signing
 * in, and what is counted; what is stored is cluster/control's.
 *
 *   transact()  --> the endpoint that answered last --no answer, or no leader there--> the next one, within the same deadline
 *   watch()     --> a stream of its own to that endpoint; when it ends the caller reads and watches again
 *
 * A transaction whose answer did not come is not sent twice by itself: it may have been done. So an endpoint is left for the next
 * one only when it provably did nothing: it could not be reached, or refused.
 */
import {
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type MethodDefinition,
  type ServiceError,
  status as StatusCode,
} from "@grpc/grpc-js";
import type { WatchRequest, WatchResponse } from "../../proto/gen/etcdserverpb/rpc.ts";
import { LatencyHistogram } from "../../src/base/histogram.ts";
import { type Kv, KvError, type KvResult, type KvTransaction, type KvWatcher } from "../storage/kv.ts";
import { etcdMethods, eventsOf, resultOf, txnRequest, watchRequest } from "./etcd-messages.ts";
import { CLIENT_OPTIONS } from "./grpc-services.ts";

/** A page of a log with large entries, or a snapshot. */
const ANSWER_BYTES_MAX = 64 * 1_048_576;
/** etcd ends connections that are pinged more than every 5 s. */
const KEEPALIVE_MS = 10_000;

export interface EtcdKvOptions {
  /** URLs: https://host:port, or http://host:port on this machine. */
  readonly endpoints: readonly string[];
  /** PEM. Absent with http. */
  readonly tls?: { readonly ca: Buffer; readonly cert?: Buffer; readonly key?: Buffer };
  readonly user?: { readonly name: string; readonly password: string };
  readonly timeoutMs: number;
}

export interface KvCounters {
  requests: number;
  /** The store said no: rights, room, a request that is too large. */
  refused: number;
  /** No answer in time, or none at all. */
  unanswered: number;
  readonly latency: LatencyHistogram;
}

interface Endpoint {
  readonly address: string;
  readonly client: Client;
}

export class EtcdKv implements Kv {
  readonly place: string;
  readonly counters: KvCounters = { requests: 0, refused: 0, unanswered: 0, latency: new LatencyHistogram() };
  readonly #options: EtcdKvOptions;
  readonly #endpoints: readonly Endpoint[];
  readonly #streams = new Set<ClientDuplexStream<WatchRequest, WatchResponse>>();
  /** The endpoint that is asked first. */
  #first = 0;
  #token = "";
  #isClosed = false;

  constructor(options: EtcdKvOptions) {
    this.#options = options;
    this.place = options.endpoints.join(", ");
    const { tls } = options;
    this.#endpoints = options.endpoints.map((text) => {
      const { host, protocol } = new URL(text);
      const secured =
        protocol === "https:"
          ? credentials.createSsl(tls?.ca ?? null, tls?.key ?? null, tls?.cert ?? null)
          : credentials.createInsecure();
      return { address: text, client: newClient(host, secured) };
    });
  }

  async transact(transaction: KvTransaction): Promise<KvResult> {
    const request = txnRequest(transaction);
    this.counters.requests++;
    const beganMs = performance.now();
    try {
      const answer = await this.#call(etcdMethods.txn, request, Date.now() + this.#options.timeoutMs);
      this.counters.latency.record(performance.now() - beganMs);
      return resultOf(answer);
    } catch (error) {
      if (error instanceof KvError && error.failure === "refused") this.counters.refused++;
      else this.counters.unanswered++;
      throw error;
    }
  }

  watch(prefix: string, revision: number, watcher: KvWatcher): () => void {
    const { client } = this.#endpoints[this.#first]!;
    const stream = client.makeBidiStreamRequest(
      etcdMethods.watch.path,
      etcdMethods.watch.requestSerialize,
      etcdMethods.watch.responseDeserialize,
      this.#metadata(),
    );
    this.#streams.add(stream);
    let isOver = false;
    const stop = (): void => {
      isOver = true;
      this.#streams.delete(stream);
      stream.cancel();
    };
    const end = (why: string): void => {
      if (isOver) return;
      stop();
      watcher.onEnd(why);
    };
    stream.on("data", (answer: WatchResponse) => {
      if (isOver) return;
      if (answer.canceled) {
        end(answer.compactRevision > 0 ? "the revision was compacted" : answer.cancelReason);
        return;
      }
      if (answer.events.length > 0) watcher.onEvents(eventsOf(answer));
    });
    stream.on("error", (error: ServiceError) => {
      if (isSignedOut(error)) this.#token = "";
      end(error.details);
    });
    stream.on("end", () => end("the stream ended"));
    stream.write(watchRequest(prefix, revision));
    return stop;
  }

  close(): void {
    this.#isClosed = true;
    for (const stream of this.#streams) stream.cancel();
    this.#streams.clear();
    for (const { client } of this.#endpoints) client.close();
  }

  async #call<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    deadlineMs: number,
  ): Promise<Response> {
    let isSigningIn = false;
    let failed: ServiceError | undefined;
    for (let tries = 0; tries <= this.#endpoints.length; tries++) {
      if (this.#isClosed) break;
      const at = this.#first;
      try {
        await this.#signIn(deadlineMs);
        return await this.#ask(method, request, at, deadlineMs);
      } catch (error) {
        failed = error as ServiceError;
        if (isSignedOut(failed) && !isSigningIn) {
          isSigningIn = true;
          this.#token = "";
          continue;
        }
        // A request that is answered late may have been carried out: the next one is asked by the next request.
        if (isElsewhere(failed)) this.#first = (at + 1) % this.#endpoints.length;
        if (!isUndone(failed) || Date.now() >= deadlineMs) break;
      }
    }
    throw new KvError(
      failed !== undefined && isRefusal(failed) ? "refused" : "unknown",
      failed?.details ?? "the store is closed",
      failed,
    );
  }

  /** Signs in when there is a user and no token yet. */
  async #signIn(deadlineMs: number): Promise<void> {
    const { user } = this.#options;
    if (user === undefined || this.#token !== "") return;
    const request = { name: user.name, password: user.password };
    const { token } = await this.#ask(etcdMethods.authenticate, request, this.#first, deadlineMs);
    this.#token = token;
  }

  /** Rejects with a ServiceError. */
  #ask<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    at: number,
    deadlineMs: number,
  ): Promise<Response> {
    const { path, requestSerialize, responseDeserialize } = method;
    const { client } = this.#endpoints[at]!;
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        this.#metadata(),
        { deadline: deadlineMs },
        (error, answer) => (error === null ? resolve(answer!) : reject(error)),
      );
    });
  }

  #metadata(): Metadata {
    const metadata = new Metadata();
    // An endpoint that is cut off from the others says so, instead of answering what it last knew.
    metadata.set("hasleader", "true");
    if (this.#token !== "") metadata.set("token", this.#token);
    return metadata;
  }
}

function newClient(host: string, secured: ChannelCredentials): Client {
  return new Client(host, secured, {
    ...CLIENT_OPTIONS,
    "grpc.max_receive_message_length": ANSWER_BYTES_MAX,
    "grpc.keepalive_time_ms": KEEPALIVE_MS,
  });
}

function isSignedOut({ code, details }: ServiceError): boolean {
  return (
    code === StatusCode.UNAUTHENTICATED ||
    details === "etcdserver: revision of auth store is old" ||
    details === "etcdserver: user name is empty"
  );
}

/** Another endpoint may do better. */
function isElsewhere({ code }: ServiceError): boolean {
  return code === StatusCode.UNAVAILABLE || code === StatusCode.DEADLINE_EXCEEDED;
}

/** Provably nothing was done: no connection, or the endpoint has no leader to pass the request to. */
function isUndone({ code, details }: ServiceError): boolean {
  if (code !== StatusCode.UNAVAILABLE) return false;
  return details.startsWith("No connection established") || details === "etcdserver: no leader";
}

function isRefusal({ code }: ServiceError): boolean {
  return (
    code === StatusCode.PERMISSION_DENIED ||
    code === StatusCode.UNAUTHENTICATED ||
    code === StatusCode.INVALID_ARGUMENT ||
    code === StatusCode.FAILED_PRECONDITION ||
    code === StatusCode.RESOURCE_EXHAUSTED ||
    code === StatusCode.UNIMPLEMENTED
  );
}
