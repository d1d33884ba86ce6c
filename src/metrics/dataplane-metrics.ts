/**
 * Dataplane metrics: packets, flows, NAT, steering, the worker. Part of the catalogue; nothing here on a witness.
 */
import { DROP_REASONS, VERDICT_DROP_BASE, VERDICT_NAMES } from "../dataplane/verdict.ts";
import type { MetricArea, MetricEntry } from "./entry.ts";
import { cell, cells, labelled, single } from "./entry.ts";

const PACKETS: readonly MetricEntry[] = [
  cell("counter", "synwall_dataplane_received_frames_total", "Frames that ports received", "rxFrames"),
  cell("counter", "synwall_dataplane_received_bytes_total", "Bytes of frames that ports received", "rxBytes"),
  cell("counter", "synwall_dataplane_sent_frames_total", "Frames that ports sent", "txFrames"),
  cell("counter", "synwall_dataplane_sent_bytes_total", "Bytes of frames that ports sent", "txBytes"),
  labelled(
    "counter",
    "synwall_dataplane_verdicts_total",
    "Frames that were not dropped, by what became of them",
    ["verdict"],
    ({ dataplane }) =>
      dataplane === undefined
        ? []
        : VERDICT_NAMES.map((name, verdict) => [[name], dataplane.counters[verdict]!]),
  ),
  labelled(
    "counter",
    "synwall_dataplane_drops_total",
    "Frames that were dropped, by reason",
    ["reason"],
    ({ dataplane }) =>
      dataplane === undefined
        ? []
        : DROP_REASONS.map((reason, i) => [[reason], dataplane.counters[VERDICT_DROP_BASE + i]!]),
  ),
  cells(
    "counter",
    "synwall_redirect_frames_total",
    "Frames carried between nodes because the slot's owner is another, by direction and way",
    ["direction", "way"],
    [
      ["redirectsOut", "out", "cluster"],
      ["redirectsIn", "in", "cluster"],
      ["redirectsZoneOut", "out", "zone"],
      ["redirectsZoneIn", "in", "zone"],
    ],
  ),
  cells(
    "counter",
    "synwall_redirect_refused_total",
    "Redirected frames that were not taken, by reason: unsealed ones where they must be sealed, forged, replayed, of a peer that is not proven yet",
    ["reason"],
    [
      ["redirectsClearRefused", "unsealed"],
      ["redirectsForged", "forged"],
      ["redirectsReplayed", "replayed"],
      ["redirectsKeyless", "unproven"],
    ],
  ),
  cell("counter", "synwall_icmp_errors_sent_total", "ICMP errors that the cluster sent", "icmpErrorsSent"),
  cell(
    "counter",
    "synwall_icmp_errors_limited_total",
    "ICMP errors not sent because of their rate limit",
    "icmpErrorsLimited",
  ),
  labelled(
    "gauge",
    "synwall_port_carrier",
    "1 when the interface has a carrier",
    ["port", "zone"],
    ({ dataplane }) => (dataplane?.ports ?? []).map((port) => [[port.name, port.zone], port.carrier]),
  ),
  labelled(
    "gauge",
    "synwall_port_silent",
    "1 when nothing comes through on the interface although it has a carrier, and it is this node's fault",
    ["port", "zone"],
    ({ dataplane }) => (dataplane?.ports ?? []).map((port) => [[port.name, port.zone], port.silent]),
  ),
  labelled(
    "gauge",
    "synwall_port_mtu_bytes",
    "MTU of the interface, as it is now; that of the cluster link must be 62 bytes (sealed: 86) above the largest of the zones",
    ["port", "zone"],
    ({ dataplane }) => (dataplane?.ports ?? []).map((port) => [[port.name, port.zone], port.mtuBytes]),
  ),
  labelled(
    "counter",
    "synwall_port_lost_frames_total",
    "Frames that a port had no room for: received ones (rx) that nobody saw, and sent ones (tx)",
    ["port", "zone", "direction"],
    ({ dataplane }) =>
      (dataplane?.ports ?? []).flatMap(({ name, zone, rxDropped, txDropped }) => [
        [[name, zone, "rx"], rxDropped] as const,
        [[name, zone, "tx"], txDropped] as const,
      ]),
  ),
  labelled(
    "counter",
    "synwall_port_unknown_vlan_frames_total",
    "Frames of a VLAN that is not configured on the interface, counted on the first of its ports",
    ["port", "zone"],
    ({ dataplane }) =>
      (dataplane?.ports ?? []).map(({ name, zone, rxUnknownVlan }) => [[name, zone], rxUnknownVlan]),
  ),
];

