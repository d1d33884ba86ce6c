/**
 * Gaps: how long a stream of probes was interrupted, computed from both ends' records. Pure.
 *
 * The raw gap is the longest time between two consecutive arrivals. It can be longer than the outage of the network for two
 * reasons that are not the network's, and these are subtracted, and no more:
 *
 *   - the sender stalled right after the last probe that got through, or right before the first one that did again: while it
 *     sent nothing, nothing could arrive. A stall between two lost probes is within the outage and counts.
 *   - the receiver stalled when the first probe arrived: it cannot have arrived before it was sent plus the shortest way, nor
 *     before the receiver had read all there was.
 *
 *   sent      | | | x x x x | |
 *   arrived   | | |----------|-|     gap = outage
 *
 * On a full machine both ends stall at a time: what explains a gap are spans of time, which may overlap.
 */

/** Probes are sent so often, and read so often; what is within it is no stall. */
const NOMINAL_MS = 1;

export interface Stream {
  /** Sequence number -> it was sent not before, and not after. */
  readonly sentAtMs: readonly number[];
  readonly sentByMs: readonly number[];
  /** In order of arrival. */
  readonly heard: readonly number[];
  readonly heardAtMs: readonly number[];
  /** Times at which the receiver had just read all there was, ascending: long pauses are its stalls. */
  readonly receiverReadMs: readonly number[];
}

export interface Gap {
  /** What the network was silent for at most. */
  readonly outageMs: number;
  readonly startsAtMs: number;
  /** Longest time between arrivals as heard, with the ends' own stalls: not necessarily at the same place. */
  readonly rawMs: number;
}

export interface StreamCounts {
  readonly sent: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly reordered: number;
}

/** Longest gap that overlaps [fromMs, toMs]; what of a gap lies behind `toMs` does not count. */
export function longestGap(stream: Stream, fromMs: number, toMs: number): Gap {
  const shortestMs = shortestWay(stream);
  let longest: Gap = { outageMs: 0, rawMs: 0, startsAtMs: fromMs };
  for (const gap of eachGap(stream, toMs)) {
    if (gap.endMs < fromMs || gap.startMs > toMs) continue;
    const counted: Span = [gap.startMs, Math.min(gap.endMs, toMs)];
    const rawMs = counted[1] - counted[0];
    if (rawMs > longest.rawMs) longest = { ...longest, rawMs };
    if (rawMs <= longest.outageMs) continue;
    const stalls = [...senderStalls(stream, gap), ...receiverStalls(stream, gap, shortestMs)];
    const outageMs = rawMs - coveredMs(counted, stalls);
    if (outageMs > longest.outageMs) longest = { ...longest, outageMs, startsAtMs: gap.startMs };
  }
  return longest;
}

/** Counts over the probes that were sent within [fromMs, toMs]. */
export function countStream(stream: Stream, fromMs: number, toMs: number): StreamCounts {
  const copies = new Uint8Array(stream.sentAtMs.length);
  let reordered = 0;
  let highest = -1;
  for (const sequence of stream.heard) {
    if (sequence < copies.length && copies[sequence]! < 255) copies[sequence]!++;
    if (sequence < highest && isWithin(stream.sentAtMs[sequence], fromMs, toMs)) reordered++;
    highest = Math.max(highest, sequence);
  }
  let sent = 0;
  let lost = 0;
  let duplicated = 0;
  stream.sentAtMs.forEach((atMs, sequence) => {
    if (!isWithin(atMs, fromMs, toMs)) return;
    sent++;
    if (copies[sequence] === 0) lost++;
    duplicated += Math.max(0, copies[sequence]! - 1);
  });
  return { sent, lost, duplicated, reordered };
}

