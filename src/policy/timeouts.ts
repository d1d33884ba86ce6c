/**
 * Default idle time-outs of tracked flows. Owns the numbers and the rules that they come from.
 *
 * The floors are what a standard demands of a translator; defaults are at or above them:
 *   tcpEstablished  RFC 5382, REQ-5: not less than 2 h 4 min, so that a two-hour keep-alive still finds its flow
 *   tcp transitory  RFC 5382, REQ-5: not less than 4 min for half-open and closing connections
 *   udpReplied      RFC 4787, REQ-5: not less than 2 min, 5 min recommended; a stream is given no less
 *   icmp            RFC 5508, REQ-1a: not less than 60 s
 *
 * One is below what is advised, on purpose: RFC 7857, 2.2 would keep a flow four minutes after a RST; a port of the pool is
 * worth more than that, so tcpClose is 10 s.
 */
import type { TimeoutsMs } from "../dataplane/policy-model.ts";

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;

export const DEFAULT_TIMEOUTS_MS: Required<TimeoutsMs> = {
  tcpSynSent: 4 * MINUTE_MS,
  tcpSynReceived: 4 * MINUTE_MS,
  tcpEstablished: 7440 * SECOND_MS,
  tcpFinWait: 4 * MINUTE_MS,
  tcpCloseWait: 4 * MINUTE_MS,
  tcpLastAck: 4 * MINUTE_MS,
  /** 2 x MSL with the MSL of RFC 9293, 3.4.2 (2 min). */
  tcpTimeWait: 4 * MINUTE_MS,
  /** After a RST: long enough for what is still in flight. */
  tcpClose: 10 * SECOND_MS,
  udpUnreplied: 30 * SECOND_MS,
  udpReplied: 5 * MINUTE_MS,
  udpStream: 5 * MINUTE_MS,
  icmp: MINUTE_MS,
  sctp: 10 * MINUTE_MS,
  gre: 10 * MINUTE_MS,
  esp: 10 * MINUTE_MS,
  /** As UDP that nobody answered, and a minute for tunnels that are slow to begin. */
  otherUnreplied: MINUTE_MS,
  other: 10 * MINUTE_MS,
};

/** A time-out that is not given follows one that is, before it falls back to its default. */
const FOLLOWS: Readonly<Partial<Record<keyof TimeoutsMs, keyof TimeoutsMs>>> = {
  udpStream: "udpReplied",
  sctp: "other",
  gre: "other",
  esp: "other",
};

export const TIMEOUT_NAMES = Object.keys(DEFAULT_TIMEOUTS_MS) as readonly (keyof TimeoutsMs)[];

export function compileTimeouts(
  given: {
    readonly [Name in keyof TimeoutsMs]?: number | undefined;
  },
): Required<TimeoutsMs> {
  const timeouts: Record<keyof TimeoutsMs, number> = { ...DEFAULT_TIMEOUTS_MS };
  for (const name of TIMEOUT_NAMES) {
    const follows = FOLLOWS[name];
    timeouts[name] = given[name] ?? (follows === undefined ? undefined : given[follows]) ?? timeouts[name];
  }
  return timeouts;
}
