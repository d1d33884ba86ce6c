/**
 * Generator: sequences of packets from a seed. Two simulated ends mostly do what TCP does; now and then a number, a flag or the
 * order is wrong. Domains are small, so that edges of windows are met often. Owns the distribution only.
 */
import { seededRandom } from "../../src/base/env.ts";
import type { Sequence, Side, Step, TcpStep } from "./steps.ts";

const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;
const STEPS_MIN = 3;
const STEPS_MORE = 24;
const ISNS = [1000, 5000, 0, 0x7fffff00, 0xffffff00, 0xfffffffe];
const WINDOWS = [65_535, 65_535, 65_535, 1000, 100, 1, 0];
const SCALES = [undefined, undefined, 0, 2, 7, 14];
const LENGTHS = [1, 10, 1000, 1400];
/** By how much a sequence number or acknowledgement is off. */
const SHIFTS = [
  -1, 1, -2, 2, 10, -10, 999, 1000, 1001, -1000, 65_534, 65_535, 65_536, 65_537, -65_535, -65_537, -66_001,
].concat([-70_000, 100_000, 1 << 20, 1 << 26, 0x40000000, -0x80000000]);
const FLAG_SETS = [
  0,
  FIN,
  SYN,
  RST,
  ACK,
  SYN | ACK,
  FIN | ACK,
  RST | ACK,
  SYN | FIN,
  SYN | RST,
  FIN | RST,
  SYN | FIN | ACK,
].concat([SYN | RST | ACK, FIN | RST | ACK, 8, 32, 8 | ACK, 32 | ACK, 63]);

interface End {
  isn: number;
  /** Next sequence number; equals isn before the SYN. */
  next: number;
  /** What it expects of the other end. */
  expects: number;
  /** Up to where the other end lets it send. */
  limit: number;
  window: number;
  scale: number | undefined;
  isSackOk: boolean;
  hasSyn: boolean;
  hasFin: boolean;
}

type Random = (bound: number) => number;

export function generate(seed: number): Sequence {
  const random = seededRandom(seed);
  const kind = random(20);
  const isClientInside = random(3) > 0;
  const base = { isClientInside, serverPort: random(8) === 0 ? 81 : 80 };
  if (kind < 2) return { ...base, steps: datagrams(random) };
  if (kind < 4) return { ...base, steps: echoes(random) };
  return { ...base, steps: new TcpSequence(random).steps() };
}

/** A TCP connection in which nothing is wrong: no firewall may drop anything of it. */
export function generateRegular(seed: number): Sequence {
  const random = seededRandom(seed);
  return { isClientInside: random(2) === 0, serverPort: 80, steps: new TcpSequence(random).regularSteps() };
}

class TcpSequence {
  readonly #random: Random;
  readonly #ends: Record<Side, End>;
  readonly #steps: Step[] = [];

  constructor(random: Random) {
    this.#random = random;
    this.#ends = { client: this.#newEnd(), server: this.#newEnd() };
  }

  /** Only what TCP does: handshake, data, acknowledgements, retransmissions of the last segment, keep-alives, the end. */
  regularSteps(): Step[] {
    const random = this.#random;
    const count = STEPS_MIN + random(STEPS_MORE);
    for (let i = 0; i < 3; i++) this.#proceed(false);
    while (this.#steps.length < count) {
      const choice = random(10);
      if (choice < 7) this.#proceed(false);
      else if (choice < 8) this.#steps.push(this.#steps.at(-1)!);
      else if (choice < 9) this.#keepAlive(random(2) === 0 ? "client" : "server");
      else this.#finish(random(2) === 0 ? "client" : "server");
    }
    return this.#steps;
  }