const FRAGMENTS: readonly MetricEntry[] = [
  cell(
    "gauge",
    "synwall_fragments_datagrams",
    "Datagrams that wait for their other fragments, or are remembered as refused",
    "fragmentDatagramsNow",
  ),
  cell("gauge", "synwall_fragments_frames", "Fragments that wait for the others", "fragmentFramesNow"),
  cell(
    "counter",
    "synwall_fragments_whole_datagrams_total",
    "Datagrams whose fragments were all there and went on",
    "fragmentDatagramsWhole",
  ),
  cell(
    "counter",
    "synwall_fragments_made_packets_total",
    "IPv4 packets without DF that were larger than the way out and left in fragments",
    "fragmentedPackets",
  ),
];

const FLOWS: readonly MetricEntry[] = [
  cell("gauge", "synwall_flows_entries", "Flows in the table, own and replicated", "flowsNow"),
  single(
    "gauge",
    "synwall_flows_capacity_entries",
    "Flows that the table can hold",
    (s) => s.dataplane?.flowsMax,
  ),
  cells(
    "gauge",
    "synwall_flows_protocol_entries",
    "Flows in the table, by protocol",
    ["protocol"],
    [
      ["flowsTcpNow", "tcp"],
      ["flowsUdpNow", "udp"],
      ["flowsIcmpNow", "icmp"],
    ],
  ),
  cell("counter", "synwall_flows_created_total", "Flows that this node created as owner", "flowsCreated"),
  cell(
    "counter",
    "synwall_flows_ended_total",
    "Flows that this node ended as owner, for whatever reason: time-outs are in it",
    "flowsEnded",
  ),
  cell(
    "counter",
    "synwall_flows_expired_total",
    "Flows that ended by time-out; part of synwall_flows_ended_total",
    "flowsExpired",
  ),
  cell(
    "gauge",
    "synwall_flows_held_packets",
    "Packets that wait for their flow to be on its backup",
    "heldNow",
  ),
  cell(
    "gauge",
    "synwall_flows_held_neighbour_packets",
    "Packets that wait for a neighbour to answer ARP or neighbour discovery",
    "heldForNeighbourNow",
  ),
  cell(
    "counter",
    "synwall_flows_held_committed_total",
    "Held packets that went on once the backup had their flow",
    "heldCommitted",
  ),
  cells(
    "counter",
    "synwall_flows_unprotected_total",
    "Flows that the network came to depend on before a backup had them, by reason",
    ["reason"],
    [
      ["unprotectedNoPeer", "no_peer"],
      ["unprotectedDeadline", "deadline"],
      ["unprotectedHoldFull", "hold_full"],
    ],
  ),
  cell(
    "gauge",
    "synwall_flows_handover_packets",
    "Packets that wait for a slot that is changing hands",
    "holdNow",
  ),
  cell(
    "counter",
    "synwall_flows_window_reseeds_total",
    "TCP windows measured anew after their flow was taken over",
    "windowReseeded",
  ),
  cell(
    "gauge",
    "synwall_flows_satellite_entries",
    "Rows of the flow table that are no connections: NAT bindings, expectations and adjustments of helpers",
    "satellitesNow",
  ),
  cell(
    "counter",
    "synwall_policy_rechecked_total",
    "Flows looked at again because the policy changed",
    "policyRechecked",
  ),
  cell(
    "counter",
    "synwall_policy_ended_total",
    "Flows that ended because the new policy does not allow them",
    "policyEnded",
  ),
  labelled("counter", "synwall_rule_hits_total", "Decisions by rule", ["rule"], ({ dataplane }) =>
    (dataplane?.ruleHits ?? []).map(({ rule, hits }) => [[rule], hits]),
  ),
  cell(
    "counter",
    "synwall_rule_log_records_total",
    "Decisions of rules with log: true that were recorded",
    "ruleLogRecords",
  ),
  cells(
    "counter",
    "synwall_rule_log_refused_total",
    "Decisions of rules with log: true that were not recorded: more than log.flowsPerSecond (rate), or the log is behind (full)",
    ["reason"],
    [
      ["ruleLogLimited", "rate"],
      ["ruleLogFull", "full"],
    ],
  ),
];

