/**
 * Measured streams: iperf3 over TCP and UDP, each way, at a bounded rate. Also the stream that must learn the path's MTU.
 */
import { type Check, CheckFailure, type Place } from "../model.ts";
import { expectMatch, lastError, megabytes, throughFault } from "./through.ts";

export interface StreamPlan {
  readonly host: "server" | "far";
  readonly protocol: "tcp" | "udp";
  /** The server sends. */
  readonly isReverse: boolean;
}

interface IperfReport {
  readonly error?: string;
  readonly intervals?: readonly { readonly sum: { readonly bytes: number } }[];
  readonly end?: {
    readonly sum_received?: { readonly bytes: number; readonly bits_per_second: number };
    readonly sum?: { readonly packets: number; readonly lost_packets: number };
  };
}

const DATAGRAM_BYTES = 1200;
const CONNECT_MS = "8000";
/** Lost datagrams that no fault explains: none, but a machine that is busy may overrun a socket's buffer. */
const LOST_SHARE_MAX = 0.01;

export const STREAM_CHECKS: readonly Check[] = [
  streamCheck("iperf-tcp-up", "iperf3 TCP, client to server", { protocol: "tcp", isReverse: false }),
  streamCheck("iperf-tcp-down", "iperf3 TCP, server to client", { protocol: "tcp", isReverse: true }),
  streamCheck("iperf-udp-up", "iperf3 UDP, client to server", { protocol: "udp", isReverse: false }),
  streamCheck("iperf-udp-down", "iperf3 UDP, server to client", { protocol: "udp", isReverse: true }),
];

function streamCheck(name: string, what: string, plan: Omit<StreamPlan, "host">): Check {
  return { name, what, run: (place) => stream(place, { ...plan, host: "server" }) };
}

/** Runs one stream and answers what arrived. */
export async function stream(place: Place, { host, protocol, isReverse }: StreamPlan): Promise<string> {
  const port = place.nextPort();
  const server = place.start(host, ["iperf3", "-s", "-1", "-p", String(port)]);
  try {
    await place.listening(host, port);
    const client = place.start("client", [
      ...["iperf3", "-c", place.at[host], "-p", String(port), "-J", "--connect-timeout", CONNECT_MS],
      ...["-t", String(place.seconds), "-b", String(place.bytesPerSecond * 8)],
      ...(protocol === "udp" ? ["-u", "-l", String(DATAGRAM_BYTES)] : []),
      ...(isReverse ? ["-R"] : []),
    ]);
    const { out } = await throughFault(place, client);
    return judgeStream(place, protocol, out);
  } finally {
    await server.end();
  }
}

/** What iperf3's JSON says. Pure. */
export function judgeStream(
  place: Pick<Place, "seconds" | "during" | "silenceMsMax">,
  protocol: "tcp" | "udp",
  json: string,
): string {
  expectMatch(json, /^\s*\{/, "iperf3 said nothing");
  const { error, intervals = [], end } = JSON.parse(json) as IperfReport;
  if (error !== undefined) throw new CheckFailure(lastError(error));
  if (protocol === "udp") return judgeDatagrams(place, end?.sum);
  const bytes = end?.sum_received?.bytes ?? 0;
  const rate = ((end?.sum_received?.bits_per_second ?? 0) / 1e6).toFixed(0);
  const stalled = intervals.filter(({ sum }) => sum.bytes === 0).length;
  if (bytes === 0) throw new CheckFailure("nothing arrived");
  if (intervals.at(-1)?.sum.bytes === 0) throw new CheckFailure(`stalled after ${megabytes(bytes)}`);
  return `${megabytes(bytes)}, ${rate} Mbit/s${stalled > 0 ? `, ${stalled} s without a byte` : ""}`;
}

function judgeDatagrams(
  { seconds, during, silenceMsMax }: Pick<Place, "seconds" | "during" | "silenceMsMax">,
  sum: { readonly packets: number; readonly lost_packets: number } | undefined,
): string {
  const { packets, lost_packets: lost } = sum ?? { packets: 0, lost_packets: 0 };
  if (packets === 0) throw new CheckFailure("no datagram arrived");
  const silence = during === "nothing" ? 0 : silenceMsMax / (seconds * 1000);
  const most = Math.ceil(packets * (LOST_SHARE_MAX + silence));
  const line = `${lost} of ${packets} datagrams lost`;
  if (lost > most) throw new CheckFailure(`${line}, at most ${most} may be`);
  return line;
}
