import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ROOT_DIRECTORY } from "../../../config/version.ts";
import { counterIndex, EXTRA_COUNTERS } from "../../../src/dataplane/counters.ts";
import * as verdicts from "../../../src/dataplane/verdict.ts";
import { CATALOGUE } from "../../../src/metrics/catalogue.ts";
import { metricsDocument } from "../../../src/metrics/document.ts";
import { Metrics } from "../../../src/metrics/registry.ts";
import { PROMTOOL, promtool } from "./promtool.ts";
import { NODE_SNAPSHOT, WITNESS_SNAPSHOT } from "./snapshot.ts";

const entries = CATALOGUE.flatMap((area) => area.entries);

/** The value of the sample whose line begins with `series`. */
function seriesValue(text: string, series: string): number {
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${series} `));
  if (line === undefined) throw new Error(`no series ${series}`);
  return Number(line.slice(series.length + 1));
}

describe("the catalogue", () => {
  test("names every metric once, by the pattern", () => {
    const names = entries.map((entry) => entry.name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^(synwall_[a-z]+(_[a-z]+)+|process_[a-z_]+)$/);
  });

  test("counters, and only counters, end in _total", () => {
    for (const { name, type } of entries)
      expect([name, name.endsWith("_total")]).toEqual([name, type === "counter"]);
  });

  test("shows every cell of the dataplane's counter block exactly once", () => {
    const shown = entries.flatMap((entry) => entry.counters ?? []);
    expect([...shown].sort()).toEqual([...EXTRA_COUNTERS].sort());
  });

  test("shows every verdict that is no drop", () => {
    const known = Object.entries(verdicts)
      .filter(([name, value]) => name.startsWith("VERDICT_") && Number(value) < verdicts.VERDICT_DROP_BASE)
      .map(([name]) => name.replace("VERDICT_", "").toLowerCase());
    const shown = entries
      .find((entry) => entry.name === "synwall_dataplane_verdicts_total")!
      .read(NODE_SNAPSHOT);
    expect(shown.map(({ labels }) => labels["verdict"]).sort()).toEqual(known.sort());
  });

  test("labels by no address but those of pools, and gives exactly the labels that it declares", () => {
    for (const entry of entries) {
      for (const { labels } of entry.read(NODE_SNAPSHOT)) {
        expect([entry.name, Object.keys(labels)]).toEqual([entry.name, [...entry.labels]]);
        if (entry.name.startsWith("synwall_nat_address_")) continue;
        for (const value of Object.values(labels)) expect(value).not.toMatch(/^\d+\.\d+\.\d+\.\d+$/);
      }
    }
  });

  test("has a sample of everything on a node", () => {
    for (const entry of entries)
      expect([entry.name, entry.read(NODE_SNAPSHOT).length > 0]).toEqual([entry.name, true]);
  });

  test("docs/metrics.md is up to date (npm run docs)", () => {
    expect(readFileSync(join(ROOT_DIRECTORY, "docs/metrics.md"), "utf8")).toBe(metricsDocument());
  });
});

describe("the exposition", () => {
  test("reads counters, gauges and drop reasons from their cells", async () => {
    const text = await new Metrics(() => NODE_SNAPSHOT).text();
    expect(seriesValue(text, "synwall_flows_entries")).toBe(1000 + counterIndex("flowsNow"));
    expect(seriesValue(text, "synwall_worker_late_seconds")).toBeCloseTo(
      (1000 + counterIndex("loopLateMsMax")) / 1000,
    );
    expect(seriesValue(text, 'synwall_redirect_frames_total{direction="in",way="zone"}')).toBe(
      1000 + counterIndex("redirectsZoneIn"),
    );
    expect(seriesValue(text, 'synwall_peer_redirect_frames_total{peer="fw2",what="refused"}')).toBe(1);
    verdicts.DROP_REASONS.forEach((reason, i) => {
      expect(seriesValue(text, `synwall_dataplane_drops_total{reason="${reason}"}`)).toBe(
        1000 + verdicts.VERDICT_DROP_BASE + i,
      );
    });
    expect(seriesValue(text, 'synwall_rule_hits_total{rule="default"}')).toBe(9);
  });

  test("shows what ports lost, who refused a stream, and which heartbeats were refused", async () => {
    const text = await new Metrics(() => NODE_SNAPSHOT).text();
    const port = 'synwall_port_lost_frames_total{port="eth1",zone="inside"';
    expect(seriesValue(text, `${port},direction="rx"}`)).toBe(21);
    expect(seriesValue(text, `${port},direction="tx"}`)).toBe(22);
    const refusals = 'synwall_sync_refusals_total{peer="fw2"';
    expect(seriesValue(text, `${refusals},role="sender",reason="version"}`)).toBe(3);
    expect(seriesValue(text, `${refusals},role="receiver",reason="version"}`)).toBe(4);
    expect(seriesValue(text, 'synwall_sync_session_ends_total{peer="fw2",reason="overflow"}')).toBe(1);
    expect(seriesValue(text, 'synwall_heartbeat_refusals_total{reason="version"}')).toBe(2);
  });

  test("tells what replication lost, gave up and found different, each from its own count", async () => {
    const text = await new Metrics(() => NODE_SNAPSHOT).text();
    const values = [
      "synwall_sync_unbacked_records_total",
      "synwall_sync_lost_records_total",
      'synwall_sync_exports_total{outcome="done"}',
      'synwall_sync_exports_total{outcome="expired"}',
      "synwall_sync_handovers_delayed_total",
      "synwall_sync_handovers_incomplete_total",
      "synwall_sync_divergences_total",
      "synwall_sync_copies_incomplete_total",
    ].map((series) => seriesValue(text, series));
    expect(values).toEqual([61, 62, 66, 67, 68, 69, 72, 73]);
  });

  test.each([
    ["node", NODE_SNAPSHOT],
    ["witness", WITNESS_SNAPSHOT],
  ] as const)("tells how a %s's connections and snapshots of the log fared", async (_role, snapshot) => {
    const text = await new Metrics(() => snapshot).text();
    const values = [
      "synwall_transport_connects_total",
      "synwall_transport_disconnects_total",
      'synwall_raft_snapshots_total{outcome="sent"}',
      'synwall_raft_snapshots_total{outcome="received"}',
      'synwall_raft_snapshots_total{outcome="failed"}',
      "synwall_raft_messages_refused_total",
    ].map((series) => seriesValue(text, series));
    expect(values).toEqual([8, 7, 41, 42, 43, 6]);
  });

  test("times are seconds", async () => {
    const text = await new Metrics(() => NODE_SNAPSHOT).text();
    expect(seriesValue(text, 'synwall_sync_lag_seconds{peer="fw2"}')).toBe(0.0015);
    expect(seriesValue(text, "synwall_lease_remaining_seconds")).toBe(0.143);
  });

  test("histograms are cumulative and end in +Inf", async () => {
    const text = await new Metrics(() => NODE_SNAPSHOT).text();
    const bucket = (le: string): number =>
      seriesValue(text, `synwall_sync_ack_seconds_bucket{peer="fw2",le="${le}"}`);
    expect([bucket("0.0002"), bucket("0.0005"), bucket("5"), bucket("+Inf")]).toEqual([0, 2, 2, 3]);
    expect(seriesValue(text, 'synwall_sync_ack_seconds_count{peer="fw2"}')).toBe(3);
    expect(seriesValue(text, 'synwall_sync_ack_seconds_sum{peer="fw2"}')).toBeCloseTo(9.0008);
  });

  test("a witness shows no dataplane, and a scrape asks for one snapshot", async () => {
    let asked = 0;
    const metrics = new Metrics(() => {
      asked++;
      return WITNESS_SNAPSHOT;
    });
    const text = await metrics.text();
    expect(asked).toBe(1);
    expect(text).not.toMatch(/^synwall_(flows|dataplane|lease|sync_(handovers|exports|divergences))/m);
    expect(seriesValue(text, 'synwall_cluster_members{state="down"}')).toBe(1);
    expect(metrics.contentType).toContain("text/plain");
  });

  test.skipIf(PROMTOOL === undefined).each([
    ["node", NODE_SNAPSHOT],
    ["witness", WITNESS_SNAPSHOT],
  ] as const)("promtool finds nothing to say about a %s's", async (_role, snapshot) => {
    const text = await new Metrics(() => snapshot).text();
    expect(promtool(["check", "metrics"], text)).toEqual({ status: 0, text: "" });
  });
});
