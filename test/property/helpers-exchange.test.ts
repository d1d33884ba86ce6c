/**
 * A TCP exchange of two ends that answer each other with segments lost, repeated, cut and reordered, while the FTP helper changes the
 * length of what both say, and other nodes take over in between. Each end must see one stream, whole.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { HELPER_FTP } from "../../src/dataplane/policy-model.ts";
import { FLAG_PSH_ACK, TestPacket } from "../unit/dataplane/helpers/packets.ts";
import { Rig } from "../unit/dataplane/helpers/rig.ts";

interface Net {
  readonly original: string;
  readonly reply: string;
  /** Own and outside address of either end, as text of PORT and of EPRT. */
  readonly own: readonly string[];
  readonly shown: readonly string[];
}

/** Text grows and shrinks: both ends are translated, to longer and to shorter addresses. */
const NETS: readonly Net[] = [
  {
    original: "10.0.0.2:4000 > 203.0.113.100:21",
    reply: "10.9.9.9:2121 > 198.51.100.200:61000",
    own: ["10.0.0.2", "10.9.9.9"],
    shown: ["198.51.100.200", "203.0.113.100"],
  },
  {
    original: "192.168.100.200:4000 > 9.9.9.9:21",
    reply: "192.168.200.100:21 > 1.1.1.1:61000",
    own: ["192.168.100.200", "192.168.200.100"],
    shown: ["1.1.1.1", "9.9.9.9"],
  },
  {
    original: "[fd00:1:2:3:4:5:6:7]:4000 > [2001:db8::9]:21",
    reply: "[fd00::9]:21 > [2001:db8::2]:61000",
    own: ["fd00:1:2:3:4:5:6:7", "fd00::9"],
    shown: ["2001:db8::2", "2001:db8::9"],
  },
];

type Action = readonly [
  "send" | "again" | "deliver" | "lose" | "double" | "ack" | "takeover" | "guest",
  number,
  number,
  number,
];

interface Scenario {
  readonly net: number;
  readonly isn: readonly number[];
  readonly lines: readonly (readonly number[])[];
  /** Segments are whole lines, one each. */
  readonly isStrict: boolean;
  readonly ports: readonly number[];
  readonly actions: readonly Action[];
}

/** A segment on its way, as it left the firewall. */
interface Segment {
  readonly seq: number;
  readonly ack: number;
  readonly data: Uint8Array;
  readonly sack: readonly (readonly [number, number])[];
}

/** One end; positions count from its own first byte, and from the other's. */
class End {
  readonly data: Uint8Array;
  /** Where its lines end. */
  readonly ends: number[] = [];
  next = 0;
  acknowledged = 0;
  readonly sacked = new Set<number>();
  readonly received = new Map<number, number>();
  read = 0;
  readonly isn: number;
  /** The other end's first number, as it is seen here. */
  readonly peerIsn: number;

  constructor(lines: readonly string[], isn: number, peerIsn: number) {
    let at = 0;
    for (const line of lines) this.ends.push((at += line.length));
    this.data = Buffer.from(lines.join(""), "latin1");
    this.isn = isn;
    this.peerIsn = peerIsn;
  }

  get isDone(): boolean {
    return this.acknowledged === this.data.length;
  }

  /** Lines that were sent, of which not all was acknowledged. */
  get unanswered(): number {
    const from = this.ends.filter((at) => at <= this.acknowledged).length;
    return this.ends.filter((_, i) => i >= from && (this.ends[i - 1] ?? 0) < this.next).length;
  }

  /** What it misses in between, as SACK blocks (RFC 2018): at most three. */
  get blocks(): [number, number][] {
    const blocks: [number, number][] = [];
    for (const position of [...this.received.keys()].filter((p) => p >= this.read).sort((a, b) => a - b)) {
      const last = blocks.at(-1);
      if (last !== undefined && last[1] === position) last[1]++;
      else blocks.push([position, position + 1]);
    }
    return blocks.slice(0, 3);
  }

  take({ seq, ack, data, sack }: Segment): void {
    const at = (seq - this.peerIsn) | 0;
    for (let i = 0; i < data.length; i++) {
      const position = at + i;
      if (position < this.read) continue;
      const before = this.received.get(position);
      if (before !== undefined && before !== data[i]) throw new Error(`two bytes at ${position}`);
      this.received.set(position, data[i]!);
    }
    while (this.received.has(this.read)) this.read++;
    const upTo = (ack - this.isn) | 0;
    if (upTo > this.next) throw new Error(`acknowledged ${upTo}, sent ${this.next}`);
    this.acknowledged = Math.max(this.acknowledged, upTo);
    for (const [from, to] of sack) {
      const left = (from - this.isn) | 0;
      const right = (to - this.isn) | 0;
      if (right > this.next) throw new Error(`SACK up to ${right}, sent ${this.next}`);
      for (let position = left; position < right; position++) this.sacked.add(position);
    }
  }

