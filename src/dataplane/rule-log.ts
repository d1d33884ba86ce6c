/**
 * Rule log: what rules with `log: true` decided, as records of fixed size in a ring to the main thread, which writes the lines.
 * One record for the first packet of an accepted flow, and one for each packet that such a rule denies. Owns the record and
 * its rate; when there is no room or too much of it, packets go on as ever and the record is counted as refused.
 *
 *   0        8      12                                    16       20       24          28       32       36          40
 *   | time   | rule | verdict | protocol | from | to zone | source | dest.  | ports     | source | dest.  | ports     | ICMP |
 *   | f64 ms | i32  | u8      | u8       | u8   | u8      | i32    | i32    | u16, u16  | after translation           | 2 u8 |
 *
 * Words are in the machine's order: both ends are threads of one process. ICMP: type and code; 0xffff without.
 */
import type { RecordRing } from "../base/ring.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import type { Packet } from "./packet.ts";
import { TokenBucket } from "./token-bucket.ts";

export const RULE_LOG_BYTES = 48;
const RECORD_WORDS = RULE_LOG_BYTES / 4;
const RECORD_DOUBLES = RULE_LOG_BYTES / 8;
const W_RULE = 2;
const W_WHAT = 3;
const W_SOURCE = 4;
const W_DESTINATION = 5;
const W_PORTS = 6;
const W_NEW_SOURCE = 7;
const W_NEW_DESTINATION = 8;
const W_NEW_PORTS = 9;
const W_ICMP = 10;
const NO_ICMP = 0xffff;

export class RuleLog {
  readonly #context: EngineContext;
  readonly #ring: RecordRing | undefined;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #rate: TokenBucket;

  constructor(context: EngineContext, ring: RecordRing | undefined, perSecond: number) {
    this.#context = context;
    this.#ring = ring;
    const { words, doubles } = viewsOf(ring);
    this.#words = words;
    this.#doubles = doubles;
    this.#rate = new TokenBucket(perSecond);
  }

  /** Takes note of the packet in hand: `rule` decided on it, `verdict` became of it; what it is called after translation. */
  add(
    packet: Packet,
    rule: number,
    verdict: number,
    toZone: number,
    source: number,
    destination: number,
    ports: number,
  ): void {
    const ring = this.#ring;
    if (ring === undefined) return;
    const { clock, counters } = this.#context;
    if (!this.#rate.take(clock)) {
      count(counters, COUNT.ruleLogLimited);
      return;
    }
    const at = ring.reserve();
    if (at < 0) {
      count(counters, COUNT.ruleLogFull);
      return;
    }
    const words = this.#words;
    const word = at >> 2;
    this.#doubles[at >> 3] = clock[0]!;
    words[word + W_RULE] = rule;
    words[word + W_WHAT] = verdict | (packet.protocol << 8) | (packet.zone << 16) | (toZone << 24);
    words[word + W_SOURCE] = packet.source;
    words[word + W_DESTINATION] = packet.destination;
    words[word + W_PORTS] = packet.ports;
    words[word + W_NEW_SOURCE] = source;
    words[word + W_NEW_DESTINATION] = destination;
    words[word + W_NEW_PORTS] = ports;
    words[word + W_ICMP] = packet.icmpType < 0 ? NO_ICMP : (packet.icmpType << 8) | packet.icmpCode;
    ring.publish();
    count(counters, COUNT.ruleLogRecords);
  }
}

/** One end of a logged packet; the address is unsigned. */
export interface LoggedEnd {
  readonly address: number;
  readonly port: number;
}

/** A record as the main thread reads it. */
export interface LoggedPacket {
  /** On the worker's clock. */
  readonly atMs: number;
  readonly rule: number;
  readonly verdict: number;
  readonly protocol: number;
  readonly fromZone: number;
  readonly toZone: number;
  readonly source: LoggedEnd;
  readonly destination: LoggedEnd;
  readonly translated: { readonly source: LoggedEnd; readonly destination: LoggedEnd };
  readonly icmp: { readonly type: number; readonly code: number } | undefined;
}

/** The consuming end. */
export class RuleLogReader {
  readonly #ring: RecordRing;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;

  constructor(ring: RecordRing) {
    this.#ring = ring;
    const { words, doubles } = viewsOf(ring);
    this.#words = words;
    this.#doubles = doubles;
  }

  /** Records that wait. */
  length(): number {
    return this.#ring.length();
  }

  /** Takes what waits, oldest first, at most `max`. */
  take(max: number): LoggedPacket[] {
    const waiting = Math.min(this.#ring.length(), max);
    const taken = Array.from({ length: waiting }, (_, i) => this.#read(this.#ring.at(i)));
    this.#ring.release(waiting);
    return taken;
  }

  #read(at: number): LoggedPacket {
    const word = (index: number): number => this.#words[(at >> 2) + index]!;
    const what = word(W_WHAT);
    const icmp = word(W_ICMP);
    return {
      atMs: this.#doubles[at >> 3]!,
      rule: word(W_RULE),
      verdict: what & 0xff,
      protocol: (what >>> 8) & 0xff,
      fromZone: (what >>> 16) & 0xff,
      toZone: what >>> 24,
      source: { address: word(W_SOURCE) >>> 0, port: word(W_PORTS) >>> 16 },
      destination: { address: word(W_DESTINATION) >>> 0, port: word(W_PORTS) & 0xffff },
      translated: {
        source: { address: word(W_NEW_SOURCE) >>> 0, port: word(W_NEW_PORTS) >>> 16 },
        destination: { address: word(W_NEW_DESTINATION) >>> 0, port: word(W_NEW_PORTS) & 0xffff },
      },
      icmp: icmp === NO_ICMP ? undefined : { type: icmp >> 8, code: icmp & 0xff },
    };
  }
}

function viewsOf(ring: RecordRing | undefined): { words: Int32Array; doubles: Float64Array } {
  if (ring === undefined) return { words: new Int32Array(0), doubles: new Float64Array(0) };
  const { buffer, byteOffset } = ring.bytes;
  return {
    words: new Int32Array(buffer, byteOffset, RECORD_WORDS * ring.capacity),
    doubles: new Float64Array(buffer, byteOffset, RECORD_DOUBLES * ring.capacity),
  };
}
