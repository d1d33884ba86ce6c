/**
 * Flow layout: where each field of a flow lives in the table's shared memory. Owns offsets and flags.
 *
 * A flow is a row of 62 words (248 bytes); its two index entries share one bucket array (at most 8 bytes a flow). Fields
 * that one packet touches together stand together: a packet of an established flow reads the first 64-byte line to find
 * the row, and one or two more to track it.
 *
 *   word 0..15   keys, chains, hashes, slot       (look-up)
 *   word 16..25  tracker: state and TCP windows   (per packet)
 *   word 26..37  deadline, counters               (per packet; 64-bit)
 *   word 38..47  lists, versions, rule            (on change)
 *   word 48..59  upper words of the addresses     (0, 0, 0xffff for IPv4)
 *   word 60..61  time of creation                 (64-bit)
 */

/** 32-bit words of a row; even, so that 64-bit fields are aligned. */
export const ROW_WORDS = 62;

/** Direction 0 = original, 1 = reply: fields of direction 1 stand REPLY_* behind. */
/** Last word of an address, which is all of an IPv4 one; the upper words are in F_ADDRESSES. */
export const F_SOURCE = 0;
export const F_DESTINATION = 1;
/** Source port << 16 | destination port. */
export const F_PORTS = 2;
/** The reply tuple's three words follow the original's: add REPLY_TUPLE. */
export const REPLY_TUPLE = 3;
/** Protocol | families << 8 | flags << 16. */
export const F_META = 6;
/** Next entry of the hash chain, by direction. Entries are row * 2 + direction; NONE ends. */
export const F_NEXT = 7;
/** Index hash, by direction. */
export const F_HASH = 9;
/** Slot | original zone << 16 | reply zone << 24. */
export const F_PLACE = 11;
/** Odd while the row is being written; see flow-reader.ts. */
export const F_GENERATION = 12;
/** When this node last tracked the flow: a mark of tenures.ts. */
export const F_TRACKED = 13;
/** Tracker's state (tcp-tracker.ts, trackers.ts). */
export const F_STATE = 14;
/** While first packets wait for a backup: (last waiting entry + 1) << 8 | its node id; else 0. */
export const F_COMMIT = 15;

/** TCP windows, WINDOW_WORDS a direction, by who sends: end of what was sent, end of what may be sent, largest window
 * announced, last acknowledgement sent. Scales are in F_STATE. */
export const F_WINDOW = 16;
export const WINDOW_WORDS = 4;
export const W_END = 0;
export const W_LIMIT = 1;
export const W_MAX = 2;
export const W_ACK = 3;
/** W_END of both directions when the flow was last published. */
export const F_PUBLISHED_END = 24;

/** 64-bit fields, as indexes into the Float64Array: word / 2. */
export const ROW_DOUBLES = ROW_WORDS / 2;
export const D_DEADLINE = 13;
export const D_PUBLISHED_AT = 14;
export const D_PACKETS = 15;
export const D_BYTES = 17;
export const D_CREATED_AT = 30;

export const F_WHEEL_NEXT = 38;
export const F_WHEEL_PREVIOUS = 39;
export const F_WHEEL_BUCKET = 40;
export const F_SLOT_NEXT = 41;
export const F_SLOT_PREVIOUS = 42;
export const F_VERSION = 43;
export const F_RECORD_EPOCH = 44;
/** This row's part of the slot's digest. */
export const F_DIGEST = 45;
/** Rule | generation of the policy that last allowed the flow << 16 (flow-maker.ts). */
export const F_RULE = 46;
/** Snapshot generation in which a replica was last refreshed. */
export const F_SNAPSHOT = 47;
/** Twelve words: words 0..2 of original source, original destination, reply source, reply destination. */
export const F_ADDRESSES = 48;
/** Words of F_ADDRESSES that belong to one tuple. */
export const TUPLE_UPPER_WORDS = 6;

export const NONE = -1;

/** Families in F_META: FAMILY_ANY is set in every used row; two bits say which tuples are IPv6: the original's, above it the reply's. */
export const FAMILY_AT = 8;
export const FAMILY_ANY = 4 << FAMILY_AT;
export const FAMILY_IPV6_ORIGINAL = 1 << FAMILY_AT;

/** Flags in F_META, from bit 16. */
export const FLAG_SNAT = 1 << 16;
export const FLAG_DNAT = 1 << 17;
export const FLAG_NAT = FLAG_SNAT | FLAG_DNAT;
/** Came from the owner's records; this node has not decided it yet. */
export const FLAG_REPLICA = 1 << 18;
/** A reply was seen. */
export const FLAG_REPLIED = 1 << 19;
/** The next packet of the direction seeds its TCP window. */
export const FLAG_RESEED_ORIGINAL = 1 << 20;
export const FLAG_RESEED_REPLY = 1 << 21;
export const FLAG_RESEED = FLAG_RESEED_ORIGINAL | FLAG_RESEED_REPLY;
/** No rule let it in: it belongs to a binding, or to the flow that expected it. */
export const FLAG_UNRULED = 1 << 22;
/** The connection's numbers have a satellite (helpers/adjust.ts). */
export const FLAG_ADJUSTED = 1 << 23;
/** It came from an expectation of data: no helper looks at it. */
export const FLAG_EXPECTED = 1 << 24;
/** This node counted the flow at its binding, or a port of a pool address for it (nat-account.ts). */
export const FLAG_BOUND = 1 << 25;
export const FLAG_POOLED = 1 << 26;
/**
 * HELPER_* bits (policy-model.ts) that the flow's rule asked for when it was last allowed. They are the flow's own, because a rule's
 * number says nothing where another policy holds.
 */
export const HELPERS_AT = 27;
export const HELPERS = 7 << HELPERS_AT;
/** The row is in use. */
export const FLAG_USED = 1 << 30;
/** Segments passed that this node did not track: a side may have sent more than its window here says. Stays for good. */
export const FLAG_UNSURE = 1 << 31;
/** What a flow has from its first packet to its end. */
export const FLAGS_BORN = FLAG_NAT | FLAG_UNRULED;
/** What travels in records. */
export const FLAGS_REPLICATED =
  FLAG_NAT | FLAG_REPLIED | FLAG_UNRULED | FLAG_ADJUSTED | FLAG_EXPECTED | HELPERS;

/** HELPER_* bits of F_META. */
export function helpersOf(meta: number): number {
  return (meta & HELPERS) >>> HELPERS_AT;
}
