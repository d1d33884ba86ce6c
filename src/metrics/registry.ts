/**
 * Registry: the catalogue in Prometheus' text exposition, through prom-client. Pulls one snapshot per scrape and keeps nothing
 * between scrapes. Owns no metric.
 */
import { type Metric, Registry } from "prom-client";
import { CATALOGUE } from "./catalogue.ts";
import type { MetricEntry, Sample } from "./entry.ts";
import type { Buckets } from "./histogram.ts";
import type { MetricsSnapshot } from "./snapshot.ts";

/** Where the numbers come from; called once per scrape. */
export type MetricsSource = () => MetricsSnapshot;

export class Metrics {
  readonly #registry = new Registry();
  readonly #source: MetricsSource;
  #snapshot: MetricsSnapshot | undefined;

  constructor(source: MetricsSource) {
    this.#source = source;
    for (const area of CATALOGUE) for (const entry of area.entries) this.#register(entry);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The exposition of this moment. */
  text(): Promise<string> {
    this.#snapshot = this.#source();
    return this.#registry.metrics();
  }

  /** prom-client asks a metric for its values through get(): answering it is all that a pulled metric must do. */
  #register(entry: MetricEntry): void {
    const { name, help, type } = entry;
    const pulled = {
      name,
      get: async () => ({ name, help, type, values: this.#values(entry), aggregator: "sum" as const }),
    };
    this.#registry.registerMetric(pulled as unknown as Metric<string>);
  }

  #values(entry: MetricEntry): PromValue[] {
    if (this.#snapshot === undefined) return [];
    return entry.read(this.#snapshot).flatMap((sample) => promValues(entry.name, sample));
  }
}

interface PromValue {
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

function promValues(name: string, { labels, value }: Sample): PromValue[] {
  return typeof value === "number" ? [{ labels, value }] : histogramValues(name, labels, value);
}

function histogramValues(name: string, labels: Sample["labels"], histogram: Buckets): PromValue[] {
  const bucket = (le: string, value: number): PromValue => ({
    metricName: `${name}_bucket`,
    labels: { ...labels, le },
    value,
  });
  return [
    ...histogram.bounds.map((bound, i) => bucket(String(bound), histogram.counts[i]!)),
    bucket("+Inf", histogram.count),
    { metricName: `${name}_sum`, labels, value: histogram.sum },
    { metricName: `${name}_count`, labels, value: histogram.count },
  ];
}
