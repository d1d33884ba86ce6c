/**
 * etcd messages: a Kv's transactions and events in etcd's terms and back, and the methods of etcd that are called. Owns no
 * connection (etcd-kv.ts).
 */
import {
  AuthDefinition,
  Compare_CompareTarget,
  Event_EventType,
  KVDefinition,
  type RequestOp,
  type TxnRequest,
  type TxnResponse,
  WatchDefinition,
  type WatchRequest,
  type WatchResponse,
} from "../../proto/gen/etcdserverpb/rpc.ts";
import {
  endOfPrefix,
  type KvEvent,
  type KvOperation,
  type KvPair,
  type KvResult,
  type KvTransaction,
} from "../storage/kv.ts";
import { method } from "./grpc-services.ts";

export const etcdMethods = {
  txn: method(KVDefinition, KVDefinition.methods.txn),
  watch: method(WatchDefinition, WatchDefinition.methods.watch),
  authenticate: method(AuthDefinition, AuthDefinition.methods.authenticate),
};

const NO_BYTES = new Uint8Array(0);
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function txnRequest({ compare, success, failure }: KvTransaction): TxnRequest {
  return {
    compare: compare.map((one) => ({
      key: encoder.encode(one.key),
      target: "value" in one ? Compare_CompareTarget.VALUE : Compare_CompareTarget.MOD,
      targetUnion:
        "value" in one
          ? { $case: "value", value: one.value }
          : { $case: "modRevision", value: one.modRevision },
    })),
    success: success.map(requestOp),
    failure: failure.map(requestOp),
  };
}

export function resultOf({ header, succeeded, responses }: TxnResponse): KvResult {
  const reads: KvPair[][] = [];
  for (const { response } of responses) {
    if (response?.$case !== "responseRange") continue;
    reads.push(
      response.value.kvs.map(({ key, value, modRevision }) => ({
        key: decoder.decode(key),
        value,
        modRevision,
      })),
    );
  }
  return { succeeded, revision: header?.revision ?? 0, reads };
}

export function watchRequest(prefix: string, startRevision: number): WatchRequest {
  const key = encoder.encode(prefix);
  const rangeEnd = encoder.encode(endOfPrefix(prefix));
  return { requestUnion: { $case: "createRequest", value: { key, rangeEnd, startRevision } } };
}

export function eventsOf({ events }: WatchResponse): KvEvent[] {
  return events.map(({ type, kv }) => {
    const key = decoder.decode(kv?.key ?? NO_BYTES);
    const modRevision = kv?.modRevision ?? 0;
    return type === Event_EventType.DELETE ? { key, modRevision } : { key, modRevision, value: kv!.value };
  });
}

function requestOp(operation: KvOperation): RequestOp {
  const key = encoder.encode(operation.key);
  if (operation.type === "put") {
    return { request: { $case: "requestPut", value: { key, value: operation.value } } };
  }
  const rangeEnd = operation.to === undefined ? NO_BYTES : encoder.encode(operation.to);
  if (operation.type === "delete") {
    return { request: { $case: "requestDeleteRange", value: { key, rangeEnd } } };
  }
  return { request: { $case: "requestRange", value: { key, rangeEnd, limit: operation.limit ?? 0 } } };
}