const NAT: readonly MetricEntry[] = [
  cell("gauge", "synwall_nat_ports_entries", "Source ports in use on pool addresses", "natPortsNow"),
  single(
    "gauge",
    "synwall_nat_ports_capacity_entries",
    "Source ports of all pool addresses towards one destination",
    (s) => s.dataplane?.natPortsMax,
  ),
  labelled(
    "gauge",
    "synwall_nat_address_ports_entries",
    "Flows and bindings that hold a port of a pool address, own and replicated",
    ["address"],
    ({ dataplane }) =>
      (dataplane?.natAddresses ?? []).map(({ address, portsInUse }) => [[address], portsInUse]),
  ),
  labelled(
    "counter",
    "synwall_nat_address_refused_total",
    "New flows for which no address of their pool had a port, counted on each address of the pool",
    ["address"],
    ({ dataplane }) => (dataplane?.natAddresses ?? []).map(({ address, refused }) => [[address], refused]),
  ),
];

const HELPERS: readonly MetricEntry[] = [
  cell(
    "gauge",
    "synwall_expectations_entries",
    "Connections that helpers expect, own and replicated",
    "expectationsNow",
  ),
  cell(
    "counter",
    "synwall_expectations_created_total",
    "Connections that helpers expected",
    "expectationsCreated",
  ),
  cell(
    "counter",
    "synwall_expectations_used_total",
    "Expected connections that came; one expectation of a call may be used several times",
    "expectationsUsed",
  ),
  cell(
    "counter",
    "synwall_expectations_expired_total",
    "Expectations that ended by time-out, used or not",
    "expectationsExpired",
  ),
  cell("counter", "synwall_helper_edits_total", "Payloads that helpers rewrote", "helperEdits"),
  cell(
    "counter",
    "synwall_helper_refused_total",
    "Announcements that a helper understood and left alone: a foreign address, a limit, no port, no room in the packet",
    "helperRefused",
  ),
];

const STEERING: readonly MetricEntry[] = [
  cell(
    "counter",
    "synwall_arp_answers_total",
    "ARP requests that this node answered for the cluster",
    "arpAnswered",
  ),
  cell(
    "counter",
    "synwall_arp_requests_total",
    "ARP requests that this node sent to find neighbours",
    "arpRequests",
  ),
  cell(
    "counter",
    "synwall_nd_solicitations_total",
    "Neighbour solicitations that this node sent to find IPv6 neighbours",
    "neighbourSolicitations",
  ),
  cell(
    "counter",
    "synwall_nd_answers_total",
    "Neighbour solicitations that this node answered for the cluster",
    "neighbourAnswered",
  ),
  cell(
    "counter",
    "synwall_nd_router_advertisements_total",
    "Router advertisements that this node sent for the cluster",
    "routerAdvertisements",
  ),
  cell("gauge", "synwall_neighbours_entries", "Neighbours that are known or asked for", "neighboursNow"),
  cell(
    "gauge",
    "synwall_neighbours_pending_entries",
    "Neighbours that are being asked for their MAC address",
    "neighboursPendingNow",
  ),
  cell(
    "counter",
    "synwall_neighbours_evicted_total",
    "Neighbours that made room for others",
    "neighboursEvicted",
  ),
  cell(
    "counter",
    "synwall_neighbours_refused_total",
    "Neighbours that were not asked for, because too many are asked for or none could make room",
    "neighboursRefused",
  ),
  cell(
    "counter",
    "synwall_steering_announcements_total",
    "Frames sent to move virtual MACs to this node",
    "announcements",
  ),
  single("gauge", "synwall_slots_owned", "Slots that this node owns", (s) => s.dataplane?.slotsOwned),
  single(
    "gauge",
    "synwall_slots_backed_up",
    "Slots that this node is the backup of",
    (s) => s.dataplane?.slotsBackedUp,
  ),
  single(
    "gauge",
    "synwall_lease_remaining_seconds",
    "Time for which this node may still decide without hearing from a majority",
    (s) => (s.dataplane === undefined ? undefined : Math.max(0, s.dataplane.lease.validForMs) / 1000),
  ),
  single(
    "gauge",
    "synwall_lease_fenced",
    "1 while the lease has run out and this node decides nothing new",
    (s) => s.dataplane?.lease.isFenced,
  ),
];

