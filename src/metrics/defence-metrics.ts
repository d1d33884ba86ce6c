/**
 * Defence metrics: what withstanding load costs and whom. Part of the catalogue; refusals themselves are drop reasons
 * (half_open_limit, source_rate, table_reserved, syn_cookie, syn_proxy).
 */
import type { MetricArea } from "./entry.ts";
import { cell, cells } from "./entry.ts";

export const DEFENCE_METRICS: MetricArea = {
  title: "Withstanding load",
  entries: [
    cell(
      "gauge",
      "synwall_half_open_connections",
      "TCP connections that this node decides and whose handshake is not over",
      "halfOpenNow",
    ),
    cells(
      "counter",
      "synwall_half_open_refused_total",
      "Connections refused because too many are half-open, by whose limit it was",
      ["limit"],
      [
        ["halfOpenRefusedBySource", "source"],
        ["halfOpenRefusedByDestination", "destination"],
        ["halfOpenRefusedInAll", "all"],
      ],
    ),
    cell(
      "counter",
      "synwall_source_rate_evicted_total",
      "Sources forgotten before their new-flow rate had recovered: there were more of them than memory for them",
      "sourcesEvicted",
    ),
    cell(
      "gauge",
      "synwall_flows_unassured_life_ratio",
      "Part of its time-out that an unassured flow gets now; 1 when the table has room",
      "unassuredLifePermilleNow",
      0.001,
    ),
    cells(
      "counter",
      "synwall_flows_early_drops_total",
      "Times that an unassured flow was to make way for another, by whether one was found",
      ["outcome"],
      [
        ["earlyDrops", "found"],
        ["earlyDropsFailed", "none"],
      ],
    ),
    cells(
      "counter",
      "synwall_syn_cookies_total",
      "SYN cookies sent, and acknowledgements that were checked for one",
      ["event"],
      [
        ["synCookiesSent", "sent"],
        ["synCookiesValid", "valid"],
        ["synCookiesInvalid", "invalid"],
      ],
    ),
    cells(
      "counter",
      "synwall_syn_proxy_connections_total",
      "Connections of the SYN proxy: opened, refused by the server, opened with a server that offers less than was promised for it",
      ["outcome"],
      [
        ["synProxyOpened", "opened"],
        ["synProxyRefused", "refused"],
        ["synProxyMismatched", "mismatched"],
      ],
    ),
  ],
};
