/**
 * The bytes of a conf change entry, version 1. Part of the log format: a change needs a new version byte.
 *
 *    version u8 | transition u8 | count u16 | count x { type u8 | id u64 } | has context u8 | context ...
 *
 * Integers are big-endian. No bytes at all mean: leave the joint configuration; earlier builds wrote that. A driver that
 * takes every empty entry for a new leader's first one must not miss it, so it is written out now.
 */
import { MalformedError } from "../errors.ts";
import {
  type ConfChange,
  type ConfChangeSingle,
  type ConfChangeTransition,
  type ConfChangeType,
  isBytes,
  type NodeId,
} from "../types.ts";

const VERSION = 1;
const TRANSITIONS: readonly ConfChangeTransition[] = ["auto", "implicit", "explicit"];
const TYPES: readonly ConfChangeType[] = ["addVoter", "addLearner", "remove"];
const HEADER_BYTES = 4;
const CHANGE_BYTES = 9;
const CHANGES_MAX = 0xffff;
const U32 = 0x1_0000_0000;

/** Throws MalformedError when `cc` is not a conf change. */
export function encodeConfChange(cc: ConfChange): Uint8Array {
  checkConfChange(cc);
  const count = cc.changes.length;
  const contextAt = HEADER_BYTES + count * CHANGE_BYTES + 1;
  const bytes = new Uint8Array(contextAt + (cc.context?.length ?? 0));
  const view = new DataView(bytes.buffer);
  view.setUint8(0, VERSION);
  view.setUint8(1, TRANSITIONS.indexOf(cc.transition));
  view.setUint16(2, count);
  let at = HEADER_BYTES;
  for (const change of cc.changes) {
    view.setUint8(at, TYPES.indexOf(change.type));
    view.setUint32(at + 1, Math.floor(change.id / U32));
    view.setUint32(at + 5, change.id % U32);
    at += CHANGE_BYTES;
  }
  view.setUint8(at, cc.context === undefined ? 0 : 1);
  if (cc.context !== undefined) bytes.set(cc.context, contextAt);
  return bytes;
}

/** Throws MalformedError when `bytes` are not what encodeConfChange() makes. */
export function decodeConfChange(bytes: Uint8Array): ConfChange {
  if (!isBytes(bytes)) throw new MalformedError("Cannot decode a conf change: expected a Uint8Array");
  if (bytes.length === 0) return { changes: [], transition: "auto" };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length <= HEADER_BYTES || view.getUint8(0) !== VERSION) {
    throw new MalformedError(`Cannot decode a conf change of ${bytes.length} bytes, version ${bytes[0]}`);
  }
  const transition = TRANSITIONS[view.getUint8(1)];
  const count = view.getUint16(2);
  const contextAt = HEADER_BYTES + count * CHANGE_BYTES + 1;
  if (transition === undefined || bytes.length < contextAt) {
    throw new MalformedError(
      `Cannot decode a conf change: ${count} changes do not fit ${bytes.length} bytes`,
    );
  }
  const changes: ConfChangeSingle[] = [];
  for (let at = HEADER_BYTES; at < contextAt - 1; at += CHANGE_BYTES) {
    const type = TYPES[view.getUint8(at)];
    const id: NodeId = view.getUint32(at + 1) * U32 + view.getUint32(at + 5);
    if (type === undefined) throw new MalformedError(`Cannot decode a change of type ${view.getUint8(at)}`);
    changes.push({ type, id });
  }
  const hasContext = view.getUint8(contextAt - 1);
  if (hasContext > 1 || (hasContext === 0 && bytes.length > contextAt)) {
    throw new MalformedError("Cannot decode a conf change: bytes follow its end");
  }
  const cc: ConfChange =
    hasContext === 1
      ? // A copy, and never a Buffer: its slice() would share the memory of the log.
        { changes, transition, context: new Uint8Array(bytes.subarray(contextAt)) }
      : { changes, transition };
  checkConfChange(cc);
  return cc;
}

/** Throws MalformedError unless every field of `cc` is of the right kind. */
export function checkConfChange(cc: ConfChange): void {
  if (typeof cc !== "object" || cc === null) {
    throw new MalformedError(`Cannot use ${String(cc)} as a conf change: expected an object`);
  }
  if (!TRANSITIONS.includes(cc.transition)) {
    throw new MalformedError(
      `Cannot use the transition ${cc.transition}: expected ${TRANSITIONS.join(", ")}`,
    );
  }
  if (!Array.isArray(cc.changes) || cc.changes.length > CHANGES_MAX) {
    throw new MalformedError(`Cannot use the changes of this conf change: expected at most ${CHANGES_MAX}`);
  }
  if (cc.context !== undefined && !isBytes(cc.context)) {
    throw new MalformedError("Cannot use the context of this conf change: expected a Uint8Array");
  }
  for (const change of cc.changes) {
    const { type, id } = change ?? {};
    if (!TYPES.includes(type)) {
      throw new MalformedError(`Cannot use a change of type ${type}: expected ${TYPES.join(", ")}`);
    }
    if (!Number.isSafeInteger(id) || id < 1) {
      throw new MalformedError(`Cannot change the membership of ${id}: expected an integer of at least 1`);
    }
  }
}
