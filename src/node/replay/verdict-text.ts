/**
 * Verdicts in words: what each means, and what an operator can do about it. Owns the words; names and numbers are
 * dataplane/verdict.ts. A reason without an entry is shown by its name.
 */
import { verdictName } from "../../dataplane/verdict.ts";

interface VerdictText {
  readonly meaning: string;
  /** What to do; absent where nothing is wrong. */
  readonly advice?: string;
}

const TEXTS: Readonly<Record<string, VerdictText>> = {
  forwarded: { meaning: "goes on" },
  redirected: { meaning: "goes to the node that owns its slot" },
  forwarded_shared: { meaning: "goes on from a replica" },
  answered: { meaning: "answered by the firewall itself" },
  held: { meaning: "waits" },
  local: { meaning: "for the node itself" },
  truncated: {
    meaning: "shorter than its headers say",
    advice: "look at the sender, or at the capture's snap length",
  },
  not_ip: { meaning: "not IP", advice: "nothing: only IP is carried" },
  bad_header: { meaning: "a length or version in its headers is wrong", advice: "look at the sender" },
  bad_checksum: {
    meaning: "a checksum is wrong",
    advice: "look for a bad cable, or for a capture made before the card filled checksums in",
  },
  bad_option: { meaning: "source route or record route", advice: "nothing: such options are never carried" },
  bad_source: {
    meaning: "a source that no host can have here",
    advice:
      "look at the sender: broadcast, multicast, loopback and the cluster's own addresses are no sources",
  },
  bad_destination: {
    meaning: "a destination that is not forwarded to",
    advice: "if it is an address of the cluster, add a nat.dnat entry for this port in this zone",
  },
  spoofed: {
    meaning: "the way back to its source does not lead to the zone that it came from",
    advice: "correct the zone that it came from, or routes, so that the source is behind that zone",
  },
  fragment: { meaning: "a fragment", advice: "lower the MTU of the sender" },
  ttl: { meaning: "its TTL ran out here; the sender is told", advice: "nothing: traceroute works like this" },
  too_big: {
    meaning: "larger than the MTU of the way out; the sender is told if the packet may not be fragmented",
    advice: "nothing, if path MTU discovery works; for captures made on a host with offloads use --mtu 65535",
  },
  no_route: { meaning: "no route leads to its destination", advice: "add the network to routes" },
  no_neighbour: {
    meaning: "the next hop does not answer; the sender is told",
    advice: "look at the next hop",
  },
  denied: { meaning: "no rule allows it", advice: "add or move a rule that accepts it" },
  invalid_state: {
    meaning: "no connection accounts for it",
    advice: "a capture that begins within a connection shows this: begin it earlier",
  },
  out_of_window: { meaning: "outside the TCP window", advice: "look for lost or forged packets" },
  icmp_unrelated: {
    meaning: "an ICMP error for no known flow, or to another host than who sent the datagram in it",
    advice: "nothing: only errors of flows are carried",
  },
  nat_port_exhausted: {
    meaning: "no source port is left for it",
    advice: "add addresses to the pool of nat.snat",
  },
  table_full: { meaning: "the flow table is full", advice: "raise flows.max" },
  fenced: { meaning: "the node may not decide now", advice: "see synwall status" },
  no_owner: { meaning: "its slot's owner cannot be reached", advice: "see synwall status" },
  redirected_twice: { meaning: "two nodes disagreed about its owner", advice: "see synwall status" },
  hold_full: { meaning: "too many packets wait already", advice: "see synwall status" },
  hold_timeout: { meaning: "it waited too long", advice: "see synwall status" },
  tx_full: { meaning: "the port had no room", advice: "look at the load of the wire" },
  unknown_protocol: {
    meaning: "a protocol or message that cannot be tracked or translated",
    advice: "nothing, or exempt it from nat.snat",
  },
  stp_or_lldp: { meaning: "a control frame of a switch" },
  not_for_us: { meaning: "a frame for another station" },
  arp: { meaning: "ARP that asks nothing of the cluster" },
  land: {
    meaning: "source and destination are one address",
    advice: "look at the sender: this is an attack",
  },
  neighbour_discovery: { meaning: "neighbour discovery that asks nothing of the cluster" },
  rule_rate: {
    meaning: "the rule that would accept it takes no more new flows now",
    advice: "raise the rule's rate if this is wanted traffic",
  },
  half_open_limit: {
    meaning: "too many TCP handshakes are not finished",
    advice: "raise the limits of protection if this is wanted traffic",
  },
  source_rate: {
    meaning: "its source begins more flows a second than it may",
    advice: "raise the limits of protection, or allow the source there",
  },
  table_reserved: {
    meaning: "what is left of the flow table is kept for allowlisted sources",
    advice: "raise flows.max, or allow the source in protection",
  },
  syn_cookie: { meaning: "it answers no SYN cookie, while cookies are given" },
  syn_proxy: { meaning: "the SYN proxy has no use for it yet" },
  untranslatable: {
    meaning: "it cannot be said in the other family",
    advice: "look at the sender, or at nat.nat64",
  },
  redirect_refused: {
    meaning: "another node's address sent it, and it is forged, replayed, or not sealed as it has to be",
    advice: "see who is on the cluster link, and whether dataplane.sealRedirects is the same on all nodes",
  },
  helper: { meaning: "a helper could not keep both ends alike; the sender repeats it" },
  fragment_invalid: { meaning: "a fragment whose length or offset cannot be", advice: "look at the sender" },
  fragment_tiny: {
    meaning: "the first fragment does not hold the whole transport header",
    advice: "look at the sender: this is often an attack",
  },
  fragment_overlap: {
    meaning: "fragments of one datagram contradict each other",
    advice: "look at the sender: this is an attack",
  },
  fragment_duplicate: { meaning: "the same fragment once more" },
  fragment_many: {
    meaning: "a datagram in more fragments than are kept",
    advice: "look at the MTU of the sender",
  },
  fragment_timeout: { meaning: "the other fragments never came", advice: "look for loss on the way here" },
  fragment_full: { meaning: "no room to keep fragments", advice: "raise the limits of fragments" },
  fragment_source_limit: {
    meaning: "its source has too many incomplete datagrams",
    advice: "raise the limits of fragments, or look at the sender",
  },
};

/** What a verdict means, in a few words. */
export function verdictMeaning(verdict: number): string {
  const name = verdictName(verdict);
  return TEXTS[name]?.meaning ?? name.replaceAll("_", " ");
}

/** What to do about it; "" when nothing is to be done. */
export function verdictAdvice(verdict: number): string {
  return TEXTS[verdictName(verdict)]?.advice ?? "";
}
