/**
 * Sync metrics: replication as its two ends see it: lag, what was sent and received, lost, refused or found different. Part of the catalogue.
 */
import type { RouterCounts } from "../../cluster/sync/router-options.ts";
import type { MetricArea, MetricEntry } from "./entry.ts";
import { labelled, single } from "./entry.ts";
import { type Buckets, buckets, SYNC_ACK_BOUNDS } from "./histogram.ts";
import type { MetricsSnapshot, PeerSnapshot } from "./snapshot.ts";

type Sync = NonNullable<PeerSnapshot["sync"]>;
type Inbound = NonNullable<Sync["inbound"]>;

const SYNC: readonly MetricEntry[] = [
  sync(
    "gauge",
    "synwall_sync_connected",
    "1 when the replication stream to the peer is open",
    (s) => s.isConnected,
  ),
  sync(
    "gauge",
    "synwall_sync_lag_seconds",
    "Age of the oldest change that the peer has not acknowledged; grows while the peer is silent",
    (s) => s.lagMs / 1000,
  ),
  sync(
    "gauge",
    "synwall_sync_lag_records",
    "Changes that the peer has not acknowledged",
    (s) => s.lagRecords,
  ),
  sync(
    "gauge",
    "synwall_sync_lag_bytes",
    "Bytes of changes that the peer has not acknowledged",
    (s) => s.lagBytes,
  ),
  sync(
    "counter",
    "synwall_sync_resyncs_total",
    "Times that slots were sent to the peer again whole",
    (s) => s.resyncs,
  ),
  sync(
    "gauge",
    "synwall_sync_policy_different",
    "1 when the peer's policy means something else by rules, zones or addresses than this node's",
    (s) => s.isPolicyDifferent,
  ),
  sync(
    "histogram",
    "synwall_sync_ack_seconds",
    "Time from a change to its acknowledgement by the peer's dataplane",
    (s) => buckets(s.ack, SYNC_ACK_BOUNDS),
  ),
  sync("counter", "synwall_sync_sent_records_total", "Records sent to the peer", (s) => s.sender.records),
  sync(
    "counter",
    "synwall_sync_resent_records_total",
    "Records sent again after the stream to the peer was built anew",
    (s) => s.sender.recordsResent,
  ),
  sync("counter", "synwall_sync_sent_batches_total", "Batches sent to the peer", (s) => s.sender.batches),
  sync(
    "counter",
    "synwall_sync_links_opened_total",
    "Streams to the peer that came to a welcome",
    (s) => s.sender.linksOpened,
  ),
  sync(
    "counter",
    "synwall_sync_links_silent_total",
    "Streams to the peer that were given up because nothing answered",
    (s) => s.sender.linksSilent,
  ),
  syncBy(
    "synwall_sync_session_ends_total",
    "Times that the backlog towards the peer was given up and its slots were sent again whole, by reason",
    ["reason"],
    (s) => Object.entries(s.sender.sessionEnds).map(([reason, count]) => [[reason], count]),
  ),
  syncBy(
    "synwall_sync_refusals_total",
    "Streams that were refused: as the one who sends to the peer or as the one who receives from it, by reason",
    ["role", "reason"],
    (s) => [
      ...Object.entries(s.sender.refusals).map(([reason, count]) => [["sender", reason], count] as const),
      ...Object.entries(s.inbound?.refusals ?? {}).map(
        ([reason, count]) => [["receiver", reason], count] as const,
      ),
    ],
  ),
  router("synwall_sync_unbacked_records_total", "Changes of slots that had no backup", (c) => c.unbacked),
  router(
    "synwall_sync_lost_records_total",
    "Changes that their peer does not get one by one, since it fell behind or was away: it gets their slots whole",
    (c) => c.lost,
  ),
  labelled(
    "counter",
    "synwall_sync_exports_total",
    "Slots sent to a peer whole: those that it acknowledged (done), and those that took too long and begin anew (expired)",
    ["outcome"],
    ({ replication }) => [
      [["done"], replication?.router.exportsDone],
      [["expired"], replication?.router.exportsExpired],
    ],
  ),
  router(
    "synwall_sync_handovers_delayed_total",
    "Times that handing a slot over had to wait until the new owner got it whole, since changes on their way there were lost",
    (c) => c.barriersOwed,
  ),
  router(
    "synwall_sync_handovers_incomplete_total",
    "Times that a slot was handed over without its last changes, since it did not get there whole in time: flows that changed last may break",
    (c) => c.barriersBare,
  ),
];

const INBOUND: readonly MetricEntry[] = [
  sync(
    "gauge",
    "synwall_sync_received_waiting_records",
    "Records of the peer that wait because the ring to the dataplane is full",
    (s) => s.staged,
  ),
  single(
    "counter",
    "synwall_sync_hello_refusals_total",
    "Streams that were refused before it was known whose they are",
    (s) => s.replication?.hellosRefused,
  ),
  single(
    "counter",
    "synwall_sync_divergences_total",
    "Times that the copy of a slot turned out to differ although it had been proven; it is sent again whole",
    (s) => s.replication?.readiness.divergences,
  ),
  single(
    "counter",
    "synwall_sync_copies_incomplete_total",
    "Times that the copy of a slot turned out not to be whole before it was ever proven, as while a node joins; it is sent again whole",
    (s) => s.replication?.readiness.mismatches,
  ),
  inbound("synwall_sync_received_records_total", "Records received from the peer", (c) => c.records),
  inbound("synwall_sync_received_batches_total", "Batches received from the peer", (c) => c.batches),
  inbound(
    "synwall_sync_received_stale_total",
    "Records left out because the peer has no say in their slots any more",
    (c) => c.stale,
  ),
  inbound(
    "synwall_sync_received_stalls_total",
    "Times that the peer had to wait because the ring to the dataplane was full",
    (c) => c.stalls,
  ),
  inbound(
    "synwall_sync_received_overflows_total",
    "Streams from the peer that were closed because even what may wait was full",
    (c) => c.overflows,
  ),
];

/** A metric of replication, one sample for each peer that is replicated to. */
function sync(
  type: MetricEntry["type"],
  name: string,
  help: string,
  read: (sync: Sync) => number | boolean | Buckets,
): MetricEntry {
  return labelled(type, name, help, ["peer"], ({ peers }: MetricsSnapshot) =>
    peers.flatMap((peer) => (peer.sync === undefined ? [] : [[[peer.name], read(peer.sync)] as const])),
  );
}

/** A counter of replication with labels besides the peer. */
function syncBy(
  name: string,
  help: string,
  labels: readonly string[],
  read: (sync: Sync) => readonly (readonly [readonly string[], number])[],
): MetricEntry {
  return labelled("counter", name, help, ["peer", ...labels], ({ peers }) =>
    peers.flatMap((peer) =>
      peer.sync === undefined
        ? []
        : read(peer.sync).map(([values, count]) => [[peer.name, ...values], count] as const),
    ),
  );
}

/** A counter of what goes out, to all peers together. */
function router(name: string, help: string, read: (counts: RouterCounts) => number): MetricEntry {
  return single("counter", name, help, ({ replication }) =>
    replication === undefined ? undefined : read(replication.router),
  );
}

/** A counter of what comes in from each peer. */
function inbound(name: string, help: string, read: (counts: Inbound) => number): MetricEntry {
  return sync("counter", name, help, ({ inbound: counts }) => (counts === undefined ? 0 : read(counts)));
}

export const SYNC_METRICS: readonly MetricArea[] = [
  { title: "Replication, seen by the owner", entries: SYNC },
  { title: "Replication, seen by the backup", entries: INBOUND },
];
