/**
 * Rule log: what rules with `log: true` decided, as records of fixed size in a ring to the main thread, which writes the lines.
 * One record for the first packet of an accepted flow, and one for each packet that such a rule denies. Owns the record and
 * its rate; when there is no room or too much of it, packets go on as ever and the record is counted as refused.
 *
 *   0        8      12                                    16       20          24     28                                  92
 *   | time   | rule | verdict | protocol | from | to zone | ports  | new ports | ICMP | source | destination | new ... | policy |
 *   | f64 ms | i32  | u8      | u8       | u8   | u8      | 2 u16  | 2 u16     | word | four addresses of 4 words       |
 *
 * Words are in the machine's order: both ends are threads of one process. ICMP: ingress port << 16 | type << 8 | code; without
 * ICMP 0xffff for both.
 */
import { type Address, copyAddress, readAddress } from "../base/address.ts";
import type { RecordRing } from "../base/ring.ts";
import { COUNT, count, type EngineContext } from "./context.ts";
import { P_DESTINATION, P_SOURCE, type Packet } from "./packet.ts";
import { TokenBucket } from "./token-bucket.ts";
import type { Translation } from "./translation.ts";

export const RULE_LOG_BYTES = 96;
const RECORD_WORDS = RULE_LOG_BYTES / 4;
const RECORD_DOUBLES = RULE_LOG_BYTES / 8;
const W_RULE = 2;
const W_WHAT = 3;
const W_PORTS = 4;
const W_NEW_PORTS = 5;
const W_ICMP = 6;
/** Source and destination as they came, then after translation. */
const W_ADDRESSES = 7;
const W_POLICY = 23;
const NO_ICMP = 0xffff;

export class RuleLog {
  /** Which policy since start decides now; see flow-maker.ts. */
  policy = 1;
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
  add(packet: Packet, rule: number, verdict: number, toZone: number, translation: Translation): void {
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
    words[word + W_WHAT] = verdict | (packet.ipProtocol << 8) | (packet.zone << 16) | (toZone << 24);
    words[word + W_PORTS] = packet.ports;
    words[word + W_NEW_PORTS] = (translation.sourcePort << 16) | translation.destinationPort;
    const addresses = word + W_ADDRESSES;
    copyAddress(words, addresses, packet.words, P_SOURCE);
    copyAddress(words, addresses + 4, packet.words, P_DESTINATION);
    copyAddress(words, addresses + 8, translation.source, 0);
    copyAddress(words, addresses + 12, translation.destination, 0);
    const icmp = packet.icmpType < 0 ? NO_ICMP : (packet.icmpType << 8) | packet.icmpCode;
    words[word + W_ICMP] = (packet.port << 16) | icmp;
    words[word + W_POLICY] = this.policy;
    ring.publish();
    count(counters, COUNT.ruleLogRecords);
  }
}

/** One end of a logged packet. */
export interface LoggedEnd {
  readonly address: Address;
  readonly port: number;
}

/** A record as the main thread reads it. */
export interface LoggedPacket {
  /** On the worker's clock. */
  readonly atMs: number;
  readonly rule: number;
  /** The policy that the rule is of, as RuleLog.policy says. */
  readonly policy: number;
  readonly verdict: number;
  readonly protocol: number;
  /** Index of the port at which it entered the cluster; other nodes' count for what they redirected. */
  readonly port: number;
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
    const address = (which: number): Address => readAddress(this.#words, (at >> 2) + W_ADDRESSES + which * 4);
    const what = word(W_WHAT);
    const icmp = word(W_ICMP) & 0xffff;
    return {
      atMs: this.#doubles[at >> 3]!,
      rule: word(W_RULE),
      policy: word(W_POLICY),
      verdict: what & 0xff,
      protocol: (what >>> 8) & 0xff,
      port: word(W_ICMP) >>> 16,
      fromZone: (what >>> 16) & 0xff,
      toZone: what >>> 24,
      source: { address: address(0), port: word(W_PORTS) >>> 16 },
      destination: { address: address(1), port: word(W_PORTS) & 0xffff },
      translated: {
        source: { address: address(2), port: word(W_NEW_PORTS) >>> 16 },
        destination: { address: address(3), port: word(W_NEW_PORTS) & 0xffff },
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