/** Time between arrivals, for a plot: the largest in each bucket of `bucketMs`, [start of bucket, gap]. */
export function gapsOverTime(
  stream: Stream,
  fromMs: number,
  toMs: number,
  bucketMs: number,
): [number, number][] {
  const buckets = new Map<number, number>();
  for (const gap of eachGap(stream, toMs)) {
    if (gap.startMs < fromMs || gap.startMs > toMs) continue;
    const bucket = Math.floor((gap.startMs - fromMs) / bucketMs);
    buckets.set(bucket, Math.max(buckets.get(bucket) ?? 0, gap.endMs - gap.startMs));
  }
  return [...buckets].sort((a, b) => a[0] - b[0]).map(([bucket, ms]) => [bucket * bucketMs, ms]);
}

interface Silence {
  readonly startMs: number;
  readonly endMs: number;
  /** Highest sequence number heard before, and the one that ended it (-1: nothing ended it). */
  readonly before: number;
  readonly after: number;
}

function* eachGap(stream: Stream, toMs: number): Generator<Silence> {
  let before = -1;
  let startMs = Number.NaN;
  for (let i = 0; i < stream.heard.length; i++) {
    const atMs = stream.heardAtMs[i]!;
    const sequence = stream.heard[i]!;
    if (before >= 0) yield { startMs, endMs: atMs, before, after: sequence };
    startMs = atMs;
    before = Math.max(before, sequence);
  }
  // Silence to the end is an outage, too, if something was still sent.
  const lastSentMs = Math.min(toMs, stream.sentAtMs.at(-1) ?? toMs);
  if (before < 0)
    yield { startMs: stream.sentAtMs[0] ?? lastSentMs, endMs: lastSentMs, before: -1, after: -1 };
  else if (lastSentMs > startMs) yield { startMs, endMs: lastSentMs, before, after: -1 };
}

/** From, to. */
type Span = readonly [number, number];

/** The sender's own stalls at the two edges. */
function senderStalls({ sentAtMs, sentByMs }: Stream, { before, after }: Silence): Span[] {
  if (before < 0 || after <= before) return []; // Late arrivals and open ends have no such edges.
  const edges = after === before + 1 ? [after] : [before + 1, after];
  return edges.flatMap((edge): Span[] => {
    const from = sentAtMs[edge - 1];
    const to = sentByMs[edge];
    return from === undefined || to === undefined ? [] : [[from + NOMINAL_MS, to]];
  });
}

/** The receiver's stall at the end. */
function receiverStalls(stream: Stream, { after, endMs }: Silence, shortestMs: number): Span[] {
  const sentMs = stream.sentAtMs[after];
  if (sentMs === undefined) return [];
  const readMs = stream.receiverReadMs[countBefore(stream.receiverReadMs, endMs) - 1] ?? endMs;
  return [[Math.max(sentMs + shortestMs, readMs) + NOMINAL_MS, endMs]];
}

/** How much of `whole` the spans cover together; one that ends before it begins covers nothing. */
function coveredMs([fromMs, toMs]: Span, spans: readonly Span[]): number {
  let covered = 0;
  let reachedMs = fromMs;
  for (const [from, to] of spans.toSorted((a, b) => a[0] - b[0])) {
    const end = Math.min(to, toMs);
    const start = Math.max(from, reachedMs);
    if (end <= start) continue;
    covered += end - start;
    reachedMs = end;
  }
  return covered;
}

function shortestWay(stream: Stream): number {
  let shortest = Number.POSITIVE_INFINITY;
  stream.heard.forEach((sequence, i) => {
    const sentMs = stream.sentAtMs[sequence];
    if (sentMs !== undefined) shortest = Math.min(shortest, stream.heardAtMs[i]! - sentMs);
  });
  return Number.isFinite(shortest) ? Math.max(0, shortest) : 0;
}

/** How many of the ascending `times` are before `atMs`. */
function countBefore(times: readonly number[], atMs: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (times[middle]! < atMs) low = middle + 1;
    else high = middle;
  }
  return low;
}

function isWithin(atMs: number | undefined, fromMs: number, toMs: number): boolean {
  return atMs !== undefined && atMs >= fromMs && atMs <= toMs;
}
