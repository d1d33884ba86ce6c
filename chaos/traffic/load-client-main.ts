/**
 * Load client: all TCP traffic of a drill from the inside. Argument: JSON LoadArguments.
 */
import { poll } from "../lab/wait.ts";
import { reportReady, serveControl } from "./child-control.ts";
import { Download } from "./download.ts";
import type { DownloadReport } from "./download-log.ts";
import { type StreamReport, Streams } from "./streams.ts";
import { type VisitReport, Visits } from "./visits.ts";

/** As long as the longest time-out of a visit. */
const GRACE_MS = 8_500;

export interface LoadArguments {
  readonly server: string;
  /** One stream from each; visits take turns. */
  readonly addresses: readonly string[];
  readonly visitsPerSecond: number;
  readonly downloadAddress: string;
}

export interface LoadReport {
  readonly streams: StreamReport;
  readonly visits: VisitReport;
  readonly download: DownloadReport;
}

const given = JSON.parse(process.argv[2] ?? "{}") as LoadArguments;
let visits: Visits | undefined;
let download: Download | undefined;
const streams = new Streams(given.server, given.addresses, () => {
  // Visits begin when the streams stand, so that a full house is what the drill meets.
  visits = new Visits(given.server, given.addresses, given.visitsPerSecond);
  download = new Download(given.server, given.downloadAddress);
  reportReady();
});

serveControl({
  quiet: () => {
    streams.quiet();
    visits?.quiet();
  },
  result: async () => {
    // TCP sends again after ever longer pauses: what is still under way is slow, not broken, until the grace is over.
    await poll(() => streams.isIdle() && visits?.isIdle() === true && download?.isIdle() === true, GRACE_MS);
    return { streams: streams.report(), visits: visits?.report(), download: download?.report() };
  },
});
