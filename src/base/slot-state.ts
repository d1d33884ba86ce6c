/**
 * Slot states: what a node does with the packets of one slot. The rules of takeover decide them (cluster/takeover), the
 * engine obeys them per packet (dataplane/cluster-view.ts). Owns the numbers only.
 *
 *                    table: we own it, nobody awaited
 *   REMOTE ------------------------------------------------> OWNED
 *     |  \__ table: planned move --> HANDOVER --barriers-->    ^
 *     \_____ owner or awaited dead -> TAKEOVER --promises out--/
 */

/** Not ours: redirect to the owner. */
export const SLOT_REMOTE = 0;
/** Ours: decide, while the lease is valid. */
export const SLOT_OWNED = 1;
/** Becoming ours in a planned move: hold every packet until the old owner's barrier is applied. */
export const SLOT_HANDOVER = 2;
/** Becoming ours because the old owner is dead: forward known flows (shared action), hold new ones until activation. */
export const SLOT_TAKEOVER = 3;
