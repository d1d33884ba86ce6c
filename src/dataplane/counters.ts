/**
 * Counters: one Float64Array over shared memory; the worker adds, the main thread reads. A number never goes back.
 * Owns the index of each counter and gauge; names and help texts of metrics live in metrics/catalogue.ts.
 */
import { DROP_REASONS, VERDICT_DROP_BASE } from "./verdict.ts";

/** Slots 0..VERDICT_DROP_BASE + reasons - 1 count verdicts; the rest follows. */
export const COUNT_VERDICTS = VERDICT_DROP_BASE + DROP_REASONS.length;

/** Counters and gauges (`*Now`) behind the verdict counters, in order. */
export const EXTRA_COUNTERS = [
  "rxFrames",
  "rxBytes",
  "txFrames",
  "txBytes",
  "flowsNow",
  "flowsCreated",
  "flowsEnded",
  "flowsExpired",
  "flowsTcpNow",
  "flowsUdpNow",
  "flowsIcmpNow",
  "heldNow",
  "heldCommitted",
  "unprotectedNoPeer",
  "unprotectedDeadline",
  "unprotectedHoldFull",
  "changesOut",
  "changesRefused",
  "replicasApplied",
  "replicasStale",
  "replicasRefused",
  "arpAnswered",
  "arpRequests",
  "neighboursNow",
  "announcements",
  "redirectsOut",
  "redirectsIn",
  "redirectsZoneOut",
  "redirectsZoneIn",
  "natPortsNow",
  "icmpErrorsSent",
  "icmpErrorsLimited",
  "loopLateMsMax",
  "loopStalls",
  "poolAvailableNow",
  "poolExhausted",
  "txFull",
  "windowReseeded",
  "holdNow",
  "digestMismatches",
  "heldForNeighbourNow",
  "exportsPendingNow",
  "ruleLogRecords",
  "ruleLogLimited",
  "ruleLogFull",
  "neighboursPendingNow",
  "neighboursEvicted",
  "neighboursRefused",
  "neighbourSolicitations",
  "neighbourAnswered",
  "routerAdvertisements",
  "satellitesNow",
  "policyRechecked",
  "policyEnded",
  "fragmentDatagramsNow",
  "fragmentFramesNow",
  "fragmentDatagramsWhole",
  "fragmentedPackets",
  "halfOpenNow",
  "halfOpenRefusedBySource",
  "halfOpenRefusedByDestination",
  "halfOpenRefusedInAll",
  "sourcesEvicted",
  "unassuredLifePermilleNow",
  "earlyDrops",
  "earlyDropsFailed",
  "synCookiesSent",
  "synCookiesValid",
  "synCookiesInvalid",
  "synProxyOpened",
  "synProxyRefused",
  "synProxyMismatched",
  "expectationsNow",
  "expectationsCreated",
  "expectationsUsed",
  "expectationsExpired",
  "helperEdits",
  "helperRefused",
  "redirectsForged",
  "redirectsReplayed",
  "redirectsKeyless",
  "redirectsClearRefused",
] as const;

export type ExtraCounter = (typeof EXTRA_COUNTERS)[number];

/** Index of an extra counter; for set-up, keep the result in a constant. */
export function counterIndex(name: ExtraCounter): number {
  return COUNT_VERDICTS + EXTRA_COUNTERS.indexOf(name);
}

/** Total cells of a counter block. */
export const COUNTER_CELLS = COUNT_VERDICTS + EXTRA_COUNTERS.length;
