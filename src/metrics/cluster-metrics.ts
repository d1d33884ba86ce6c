/**
 * Cluster metrics: members, peers, Raft, failover. Part of the catalogue, with replication (sync-metrics.ts) in its place.
 */
import type { MemberState } from "../../cluster/control/model.ts";
import type { MetricArea, MetricEntry } from "./entry.ts";
import { labelled, single } from "./entry.ts";
import { buckets, FAILOVER_BOUNDS, FSYNC_BOUNDS } from "./histogram.ts";
import { SYNC_METRICS } from "./sync-metrics.ts";

const MEMBER_STATES: readonly MemberState[] = ["joining", "active", "draining", "drained", "down", "removed"];

const CLUSTER: readonly MetricEntry[] = [
  labelled(
    "gauge",
    "synwall_node_info",
    "1, with what this member is",
    ["cluster", "node", "role", "version", "profile", "driver"],
    ({ info }) => [[[info.cluster, info.node, info.role, info.version, info.profile, info.driver], 1]],
  ),
  single(
    "gauge",
    "synwall_node_ready",
    "1 when this member holds all that it must hold, proven",
    (s) => s.cluster.isReady,
  ),
  single(
    "gauge",
    "synwall_cluster_settled",
    "1 when every slot has a settled owner and, where two nodes are up, a proven backup",
    (s) => s.cluster.isSettled,
  ),
  single(
    "gauge",
    "synwall_cluster_unwitnessed",
    "1 when one more failure would leave no majority",
    (s) => s.cluster.isUnwitnessed,
  ),
  single(
    "gauge",
    "synwall_pair_alone",
    "1 while this node of a pair votes alone: it went on without the other one; only with quorum: pair",
    (s) => s.cluster.pair?.isAlone,
  ),
  single(
    "gauge",
    "synwall_pair_held",
    "1 while the other node of a pair is silent and this one must not go on alone; only with quorum: pair",
    (s) => s.cluster.pair?.isHeld,
  ),
  single(
    "counter",
    "synwall_pair_forced_total",
    "Times that this node of a pair went on alone; only with quorum: pair",
    (s) => s.cluster.pair?.forced,
  ),
  single(
    "counter",
    "synwall_pair_logs_lost_total",
    "Times that this node gave way to the log of the other one, which went on alone; only with quorum: pair",
    (s) => s.cluster.pair?.lost,
  ),
  single(
    "gauge",
    "synwall_cluster_epoch",
    "Number of the slot table that the cluster agreed on",
    (s) => s.cluster.epoch,
  ),
  single(
    "gauge",
    "synwall_cluster_leader_known",
    "1 when this member knows a leader",
    (s) => s.cluster.hasLeader,
  ),
  single(
    "gauge",
    "synwall_cluster_slots_unsynced",
    "Slots of the cluster of which only the owner has a proven copy; 0 while fewer than two nodes are up",
    (s) => s.cluster.slotsUnsynced,
  ),
  labelled("gauge", "synwall_cluster_members", "Members by state", ["state"], ({ cluster }) =>
    MEMBER_STATES.map((state) => [
      [state],
      cluster.memberStates.filter((candidate) => candidate === state).length,
    ]),
  ),
  labelled(
    "gauge",
    "synwall_peer_alive",
    "1 when the peer is heard on at least one link",
    ["peer"],
    ({ peers }) => peers.map((peer) => [[peer.name], peer.isAlive]),
  ),
  labelled(
    "counter",
    "synwall_peer_redirect_frames_total",
    "Frames carried to and from the peer because the slot's owner is another, by what became of them",
    ["peer", "what"],
    ({ peers }) =>
      peers.flatMap(({ name, redirects }) =>
        redirects === undefined
          ? []
          : ([
              [[name, "sent"], redirects.out],
              [[name, "sent_over_zone"], redirects.zoneOut],
              [[name, "taken"], redirects.in],
              [[name, "refused"], redirects.refused],
            ] as const),
      ),
  ),
  labelled(
    "gauge",
    "synwall_peer_path_narrow",
    "1 when frames of the cluster link's full MTU do not come through from the peer: redirected packets go over the zones, or are lost at full size",
    ["peer"],
    ({ peers }) =>
      peers.flatMap(({ name, isPathNarrow }) =>
        isPathNarrow === undefined ? [] : [[[name], isPathNarrow] as const],
      ),
  ),
  labelled(
    "gauge",
    "synwall_peer_cluster_link_late",
    "1 when what goes to the peer over the cluster link comes late or not at all, by its own heartbeats: redirected packets go over the zones",
    ["peer"],
    ({ peers }) =>
      peers.flatMap(({ name, isLate }) => (isLate === undefined ? [] : [[[name], isLate] as const])),
  ),
  labelled(
    "gauge",
    "synwall_peer_link_up",
    "1 when the peer is heard on this link",
    ["peer", "link"],
    ({ peers }) =>
      peers.flatMap((peer) =>
        Object.entries(peer.links).map(([link, isUp]) => [[peer.name, link], isUp] as const),
      ),
  ),
  labelled(
    "counter",
    "synwall_transport_refusals_total",
    "Connections of peers that were refused, by reason",
    ["reason"],
    ({ transport }) => Object.entries(transport.refusals).map(([reason, count]) => [[reason], count]),
  ),
  single(
    "counter",
    "synwall_transport_connects_total",
    "Times that a peer was reached and let this member in",
    (s) => s.transport.connects,
  ),
  single(
    "counter",
    "synwall_transport_disconnects_total",
    "Times that a connection to a peer broke: the cluster link failed, or the peer ended",
    (s) => s.transport.disconnects,
  ),
  labelled(
    "counter",
    "synwall_heartbeat_refusals_total",
    "Heartbeats that were refused, by reason",
    ["reason"],
    ({ heartbeats }) => Object.entries(heartbeats.refused).map(([reason, count]) => [[reason], count]),
  ),
];

