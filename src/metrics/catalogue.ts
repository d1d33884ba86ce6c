/**
 * Metric catalogue: every metric that Synwall exposes, declared once: name, type, labels, help, and how it is read from a
 * snapshot. docs/metrics.md is made from it. Owns the vocabulary; exposition is registry.ts.
 *
 * Names are synwall_<area>_<noun>_<unit>[_total], in base units. Labels are bounded: names from the configuration and fixed
 * words, never addresses, except those of NAT pools, which the configuration names too. The metrics of the process itself carry
 * the names that Prometheus clients agree on (process_*).
 */
import { CLUSTER_METRICS } from "./cluster-metrics.ts";
import { DATAPLANE_METRICS } from "./dataplane-metrics.ts";
import { DEFENCE_METRICS } from "./defence-metrics.ts";
import type { MetricArea } from "./entry.ts";
import { MACHINE_METRICS } from "./machine-metrics.ts";
import { PROCESS_METRICS } from "./process-metrics.ts";

export const CATALOGUE: readonly MetricArea[] = [
  ...DATAPLANE_METRICS,
  DEFENCE_METRICS,
  ...CLUSTER_METRICS,
  MACHINE_METRICS,
  PROCESS_METRICS,
];
