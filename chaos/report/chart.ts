/**
 * Chart: time series as SVG text, drawn here so that a report needs no script and no network. Pure.
 * Colours are CSS variables of the page (page.ts).
 */
export interface Series {
  readonly name: string;
  /** CSS colour. */
  readonly color: string;
  /** [x, y], x ascending. */
  readonly points: readonly (readonly [number, number])[];
}

export interface Marker {
  readonly x: number;
  readonly label: string;
}

export interface ChartOptions {
  readonly title: string;
  readonly unit: string;
  /** "line": steps, each by itself. "stack": steps on top of each other, filled. */
  readonly kind: "line" | "stack";
  readonly series: readonly Series[];
  readonly markers: readonly Marker[];
  /** Seconds of the x axis. */
  readonly fromS: number;
  readonly toS: number;
  /** A horizontal line that must not be crossed. */
  readonly limit?: number;
}

const WIDTH = 720;
const HEIGHT = 200;
const LEFT = 46;
const RIGHT = 12;
const TOP = 30;
const BOTTOM = 24;
const TICKS = 4;
/** No chart shows less than this, or noise would fill it. */
const TOP_VALUE_MIN = 5;

export function chart(options: ChartOptions): string {
  const layers = options.kind === "stack" ? stacked(options.series) : options.series;
  const highest = Math.max(
    TOP_VALUE_MIN,
    options.limit ?? 0,
    ...layers.flatMap(({ points }) => points.filter(([x]) => isShown(x, options)).map(([, y]) => y)),
  );
  const top = niceCeiling(highest);
  const scale: Scale = {
    x: (s) => LEFT + ((s - options.fromS) / (options.toS - options.fromS)) * (WIDTH - LEFT - RIGHT),
    y: (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM),
  };
  return [
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeText(options.title)}">`,
    `<text class="title" x="${LEFT}" y="14">${escapeText(options.title)}</text>`,
    legend(options.series),
    grid(scale, top, options),
    ...(options.kind === "stack"
      ? layers.map((each) => area(each, scale, options)).reverse()
      : layers.map((each) => line(each, scale, options))),
    limitLine(scale, options.limit),
    ...options.markers.map((marker, i) => markerLine(marker, i, scale)),
    "</svg>",
  ].join("\n");
}

export function escapeText(text: string): string {
  return text.replace(
    /[&<>"]/g,
    (char) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[char] ?? char,
  );
}

/** The smallest of 1, 2, 2.5, 5, 8 times a power of ten that is at least `value`. */
export function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 2.5, 5, 8, 10].find((each) => each * power >= value) ?? 10;
  return step * power;
}

interface Scale {
  x(seconds: number): number;
  y(value: number): number;
}

function legend(series: readonly Series[]): string {
  let x = WIDTH - RIGHT;
  const entries = series.toReversed().map(({ name, color }) => {
    x -= 7 * name.length + 22;
    return `<rect x="${x}" y="6" width="9" height="9" rx="2" fill="${color}"/><text x="${x + 13}" y="14">${escapeText(name)}</text>`;
  });
  return entries.join("");
}

function grid(scale: Scale, top: number, { unit, fromS, toS }: ChartOptions): string {
  const parts: string[] = [];
  for (let i = 0; i <= TICKS; i++) {
    const value = (top * i) / TICKS;
    const y = scale.y(value).toFixed(1);
    parts.push(`<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y}" y2="${y}"/>`);
    parts.push(
      `<text class="tick" text-anchor="end" x="${LEFT - 6}" y="${Number(y) + 4}">${label(value)}</text>`,
    );
  }
  const stepS = niceCeiling(Math.max(1, (toS - fromS) / 8));
  for (let s = Math.ceil(fromS / stepS) * stepS; s <= toS; s += stepS) {
    parts.push(
      `<text class="tick" text-anchor="middle" x="${scale.x(s).toFixed(1)}" y="${HEIGHT - 8}">${label(s)} s</text>`,
    );
  }
  parts.push(
    `<text class="tick" text-anchor="end" x="${LEFT - 6}" y="${TOP - 8}">${escapeText(unit)}</text>`,
  );
  return parts.join("");
}

/** A value holds until the next one: a gap of a second is a plateau of a second, not a slope. */
function line({ points, color }: Series, scale: Scale, options: ChartOptions): string {
  const shown = points.filter(([x]) => isShown(x, options));
  const first = shown[0];
  if (first === undefined) return "";
  return `<path d="M${scale.x(first[0]).toFixed(1)},${scale.y(first[1]).toFixed(1)}${steps(shown.slice(1), scale)}" fill="none" stroke="${color}" stroke-width="1.2"/>`;
}

/** Filled down to the axis; layers are drawn from the highest to the lowest, so each shows its own part. */
function area({ points, color }: Series, scale: Scale, options: ChartOptions): string {
  const shown = points.filter(([x]) => isShown(x, options));
  const first = shown[0];
  if (first === undefined) return "";
  const base = scale.y(0).toFixed(1);
  const start = `M${scale.x(first[0]).toFixed(1)},${base}V${scale.y(first[1]).toFixed(1)}`;
  return `<path d="${start}${steps(shown.slice(1), scale)}H${scale.x(options.toS).toFixed(1)}V${base}Z" fill="${color}"/>`;
}

function steps(points: readonly (readonly [number, number])[], scale: Scale): string {
  return points.map(([x, y]) => `H${scale.x(x).toFixed(1)}V${scale.y(y).toFixed(1)}`).join("");
}

function stacked(series: readonly Series[]): Series[] {
  const sums = new Map<number, number>();
  return series.map(({ points, ...rest }) => ({
    ...rest,
    points: points.map(([x, y]) => {
      const sum = (sums.get(x) ?? 0) + y;
      sums.set(x, sum);
      return [x, sum] as const;
    }),
  }));
}

function limitLine(scale: Scale, limit: number | undefined): string {
  if (limit === undefined) return "";
  const y = scale.y(limit).toFixed(1);
  return `<line class="limit" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y}" y2="${y}"/><text class="limit-text" text-anchor="end" x="${WIDTH - RIGHT}" y="${Number(y) - 4}">limit ${label(limit)}</text>`;
}

/** Labels of close markers go below each other. */
function markerLine({ x, label: text }: Marker, index: number, scale: Scale): string {
  const at = scale.x(x).toFixed(1);
  return `<line class="marker" x1="${at}" x2="${at}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/><text class="marker-text" x="${Number(at) + 4}" y="${TOP + 10 + 13 * index}">${escapeText(text)}</text>`;
}

function isShown(x: number, { fromS, toS }: ChartOptions): boolean {
  return x >= fromS && x <= toS;
}

function label(value: number): string {
  return String(Math.round(value * 100) / 100);
}