const RAFT: readonly MetricEntry[] = [
  single("gauge", "synwall_raft_leader", "1 when this member leads", (s) => s.raft.isLeader),
  single("gauge", "synwall_raft_term", "Raft term", (s) => s.raft.term),
  single(
    "gauge",
    "synwall_raft_commit_index",
    "Index of the last committed entry",
    (s) => s.raft.commitIndex,
  ),
  single(
    "counter",
    "synwall_raft_proposals_total",
    "Commands that this member proposed",
    (s) => s.raft.proposals,
  ),
  single(
    "counter",
    "synwall_raft_proposals_refused_total",
    "Proposals that were refused or not decided in time",
    (s) => s.raft.proposalsRefused,
  ),
  single(
    "counter",
    "synwall_raft_messages_refused_total",
    "Raft messages that this member did not take: malformed ones, commands that it was handed and cannot propose, and what presumes entries that its empty log may have held",
    (s) => s.raft.messagesRefused,
  ),
  labelled(
    "counter",
    "synwall_raft_snapshots_total",
    "Snapshots of the log: taken by another member (sent), not taken by it (failed), and received whole from one (received)",
    ["outcome"],
    ({ transport }) => [
      [["sent"], transport.snapshotsSent],
      [["failed"], transport.snapshotsFailed],
      [["received"], transport.snapshotsReceived],
    ],
  ),
  single("counter", "synwall_raft_messages_sent_total", "Raft messages sent", (s) => s.transport.raftSent),
  single(
    "counter",
    "synwall_raft_messages_received_total",
    "Raft messages received",
    (s) => s.transport.raftReceived,
  ),
  single(
    "counter",
    "synwall_raft_messages_dropped_total",
    "Raft messages not sent: the peer was not connected, or too many waited; Raft sends them again",
    (s) => s.transport.raftDropped,
  ),
  single(
    "gauge",
    "synwall_raft_messages_waiting",
    "Raft messages that wait to leave",
    (s) => s.transport.raftQueued,
  ),
  single(
    "gauge",
    "synwall_raft_proposals_waiting",
    "Commands of this member that wait for a decision",
    (s) => s.raft.proposalsWaiting,
  ),
  single(
    "histogram",
    "synwall_raft_fsync_seconds",
    "Time that the disk took to confirm a write to the log",
    (s) => buckets(s.raft.fsync, FSYNC_BOUNDS),
  ),
];

/** Only where a store of the site keeps the log. */
const STORE: readonly MetricEntry[] = [
  single(
    "gauge",
    "synwall_store_connected",
    "1 when the store that keeps the log answers",
    (s) => s.store?.isConnected,
  ),
  single(
    "gauge",
    "synwall_store_refused",
    "1 when the store holds another log than this member knows, or an older one",
    (s) => s.store?.isRefused,
  ),
  single("counter", "synwall_store_requests_total", "Requests to the store", (s) => s.store?.requests),
  labelled(
    "counter",
    "synwall_store_failures_total",
    "Requests that the store refused, or did not answer in time",
    ["reason"],
    ({ store }) => [
      [["refused"], store?.refused],
      [["unanswered"], store?.unanswered],
    ],
  ),
  single("histogram", "synwall_store_request_seconds", "Time that the store took to answer", (s) =>
    s.store === undefined ? undefined : buckets(s.store.latency, FSYNC_BOUNDS),
  ),
];

const FAILOVER: readonly MetricEntry[] = [
  single(
    "counter",
    "synwall_failover_takeovers_total",
    "Takeovers in which this node gained slots of a dead one",
    (s) => s.failover.takeovers,
  ),
  single(
    "histogram",
    "synwall_failover_detect_seconds",
    "Last sign of life of a node to the judgement that it is dead",
    (s) => buckets(s.failover.detect, FAILOVER_BOUNDS),
  ),
  single("histogram", "synwall_failover_decide_seconds", "Judgement to the committed epoch", (s) =>
    buckets(s.failover.decide, FAILOVER_BOUNDS),
  ),
  single(
    "histogram",
    "synwall_failover_activate_seconds",
    "Committed epoch to deciding the gained slots",
    (s) => buckets(s.failover.activate, FAILOVER_BOUNDS),
  ),
];

export const CLUSTER_METRICS: readonly MetricArea[] = [
  { title: "Members and peers", entries: CLUSTER },
  ...SYNC_METRICS,
  { title: "Raft", entries: RAFT },
  { title: "Store of the site (`control.store: etcd`)", entries: STORE },
  { title: "Failover", entries: FAILOVER },
];