  text(): string {
    return Buffer.from(Array.from({ length: this.read }, (_, i) => this.received.get(i)!)).toString("latin1");
  }
}

class Exchange {
  rig: Rig;
  readonly row: number;
  readonly ends: readonly End[];
  readonly wires: Segment[][] = [[], []];
  readonly #net: Net;
  readonly #ports: readonly number[];

  constructor({ net, isn, lines, ports }: Scenario) {
    this.#net = NETS[net]!;
    this.#ports = ports;
    this.rig = new Rig(HELPER_FTP, { ftpPerMaster: 64 });
    this.rig.ports = [...ports];
    this.row = this.rig.table.flow(6, this.#net.original, this.#net.reply, 1e9);
    const texts = lines.map((kinds, side) => kinds.map((kind, i) => lineOf(this.#net, side, kind, i)));
    this.ends = [0, 1].map((side) => new End(texts[side]!, isn[side]! | 0, isn[1 - side]! | 0));
  }

  /** Puts own bytes [from, to) of a side on the wire, through the firewall. */
  send(side: number, from: number, to: number): void {
    const end = this.ends[side]!;
    end.next = Math.max(end.next, to);
    const numbers = [from + end.isn, end.read + end.peerIsn];
    const blocks = end.blocks.map(([l, r]) => [(l + end.peerIsn) | 0, (r + end.peerIsn) | 0] as const);
    const options =
      blocks.length === 0 ? [] : [1, 1, 5, 2 + 8 * blocks.length, ...blocks.flat().flatMap(u32)];
    const packet = new TestPacket(6, {
      from: this.#net.own[side]!,
      to: this.#net.own[1 - side]!,
      sport: 1,
      dport: 2,
      seq: numbers[0]!,
      ack: numbers[1]!,
      payload: end.data.subarray(from, to),
      flags: FLAG_PSH_ACK,
      options,
    });
    this.rig.process(this.row, side, packet);
    if (this.rig.result === "drop") return;
    expect(packet.faults()).toEqual([]);
    const view = new DataView(packet.bytes.buffer);
    const sack = blocks.map((_, i) => {
      const at = packet.l4At + 24 + 8 * i;
      return [view.getUint32(at), view.getUint32(at + 4)] as const;
    });
    this.wires[side]!.push({ seq: packet.seq, ack: packet.ack, data: packet.payload.slice(), sack });
  }

  step([kind, side, first, second]: Action, isStrict: boolean): void {
    const end = this.ends[side]!;
    const wire = this.wires[side]!;
    const lineEnd = (at: number): number => end.ends.find((position) => position > at) ?? end.data.length;
    if (kind === "send" && end.next < end.data.length) {
      const to = isStrict ? lineEnd(end.next) : Math.min(end.data.length, end.next + 1 + (first % 60));
      this.send(side, end.next, to);
    } else if (kind === "again" && end.next > end.acknowledged) {
      const sent = [0, ...end.ends].filter((position) => position < end.next);
      const from = isStrict ? sent[first % sent.length]! : first % end.next;
      const to = isStrict ? lineEnd(from) : Math.min(end.next, from + 1 + (second % 60));
      this.send(side, from, Math.min(to, end.next));
    } else if (kind === "deliver" && wire.length > 0) {
      this.ends[1 - side]!.take(wire.splice(first % wire.length, 1)[0]!);
    } else if (kind === "lose" && wire.length > 0) {
      wire.splice(first % wire.length, 1);
    } else if (kind === "double" && wire.length > 0) {
      this.ends[1 - side]!.take(wire[first % wire.length]!);
    } else if (kind === "ack") {
      this.send(side, end.next, end.next);
    } else if (kind === "takeover" && this.ends.every((each) => each.unanswered <= 1)) {
      // Of several lines under way nobody can tell which the old owner let pass; FTP has one (RFC 959 section 5.4).
      const { isOwner } = this.rig;
      this.rig = new Rig(HELPER_FTP, { ftpPerMaster: 64 }, this.rig.table.takenOver());
      this.rig.ports = [...this.#ports];
      this.rig.isOwner = isOwner;
    } else if (kind === "guest") {
      this.rig.isOwner = !this.rig.isOwner;
    }
  }

  /** Everybody repeats what is missing, line by line, until nothing is. */
  finish(): void {
    this.rig.isOwner = true;
    for (let round = 0; round < 200; round++) {
      if (this.ends.every((end) => end.isDone)) return;
      for (const side of [0, 1]) {
        const end = this.ends[side]!;
        // A sender trusts what was SACKed and repeats the rest.
        let from = end.acknowledged;
        while (end.sacked.has(from)) from++;
        const to = end.ends.find((position) => position > from);
        this.send(side, to === undefined ? end.next : from, to ?? end.next);
        for (const segment of this.wires[side]!.splice(0)) this.ends[1 - side]!.take(segment);
      }
    }
    throw new Error("the exchange never ends");
  }
}

function u32(value: number): number[] {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);
}

/** Kinds 0 and 1 announce nothing. */
function lineOf(net: Net, side: number, kind: number, index: number): string {
  const own = net.own[side]!;
  const port = 2000 + index;
  const isIpv6 = own.includes(":");
  if (kind < 2) return ["NOOP\r\n", "200 all is well\r\n"][kind]!;
  if (side === 1) {
    const numbers = `${own.replaceAll(".", ",")},${port >> 8},${port & 255}`;
    return isIpv6 || kind === 2 ? `229 Ok (|||${port}|)\r\n` : `227 Ok (${numbers}).\r\n`;
  }
  if (isIpv6) return `EPRT |2|${own}|${port}|\r\n`;
  return kind === 2
    ? `EPRT |1|${own}|${port}|\r\n`
    : `PORT ${own.replaceAll(".", ",")},${port >> 8},${port & 255}\r\n`;
}

/** The form of a line that an announcement may have become. */
function translated(net: Net, side: number, line: string): RegExp {
  const quoted = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const own = net.own[side]!;
  const shown = net.shown[side]!;
  const commas = (text: string): string => text.replaceAll(".", ",");
  const pattern =
    line.includes(commas(own)) && !own.includes(":")
      ? quoted(line).replace(/\d+,\d+,\d+,\d+,\d+,\d+/, `${commas(shown)},\\d+,\\d+`)
      : quoted(line)
          .replace(quoted(own), quoted(shown))
          .replace(/\d+(?=\\\|(\\\))?\r\n)/, "\\d+");
  return new RegExp(`^${pattern}$`);
}

const side = fc.nat(1);
const number = fc.nat(400);
const kinds = fc.array(fc.constantFrom(0, 1, 2, 3, 3), { minLength: 1, maxLength: 6, size: "max" });
const action = fc.tuple(
  fc.constantFrom<Action[0]>(
    "send",
    "send",
    "send",
    "send",
    "again",
    "again",
    "deliver",
    "deliver",
    "deliver",
    "deliver",
    "lose",
    "double",
    "ack",
    "ack",
    "takeover",
    "guest",
  ),
  side,
  number,
  number,
);
const scenario: fc.Arbitrary<Scenario> = fc.record({
  net: fc.nat(NETS.length - 1),
  isn: fc.tuple(fc.constantFrom(1, 0x7ffffff0, 0xffffffc0), fc.constantFrom(1000, 0x7fffffe0, 0xfffffff8)),
  lines: fc.tuple(kinds, kinds),
  isStrict: fc.boolean(),
  ports: fc.array(fc.constantFrom(1024, 1025, 9999, 10_000, 65_535, 40_000), {
    minLength: 40,
    maxLength: 40,
  }),
  actions: fc.array(action, { minLength: 5, maxLength: 80, size: "max" }),
});

test("both ends of a control connection see one whole stream, whatever happens to its segments", () => {
  let translations = 0;
  fc.assert(
    fc.property(scenario, (given) => {
      const exchange = new Exchange(given);
      for (const step of given.actions) exchange.step(step, given.isStrict);
      exchange.finish();
      for (const from of [0, 1]) {
        const sent = given.lines[from]!.map((kind, i) => lineOf(NETS[given.net]!, from, kind, i));
        const seen = exchange.ends[1 - from]!.text().split(/(?<=\n)/);
        expect(seen).toHaveLength(sent.length);
        for (const [i, line] of sent.entries()) {
          const isAnnouncement = given.lines[from]![i]! >= 2;
          const isTranslated = seen[i] !== line && translated(NETS[given.net]!, from, line).test(seen[i]!);
          if (isTranslated) translations++;
          expect([seen[i], isTranslated || seen[i] === line]).toEqual([seen[i], true]);
          if (!isAnnouncement) expect(isTranslated).toBe(false);
        }
      }
    }),
    { numRuns: 1000 },
  );
  expect(translations).toBeGreaterThan(500);
});
