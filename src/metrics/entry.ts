/**
 * Entry: what a metric is in the catalogue, and short ways to declare one. Owns no metric.
 */
import { counterIndex, type ExtraCounter } from "../dataplane/counters.ts";
import type { Buckets } from "./histogram.ts";
import type { DataplaneSnapshot, MetricsSnapshot } from "./snapshot.ts";

export type Labels = Readonly<Record<string, string>>;

/** One value of a metric at the time of a scrape. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number | Buckets;
}

export interface MetricEntry {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  /** One sentence, without a full stop. */
  readonly help: string;
  readonly labels: readonly string[];
  /** Cells of the dataplane's counter block that it shows, so that none is forgotten. */
  readonly counters?: readonly ExtraCounter[];
  /** Empty when this member has no such thing (a witness has no dataplane). */
  read(snapshot: MetricsSnapshot): readonly Sample[];
}

export interface MetricArea {
  readonly title: string;
  readonly entries: readonly MetricEntry[];
}

type Reading = number | boolean | Buckets | undefined;
type Type = MetricEntry["type"];

/** A metric without labels; undefined means that this member has no such thing. */
export function single(
  type: Type,
  name: string,
  help: string,
  read: (snapshot: MetricsSnapshot) => Reading,
): MetricEntry {
  return { type, name, help, labels: [], read: (snapshot) => samples(read(snapshot), {}) };
}

/** A metric with labels; `read` answers label values in the order of `labels`, then the reading. */
export function labelled(
  type: Type,
  name: string,
  help: string,
  labels: readonly string[],
  read: (snapshot: MetricsSnapshot) => readonly (readonly [readonly string[], Reading])[],
): MetricEntry {
  return {
    type,
    name,
    help,
    labels,
    read: (snapshot) =>
      read(snapshot).flatMap(([values, reading]) =>
        samples(reading, Object.fromEntries(labels.map((label, i) => [label, values[i] ?? ""]))),
      ),
  };
}

/** One cell of the dataplane's counter block, times `scale` (for units). */
export function cell(type: Type, name: string, help: string, counter: ExtraCounter, scale = 1): MetricEntry {
  const index = counterIndex(counter);
  const read = (dataplane: DataplaneSnapshot | undefined): number | undefined =>
    dataplane === undefined ? undefined : dataplane.counters[index]! * scale;
  return { ...single(type, name, help, (snapshot) => read(snapshot.dataplane)), counters: [counter] };
}

/** Several cells of the counter block under one name, told apart by labels. */
export function cells(
  type: Type,
  name: string,
  help: string,
  labels: readonly string[],
  rows: readonly (readonly [ExtraCounter, ...string[]])[],
): MetricEntry {
  const entry = labelled(type, name, help, labels, ({ dataplane }) =>
    dataplane === undefined
      ? []
      : rows.map(([counter, ...values]) => [values, dataplane.counters[counterIndex(counter)]!]),
  );
  return { ...entry, counters: rows.map(([counter]) => counter) };
}

function samples(reading: Reading, labels: Labels): readonly Sample[] {
  if (reading === undefined) return [];
  return [{ labels, value: typeof reading === "boolean" ? Number(reading) : reading }];
}
