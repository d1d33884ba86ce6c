/**
 * Verdicts: what became of a frame, as a small integer, and the name under which each is counted.
 * Every verdict has one counter; drop reasons are the bounded label set of synwall_dataplane_drops_total.
 */

/** The frame left by a port (engine.send took it). */
export const VERDICT_FORWARDED = 0;
/** Left for the slot's owner over the cluster link or the zone's wire. */
export const VERDICT_REDIRECTED = 1;
/** Forwarded from a replica, without deciding anything (shared action). */
export const VERDICT_FORWARDED_SHARED = 2;
/** Answered in place (ARP, ICMP echo to the gateway, ICMP error). */
export const VERDICT_ANSWERED = 3;
/** Kept: waits for a commit, a neighbour or a slot. */
export const VERDICT_HELD = 4;
/** For the node itself (heartbeats): the caller has the frame. */
export const VERDICT_LOCAL = 5;
/** From here on: dropped. */
export const VERDICT_DROP_BASE = 16;

/** Drop reasons in order: verdict = VERDICT_DROP_BASE + index. */
export const DROP_REASONS = [
  "truncated", // shorter than its headers say
  "not_ip", // an ether type that the firewall does not carry
  "bad_header", // version, header length or total length wrong
  "bad_checksum", // IPv4 header checksum wrong
  "bad_option", // source route or record route
  "bad_source", // broadcast, multicast, loopback, own or class E source
  "bad_destination", // 0.0.0.0, class E, or nothing that we forward
  "spoofed", // the source does not belong behind the zone it came from
  "fragment", // a fragmented packet to an address of the cluster itself
  "ttl", // TTL ran out (ICMP time exceeded is sent)
  "too_big", // larger than the egress MTU with DF
  "no_route",
  "no_neighbour", // the next hop does not answer ARP
  "denied", // a rule or the default says no
  "invalid_state", // a TCP packet that no connection accounts for
  "out_of_window", // outside the TCP window
  "icmp_unrelated", // an ICMP error for no flow that we know, or not to who sent the datagram in it
  "nat_port_exhausted",
  "table_full",
  "fenced", // a decision was needed and the lease ran out
  "no_owner", // the slot's owner cannot be reached
  "redirected_twice",
  "hold_full", // too many packets wait already
  "hold_timeout",
  "tx_full", // the port had no room
  "unknown_protocol",
  "stp_or_lldp", // link-local control frames: not carried, not an error
  "not_for_us", // a frame for another station that the switch flooded, or multicast
  "arp", // ARP that asks nothing of us; what there was to learn was learned
  "land", // source and destination are one address
  "neighbour_discovery", // neighbour discovery that asks nothing of us, or is malformed
  "rule_rate", // the rule that would accept it takes no more new flows this second
  "fragment_invalid", // a fragment that cannot be one: length, offset
  "fragment_tiny", // the first fragment does not hold the whole header of the upper layer
  "fragment_overlap", // fragments of one datagram that contradict each other: all of it goes
  "fragment_duplicate", // the same fragment once more
  "fragment_many", // a datagram in more fragments than are kept
  "fragment_timeout", // the others never came
  "fragment_full", // no room to keep or to make fragments
  "fragment_source_limit", // one source with too many incomplete datagrams: its oldest go
  "half_open_limit", // too many TCP handshakes of this source, to this destination or in all are not finished
  "source_rate", // the source begins more flows a second than it may
  "table_reserved", // what is left of the flow table is kept for allowlisted sources
  "syn_cookie", // an acknowledgement that answers no SYN cookie, while cookies are given
  "syn_proxy", // the SYN proxy has no use for it: data before the server answered, wrong numbers
  "helper", // a helper could not keep both ends' streams alike, or another node decides: the sender repeats it
  "untranslatable", // NAT64: the other family has no word for it
  "redirect_refused", // a redirected frame that is forged, replayed, or in clear where it has to be sealed
] as const;

export type DropReason = (typeof DROP_REASONS)[number];

/** Names of the verdicts below VERDICT_DROP_BASE; position = verdict. */
export const VERDICT_NAMES = [
  "forwarded",
  "redirected",
  "forwarded_shared",
  "answered",
  "held",
  "local",
] as const;

/** What metrics, logs and people call a verdict: a drop by its reason. */
export function verdictName(verdict: number): string {
  return VERDICT_NAMES[verdict] ?? DROP_REASONS[verdict - VERDICT_DROP_BASE] ?? `verdict ${verdict}`;
}

/** Verdict number of a drop reason; for set-up, not for the hot path (keep the result in a constant). */
export function dropVerdict(reason: DropReason): number {
  return VERDICT_DROP_BASE + DROP_REASONS.indexOf(reason);
}
