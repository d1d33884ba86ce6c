/**
 * Load client: all TCP traffic of a drill from the inside. Argument: JSON LoadArguments.
 */
import { reportReady, serveControl } from "./child-control.ts";
import { Download, type DownloadReport } from "./download.ts";
import { type StreamReport, Streams } from "./streams.ts";
import { type VisitReport, Visits } from "./visits.ts";

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
  result: () => ({ streams: streams.report(), visits: visits?.report(), download: download?.report() }),
});