  /** A FIN, once, and only where the other end lets it come. */
  #finish(side: Side): void {
    const end = this.#ends[side];
    if (end.hasFin || ((end.limit - end.next) | 0) < 1) this.#proceed(false);
    else this.#send(side, FIN | ACK, 0, false);
  }

  steps(): Step[] {
    const count = STEPS_MIN + this.#random(STEPS_MORE);
    // Most sequences get as far as an established connection, or edges of windows would rarely be met.
    if (this.#random(4) > 0) for (let i = 0; i < 3; i++) this.#proceed();
    while (this.#steps.length < count) this.#act();
    return this.#steps;
  }

  #newEnd(): End {
    const isn = pick(this.#random, ISNS);
    return {
      isn,
      next: isn,
      expects: 0,
      limit: isn,
      window: pick(this.#random, WINDOWS),
      scale: pick(this.#random, SCALES),
      isSackOk: this.#random(2) === 0,
      hasSyn: false,
      hasFin: false,
    };
  }

  #act(): void {
    const random = this.#random;
    const side: Side = random(2) === 0 ? "client" : "server";
    const choice = random(100);
    if (choice < 35) this.#proceed();
    else if (choice < 50) this.#send(side, ACK, pick(random, LENGTHS));
    else if (choice < 55) this.#send(side, ACK, 0);
    else if (choice < 62) this.#send(side, FIN | ACK, random(3) === 0 ? 10 : 0);
    else if (choice < 66) this.#send(side, random(2) === 0 ? RST : RST | ACK, 0);
    else if (choice < 80) this.#distort(side);
    else if (choice < 88) this.#repeat();
    else if (choice < 91) this.#keepAlive(side);
    else if (choice < 95) this.#reopen();
    else if (choice < 97) this.#complain();
    else this.#send(side, pick(random, FLAG_SETS), 0);
  }

  /** The next thing that TCP would do. */
  #proceed(isWild = true): void {
    const { client, server } = this.#ends;
    if (!client.hasSyn) {
      this.#send("client", SYN, 0, isWild);
    } else if (!server.hasSyn) {
      // Now and then both open (RFC 9293 section 3.5, figure 7).
      this.#send("server", isWild && this.#random(8) === 0 ? SYN : SYN | ACK, 0, isWild);
    } else if (client.expects !== server.next) {
      this.#send("client", ACK, 0, isWild);
    } else if (server.expects !== client.next) {
      this.#send("server", ACK, 0, isWild);
    } else {
      const side = this.#random(2) === 0 ? "client" : "server";
      // Behind its FIN a side sends no data.
      const length = this.#ends[side].hasFin && !isWild ? 0 : pick(this.#random, LENGTHS);
      this.#send(side, ACK, length, isWild);
    }
  }

  #segment(from: Side, flags: number, length: number): TcpStep {
    const end = this.#ends[from];
    const other = this.#ends[from === "client" ? "server" : "client"];
    const isSyn = (flags & SYN) !== 0;
    return {
      kind: "tcp",
      from,
      flags,
      seq: (isSyn ? end.isn : end.next) | 0,
      ack: (flags & ACK) !== 0 ? other.next | 0 : 0,
      window: end.window,
      length,
      ...(isSyn && end.scale !== undefined ? { scale: end.scale } : {}),
      ...(isSyn && end.isSackOk ? { isSackOk: true } : {}),
    };
  }

  /** Sends a segment as it should be, and remembers it as sent and received. */
  #send(from: Side, flags: number, length: number, isWild = true): void {
    const end = this.#ends[from];
    const other = this.#ends[from === "client" ? "server" : "client"];
    if (isWild && this.#random(12) === 0) end.window = pick(this.#random, WINDOWS);
    // Now and then an end sends more than it may; a closed window is probed with one byte (RFC 9293 section 3.8.6.1).
    const room = Math.max(1, (end.limit - end.next) | 0);
    const step = this.#segment(
      from,
      flags,
      isWild && this.#random(20) === 0 ? length : Math.min(length, room),
    );
    this.#steps.push(step);
    if ((flags & SYN) !== 0) end.hasSyn = true;
    if ((flags & FIN) !== 0) end.hasFin = true;
    const extra = ((flags & SYN) !== 0 ? 1 : 0) + ((flags & FIN) !== 0 ? 1 : 0);
    const after = (step.seq + step.length + extra) | 0;
    if (((after - end.next) | 0) > 0) end.next = after;
    if ((flags & ACK) !== 0) end.expects = other.next;
    const isScaled = (flags & SYN) === 0 && end.scale !== undefined && other.scale !== undefined;
    const limit = (other.next + (isScaled ? end.window << end.scale! : end.window)) | 0;
    if (((limit - other.limit) | 0) > 0 && ((flags & ACK) !== 0 || !other.hasSyn)) other.limit = limit;
  }

  /** A segment with one or two of its fields wrong. Nobody acts on it. */
  #distort(from: Side): void {
    const random = this.#random;
    const flags = pick(random, [ACK, ACK, ACK, FIN | ACK, RST, RST | ACK, SYN, SYN | ACK]);
    let step = this.#segment(from, flags, random(3) === 0 ? pick(random, LENGTHS) : 0);
    const which = random(5);
    if (which < 2) step = { ...step, seq: (step.seq + pick(random, SHIFTS)) | 0 };
    if (which === 2 || which === 3) step = { ...step, ack: (step.ack + pick(random, SHIFTS)) | 0 };
    if (which === 4) step = { ...step, window: pick(random, WINDOWS) };
    if (random(6) === 0)
      step = { ...step, seq: pick(random, [0, step.seq]), ack: pick(random, [0, step.ack]) };
    if (random(6) === 0 && flags === ACK) {
      const other = this.#ends[from === "client" ? "server" : "client"];
      const left = other.next + pick(random, [-1000, 0, 1, 1000]);
      step = { ...step, sack: [[left | 0, (left + pick(random, [1, 1000])) | 0]] };
    }
    this.#steps.push(step);
  }

  /** An earlier packet again: a retransmission, or one that was late. */
  #repeat(): void {
    if (this.#steps.length === 0) this.#proceed();
    else this.#steps.push(this.#steps[this.#random(this.#steps.length)]!);
  }

  /** RFC 9293 section 3.8.4: one before the next number, with or without a byte. */
  #keepAlive(from: Side): void {
    const step = this.#segment(from, ACK, this.#random(2));
    this.#steps.push({ ...step, seq: (step.seq - 1) | 0 });
  }

  /** A new incarnation on the same tuple, with an ISN above or below the old one's numbers. */
  #reopen(): void {
    const side: Side = this.#random(6) === 0 ? "server" : "client";
    const next = this.#ends[side].next;
    for (const each of ["client", "server"] as const) this.#ends[each] = this.#newEnd();
    const end = this.#ends[side];
    end.isn = (next + pick(this.#random, [1, 1, 100_000, -1, -100_000, 0x40000000, -0x80000000])) | 0;
    end.next = end.isn;
    this.#send(side, SYN, 0);
  }

  /** An ICMP error about an earlier packet. */
  #complain(): void {
    if (this.#steps.length === 0) this.#proceed();
    else this.#steps.push(errorAbout(this.#random, this.#steps));
  }
}

