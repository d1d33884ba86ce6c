/**
 * gRPC services: binds the generated encoders to @grpc/grpc-js without copying what was encoded, and names the channel
 * options that all connections share. What of a member cannot be decoded comes in as well, so that somebody refuses it.
 */
import type { ChannelOptions, MethodDefinition } from "@grpc/grpc-js";
import { MalformedError } from "raft-ts";
import { ControlServiceDefinition } from "../../proto/gen/synwall/v1/control.ts";
import { RaftServiceDefinition } from "../../proto/gen/synwall/v1/raft.ts";
import { SyncServiceDefinition } from "../../proto/gen/synwall/v1/sync.ts";
import { decodeFromReceiver, decodeFromSender, encodeFromReceiver, encodeFromSender } from "./sync-codec.ts";

/** The largest message: a Raft append of 1 MiB of commands, or one command of 1 MiB, with room. */
const MESSAGE_BYTES_MAX = 4 * 1_048_576;
/** Above the bandwidth-delay product of any LAN: replication is bounded by LINK_BUFFER_BYTES, not by the window. */
const WINDOW_BYTES = 1_048_576;
/** Pings on a connection; without an answer within as long again it is broken. */
const KEEPALIVE_MS = 1_000;

/** For servers and clients alike. Nagle is off in grpc-js and Node.js' HTTP/2 already. */
export const CHANNEL_OPTIONS: ChannelOptions = {
  "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
  "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
  "grpc-node.flow_control_window": WINDOW_BYTES,
  "grpc.keepalive_time_ms": KEEPALIVE_MS,
  "grpc.keepalive_timeout_ms": KEEPALIVE_MS,
  "grpc.keepalive_permit_without_calls": 1,
};

/** First try again after 50 ms, then longer, at most 500 ms: a peer on the LAN comes back soon. */
export const BACKOFF_MS_MIN = 50;
export const BACKOFF_MS_MAX = 500;

export const CLIENT_OPTIONS: ChannelOptions = {
  ...CHANNEL_OPTIONS,
  "grpc.initial_reconnect_backoff_ms": BACKOFF_MS_MIN,
  "grpc.max_reconnect_backoff_ms": BACKOFF_MS_MAX,
  // A connection of its own for each client: replication must not stand in front of Raft in a socket.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.service_config_disable_resolution": 1,
  "grpc.enable_http_proxy": 0,
  "grpc.enable_retries": 0,
  "grpc.enable_channelz": 0,
  "grpc.client_idle_timeout_ms": 2 ** 31 - 1,
};

interface WireType<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

interface WireMethod<Request, Response> {
  readonly name: string;
  readonly requestType: WireType<Request>;
  readonly requestStream: boolean;
  readonly responseType: WireType<Response>;
  readonly responseStream: boolean;
}

/** What comes in from a member: a message, or why its bytes are none. */
export type Read<T> = T | MalformedError;

/** A method that members call of each other. */
export interface MemberMethod<Request, Response> {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (message: Request) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => Read<Request>;
  readonly responseSerialize: (message: Response) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Read<Response>;
}

const { exchange, sendSnapshot } = RaftServiceDefinition.methods;
export const raftService = {
  exchange: memberMethod(RaftServiceDefinition, exchange, [
    "a batch of Raft messages",
    "an answer to Raft messages",
  ]),
  sendSnapshot: memberMethod(RaftServiceDefinition, sendSnapshot, [
    "a part of a snapshot",
    "an answer to a snapshot",
  ]),
};

const { status, restart } = ControlServiceDefinition.methods;
export const controlService = {
  status: memberMethod(ControlServiceDefinition, status, ["a question for the status", "a status"]),
  restart: memberMethod(ControlServiceDefinition, restart, [
    "a request to restart",
    "an answer about a restart",
  ]),
};

/**
 * What is sent is encoded before it is given to gRPC, which may keep it in a queue while the sender reuses a slab; what
 * comes is decoded on arrival.
 */
const replicate = SyncServiceDefinition.methods.replicate;
export const syncService = {
  replicate: {
    path: `/${SyncServiceDefinition.fullName}/${replicate.name}`,
    requestStream: replicate.requestStream,
    responseStream: replicate.responseStream,
    requestSerialize: (encoded: Buffer) => encoded,
    requestDeserialize: reader("a replication message", decodeFromSender),
    responseSerialize: (encoded: Buffer) => encoded,
    responseDeserialize: reader("a replication answer", decodeFromReceiver),
  },
};

export const encodeSync = {
  fromSender: (message: Parameters<typeof encodeFromSender>[0]) => asBuffer(encodeFromSender(message)),
  fromReceiver: (message: Parameters<typeof encodeFromReceiver>[0]) => asBuffer(encodeFromReceiver(message)),
};

export function method<Request, Response>(
  service: { readonly fullName: string },
  of: WireMethod<Request, Response>,
): MethodDefinition<Request, Response> {
  return {
    path: `/${service.fullName}/${of.name}`,
    requestStream: of.requestStream,
    responseStream: of.responseStream,
    requestSerialize: (message) => asBuffer(of.requestType.encode(message).finish()),
    requestDeserialize: (bytes) => of.requestType.decode(bytes),
    responseSerialize: (message) => asBuffer(of.responseType.encode(message).finish()),
    responseDeserialize: (bytes) => of.responseType.decode(bytes),
  };
}

function memberMethod<Request, Response>(
  service: { readonly fullName: string },
  of: WireMethod<Request, Response>,
  [request, response]: readonly [request: string, response: string],
): MemberMethod<Request, Response> {
  const bound = method(service, of);
  return {
    ...bound,
    requestDeserialize: reader(request, bound.requestDeserialize),
    responseDeserialize: reader(response, bound.responseDeserialize),
  };
}

/**
 * A decoder that throws ends the call inside grpc-js, and nobody hears of it: this one answers why. Nothing of the bytes is in the words,
 * since the log counts lines that are the same.
 */
function reader<T>(what: string, decode: (bytes: Buffer) => T): (bytes: Buffer) => Read<T> {
  return (bytes) => {
    try {
      return decode(bytes);
    } catch (error) {
      if (error instanceof MalformedError) return error;
      return new MalformedError(`Cannot take ${what}: its bytes cannot be decoded`);
    }
  };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
