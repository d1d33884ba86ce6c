/**
 * Change record: the header that every replicated record begins with. Both sides of the project read it: the dataplane
 * writes and applies whole records; the cluster sees this header and otherwise opaque bytes.
 * Does not own the flow's own fields (dataplane/flow-record.ts).
 *
 *   0      1      2        4          8         12         16               RECORD_BYTES
 *   | op   | wire | slot   | key hash | version | epoch    | opaque ...     |
 *   | u8   | u8   | u16 LE | u32 LE   | u32 LE  | u32 LE   |                |
 *
 * One stream carries live changes, snapshots, digests and barriers in one order, so "everything before the barrier"
 * and "the digest at this point" have an exact meaning.
 */

/** Bytes of one record, in the rings and on the wire. */
export const RECORD_BYTES = 160;
/** Version of the opaque part that this build writes; between two builds the older one's is spoken (cluster/sync/wire-format.ts). */
export const RECORD_WIRE_VERSION = 1;

/** A flow was made or changed: apply if `version` is newer than what is held. */
export const OP_UPSERT = 1;
/** A flow ended. */
export const OP_DELETE = 2;
/** A snapshot of the slot begins: what is not sent again before SNAPSHOT_END is stale. */
export const OP_SNAPSHOT_BEGIN = 3;
/** The snapshot of the slot is whole: drop what was not refreshed. */
export const OP_SNAPSHOT_END = 4;
/** Opaque: u32 count, u32 sum. The receiver compares its own digest of the slot at exactly this point. */
export const OP_DIGEST = 5;
/** The old owner stopped deciding the slot in `epoch`; nothing of it follows. Opaque: u32 node id of the sender. */
export const OP_BARRIER = 6;

export const RECORD_OP_AT = 0;
export const RECORD_WIRE_AT = 1;
export const RECORD_SLOT_AT = 2;
export const RECORD_HASH_AT = 4;
export const RECORD_VERSION_AT = 8;
export const RECORD_EPOCH_AT = 12;
export const RECORD_OPAQUE_AT = 16;
