/**
 * Ping: what the system's `ping` says at its end, as numbers. Pure.
 */
export interface PingReport {
  readonly sent: number;
  readonly received: number;
  readonly duplicated: number;
  readonly rttMsMax: number;
}

/** Reads the summary of iputils' ping; all zero when there is none. */
export function parsePing(text: string): PingReport {
  const counts = /(\d+) packets transmitted, (\d+) received(?:, \+(\d+) duplicates)?/.exec(text);
  const rtt = /= [\d.]+\/[\d.]+\/([\d.]+)\//.exec(text);
  return {
    sent: Number(counts?.[1] ?? 0),
    received: Number(counts?.[2] ?? 0),
    duplicated: Number(counts?.[3] ?? 0),
    rttMsMax: Number(rtt?.[1] ?? 0),
  };
}
