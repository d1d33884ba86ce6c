/**
 * Policy loader worker: a thread that makes one loaded policy and ends. Owns that what it made reaches other threads without being
 * copied again: arrays are put into shared memory.
 */
import { parentPort, workerData } from "node:worker_threads";
import { AssertionError } from "../base/assert.ts";
import { SynwallError } from "../base/errors.ts";
import { type LoadedPolicy, loadPolicy } from "./loaded-policy.ts";

export interface LoaderSetup {
  readonly path: string;
}

export type FromLoader =
  | { readonly type: "loaded"; readonly policy: LoadedPolicy }
  | { readonly type: "failed"; readonly code: string; readonly message: string };

/** The same, with all arrays of the rules in shared memory. */
function shared<Value>(value: Value): Value {
  if (value instanceof Int32Array) return new Int32Array(sharedCopy(value)) as Value;
  if (value instanceof Uint16Array) return new Uint16Array(sharedCopy(value)) as Value;
  if (value instanceof Uint8Array) return new Uint8Array(sharedCopy(value)) as Value;
  if (value instanceof Float64Array) return new Float64Array(sharedCopy(value)) as Value;
  if (Array.isArray(value)) return value.map(shared) as Value;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, shared(part)])) as Value;
}

function sharedCopy({ buffer, byteOffset, byteLength }: ArrayBufferView): SharedArrayBuffer {
  const copy = new SharedArrayBuffer(byteLength);
  new Uint8Array(copy).set(new Uint8Array(buffer, byteOffset, byteLength));
  return copy;
}

if (parentPort === null) throw new AssertionError("the policy loader is a thread, not a program");
const post = (message: FromLoader): void => parentPort!.postMessage(message);
try {
  const { config, compiled, fingerprint } = loadPolicy((workerData as LoaderSetup).path);
  post({ type: "loaded", policy: { config, compiled: shared(compiled), fingerprint } });
} catch (error) {
  if (!(error instanceof SynwallError)) throw error;
  post({ type: "failed", code: error.code, message: error.message });
}
