/**
 * Ping: what the system's `ping` says at its end, as numbers. Pure.
 */
export interface PingReport {
  readonly sent: number;
  readonly received: number;
  readonly duplicated: number;
  readonly rttMsMax: number;
}

/**
 * Reads what iputils' ping said until it was interrupted; all zero when it gave no summary. The last request may have been
 * under way at that moment: unanswered, it does not count as sent.
 */
export function parsePing(text: string): PingReport {
  const counts = /(\d+) packets transmitted, (\d+) received(?:, \+(\d+) duplicates)?/.exec(text);
  const rtt = /= [\d.]+\/[\d.]+\/([\d.]+)\//.exec(text);
  const sent = Number(counts?.[1] ?? 0);
  const lastAnswered = Math.max(0, ...[...text.matchAll(/icmp_seq=(\d+)/g)].map(([, seq]) => Number(seq)));
  return {
    sent: lastAnswered > 0 && lastAnswered === sent - 1 ? lastAnswered : sent,
    received: Number(counts?.[2] ?? 0),
    duplicated: Number(counts?.[3] ?? 0),
    rttMsMax: Number(rtt?.[1] ?? 0),
  };
}
