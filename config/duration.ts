/**
 * Durations as operators write them, in the configuration and on the command line. Owns the notation.
 */
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const DURATION_MAX_MS = 30 * 86_400_000;

/** "5ms", "90s", "5m", "2h", "1d" in milliseconds; 1 ms to 30 days. */
export function parseDurationMs(text: string): number | undefined {
  const match = /^(\d{1,10})(ms|s|m|h|d)$/.exec(text);
  if (match === null) return undefined;
  const ms = Number(match[1]) * UNIT_MS[match[2]!]!;
  return ms >= 1 && ms <= DURATION_MAX_MS ? ms : undefined;
}