const WORKER: readonly MetricEntry[] = [
  cell(
    "gauge",
    "synwall_worker_late_seconds",
    "Worst delay of the worker's tick since it started",
    "loopLateMsMax",
    0.001,
  ),
  cell(
    "counter",
    "synwall_worker_stalls_total",
    "Ticks so late that the worker put off judging its peers",
    "loopStalls",
  ),
  single(
    "gauge",
    "synwall_worker_realtime",
    "1 when the worker has real-time scheduling",
    (s) => s.dataplane?.isRealtime,
  ),
  cell("gauge", "synwall_frames_available", "Free frames of the packet pool", "poolAvailableNow"),
  cell(
    "counter",
    "synwall_frames_exhausted_total",
    "Times that the packet pool had no free frame",
    "poolExhausted",
  ),
  cell("counter", "synwall_frames_send_full_total", "Times that a port's send ring had no room", "txFull"),
];

const RINGS: readonly MetricEntry[] = [
  labelled(
    "gauge",
    "synwall_ring_records",
    "Records that wait in a ring between the worker and the main thread",
    ["ring"],
    ({ dataplane }) => (dataplane?.rings ?? []).map(({ name, waiting }) => [[name], waiting]),
  ),
  labelled(
    "gauge",
    "synwall_ring_capacity_records",
    "Records that a ring can hold; what finds it full is counted by its writer",
    ["ring"],
    ({ dataplane }) => (dataplane?.rings ?? []).map(({ name, capacity }) => [[name], capacity]),
  ),
];

const REPLICATION: readonly MetricEntry[] = [
  cell("counter", "synwall_sync_changes_total", "Changes of flows written for replication", "changesOut"),
  cell(
    "counter",
    "synwall_sync_changes_refused_total",
    "Changes that found the ring to replication full; their slots are sent again whole",
    "changesRefused",
  ),
  cell(
    "counter",
    "synwall_sync_replicas_applied_total",
    "Records of peers applied to the table",
    "replicasApplied",
  ),
  cell(
    "counter",
    "synwall_sync_replicas_stale_total",
    "Records of peers that were older than what is held",
    "replicasStale",
  ),
  cell(
    "counter",
    "synwall_sync_replicas_refused_total",
    "Records of peers that could not be applied",
    "replicasRefused",
  ),
  cell(
    "gauge",
    "synwall_sync_exports_pending_slots",
    "Slots that wait to be sent to their backup whole",
    "exportsPendingNow",
  ),
  cell(
    "counter",
    "synwall_sync_digest_mismatches_total",
    "Digests of an owner that the copy here did not match, proven before (synwall_sync_divergences_total) or not yet",
    "digestMismatches",
  ),
];

export const DATAPLANE_METRICS: readonly MetricArea[] = [
  { title: "Packets", entries: PACKETS },
  { title: "Fragments", entries: FRAGMENTS },
  { title: "Flows and rules", entries: FLOWS },
  { title: "NAT", entries: NAT },
  { title: "Helpers", entries: HELPERS },
  { title: "Steering and ownership", entries: STEERING },
  { title: "Worker", entries: WORKER },
  { title: "Rings", entries: RINGS },
  { title: "Replication, seen by the dataplane", entries: REPLICATION },
];