function datagrams(random: Random): Step[] {
  const steps: Step[] = [];
  const count = STEPS_MIN + random(8);
  while (steps.length < count) {
    const from: Side = random(2) === 0 ? "client" : "server";
    if (steps.length > 0 && random(3) === 0) steps.push(errorAbout(random, steps));
    else steps.push({ kind: "udp", from, shift: random(5) === 0 ? 1 : 0 });
  }
  return steps;
}

function echoes(random: Random): Step[] {
  const steps: Step[] = [];
  const count = STEPS_MIN + random(8);
  while (steps.length < count) {
    const from: Side = random(2) === 0 ? "client" : "server";
    const type = pick(random, from === "client" ? [8, 8, 8, 0, 13] : [0, 0, 0, 8, 14]);
    if (steps.length > 0 && random(4) === 0) steps.push(errorAbout(random, steps));
    else steps.push({ kind: "icmp", from, type, id: pick(random, [1, 1, 1, 2]) });
  }
  return steps;
}

function errorAbout(random: Random, steps: readonly Step[]): Step {
  const about = random(steps.length);
  const quoted = steps[about]!;
  if (quoted.kind === "error") return { kind: "udp", from: "client", shift: 0 };
  const back: Side = quoted.from === "client" ? "server" : "client";
  const [type, code] = pick(random, [
    [3, 1],
    [3, 3],
    [3, 4],
    [11, 0],
    [12, 0],
    [4, 0],
    [5, 1],
  ] as const);
  return {
    kind: "error",
    from: random(6) === 0 ? quoted.from : back,
    type,
    code,
    about,
    shift: random(6) === 0 ? 1 : 0,
  };
}

function pick<Value>(random: Random, values: readonly Value[]): Value {
  return values[random(values.length)]!;
}
