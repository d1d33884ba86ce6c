/**
 * Limits: what a drill must keep to be passed. One table; the verdict follows from it. Pure.
 */
import type { DrillMeasurement, DrillResult, Scenario } from "./model.ts";

export interface Limits {
  /** Longest outage in either direction. */
  readonly outageMsMax: number;
  /** Probes lost or doubled. */
  readonly lostMax: number;
  readonly duplicatedMax: number;
}

const ANY = Number.POSITIVE_INFINITY;

/** By profile: how long a silent node may go unnoticed decides the outage of `silent`. */
export const LIMITS: Readonly<Record<"lan" | "vm", Readonly<Record<Scenario, Limits>>>> = {
  lan: {
    kill: { outageMsMax: 50, lostMax: ANY, duplicatedMax: 0 },
    silent: { outageMsMax: 120, lostMax: ANY, duplicatedMax: 0 },
    drain: { outageMsMax: 50, lostMax: 0, duplicatedMax: 0 },
    rejoin: { outageMsMax: 50, lostMax: 0, duplicatedMax: 0 },
  },
  vm: {
    kill: { outageMsMax: 120, lostMax: ANY, duplicatedMax: 0 },
    silent: { outageMsMax: 350, lostMax: ANY, duplicatedMax: 0 },
    drain: { outageMsMax: 50, lostMax: 0, duplicatedMax: 0 },
    rejoin: { outageMsMax: 50, lostMax: 0, duplicatedMax: 0 },
  },
};

/** Streams that must stand before the fault, or the drill proves nothing. */
const CONNECTIONS_MIN = 200;

/** The verdict on a measurement. */
export function judge(measured: DrillMeasurement, profile: "lan" | "vm"): DrillResult {
  const reasons = breaches(measured, LIMITS[profile][measured.scenario]);
  return { ...measured, verdict: reasons.length === 0 ? "pass" : "fail", reasons };
}

function breaches(measured: DrillMeasurement, limits: Limits): string[] {
  const { outageMs, packets, connections, visits, download, overlaps, translationsLost, ping } = measured;
  const worstMs = Math.max(outageMs.toServer, outageMs.toClient);
  const checks: readonly [boolean, string][] = [
    [worstMs > limits.outageMsMax, `outage ${worstMs.toFixed(1)} ms, limit ${limits.outageMsMax} ms`],
    [measured.settledMs === null, `the cluster did not settle: ${measured.unsettled}`],
    [packets.sent === 0, "no probe was sent"],
    [packets.lost > limits.lostMax, `${packets.lost} probes lost, limit ${limits.lostMax}`],
    [packets.duplicated > limits.duplicatedMax, `${packets.duplicated} probes doubled`],
    [translationsLost > 0, `${translationsLost} translated addresses changed`],
    [
      connections.established < CONNECTIONS_MIN,
      `only ${connections.established} of ${CONNECTIONS_MIN} connections stood`,
    ],
    [connections.broken > 0, `${connections.broken} connections broken (${counted(connections.reasons)})`],
    [visits.attempted === 0, "no new connection was tried"],
    [visits.failed > 0, `${visits.failed} new connections failed (${counted(visits.reasons)})`],
    [!download.isHashRight, `download damaged${download.error === "" ? "" : ` (${download.error})`}`],
    [ping.sent === 0, "no ping was sent"],
    [overlaps.length > 0, `${overlaps.length} slots had two owners at a time`],
  ];
  return checks.filter(([isBreach]) => isBreach).map(([, reason]) => reason);
}

function counted(reasons: Readonly<Record<string, number>>): string {
  return Object.entries(reasons)
    .map(([reason, count]) => `${reason} ${count}`)
    .join(", ");
}
