import fc from "fast-check";
import { expect, test } from "vitest";
import { NONE } from "../../src/dataplane/flow-layout.ts";
import { TCP_ESTABLISHED, tcpState } from "../../src/dataplane/tcp-state.ts";
import { ProxyGate } from "../unit/dataplane/defence/proxy-gate.ts";
import type { Seg } from "../unit/dataplane/defence/segments.ts";

/**
 * A client and a server behind a SYN proxy and a network that loses, doubles and reorders. Both speak as little TCP as a handshake
 * and one piece of data each way need, and repeat themselves until they are acknowledged; then both must have it all.
 */
const PING = "ping";
const PONG = "pongpong";

interface Names {
  readonly client: string;
  readonly server: string;
}

abstract class End {
  received = "";
  protected next: number;
  protected unacked: number;
  /** What the other side will send next; undefined before its SYN. */
  protected expected: number | undefined;
  protected window = 0;
  protected readonly initial: number;
  protected readonly data: string;

  constructor(initial: number, data: string) {
    this.initial = initial;
    this.next = initial;
    this.unacked = initial;
    this.data = data;
  }

  get isDone(): boolean {
    const end = (this.initial + 1 + this.data.length) | 0;
    return this.expected !== undefined && this.unacked === end;
  }

  /** Takes acknowledgement, window and data of a segment in order; what has to be answered. */
  protected take(seg: Seg, answer: () => Seg): Seg[] {
    const acked = (seg.ack - this.unacked) | 0;
    if (acked > 0 && ((seg.ack - this.next) | 0) <= 0) this.unacked = seg.ack;
    // RFC 9293 section 3.10.7.4: what is acceptable tells the window; what is old is acknowledged and told nothing by.
    const ahead = (seg.seq - (this.expected ?? 0)) | 0;
    if (ahead >= 0) this.window = seg.window;
    const data = seg.data ?? "";
    if (ahead === 0 && data !== "") {
      this.received += data;
      this.expected = (seg.seq + data.length) | 0;
    }
    return ahead < 0 || data !== "" ? [answer()] : [];
  }
}

class Client extends End {
  readonly #names: Names;
  readonly #isLinux: boolean;

  constructor(names: Names, initial: number, isLinux: boolean) {
    super(initial, PING);
    this.#names = names;
    this.#isLinux = isLinux;
  }

  #segment(part: Partial<Seg>): Seg {
    const { client, server } = this.#names;
    const ends = { from: client, to: server, sport: 4000, dport: 80 };
    return { ...ends, flags: "A", seq: this.next, ack: this.expected ?? 0, window: 9000, ...part };
  }

  /** A timer ran out: what is not acknowledged goes again. */
  tick(): Seg[] {
    if (this.expected === undefined) {
      this.next = (this.initial + 1) | 0;
      return [this.#segment({ flags: "S", seq: this.initial, mss: 1460 })];
    }
    if (this.isDone) return [];
    const first = (this.initial + 1) | 0;
    if (this.window === 0) {
      // A probe: Linux sends nothing, one below what is expected; BSD a byte of the data.
      return [this.#segment(this.#isLinux ? { seq: this.initial } : { seq: first, data: PING[0]! })];
    }
    this.next = (first + PING.length) | 0;
    return [this.#segment({ flags: "PA", seq: this.unacked, data: PING.slice((this.unacked - first) | 0) })];
  }

  receive(seg: Seg): Seg[] {
    if (seg.flags.includes("R")) throw new Error("the client was reset");
    if (this.expected !== undefined) return this.take(seg, () => this.#segment({}));
    if (seg.flags !== "SA" || seg.ack !== this.next) return [];
    this.unacked = seg.ack;
    this.expected = (seg.seq + 1) | 0;
    this.window = seg.window;
    return [this.#segment({})];
  }
}

class Server extends End {
  readonly #names: Names;
  #isEstablished = false;

  constructor(names: Names, initial: number) {
    super(initial, PONG);
    this.#names = names;
  }

  #segment(part: Partial<Seg>): Seg {
    const { client, server } = this.#names;
    const ends = { from: server, to: client, sport: 80, dport: 4000 };
    return { ...ends, flags: "A", seq: this.next, ack: this.expected ?? 0, window: 5000, ...part };
  }

  tick(): Seg[] {
    if (this.expected === undefined || this.isDone) return [];
    if (!this.#isEstablished) return [this.#segment({ flags: "SA", seq: this.initial, mss: 1460 })];
    const first = (this.initial + 1) | 0;
    this.next = (first + PONG.length) | 0;
    return [this.#segment({ flags: "PA", seq: this.unacked, data: PONG.slice((this.unacked - first) | 0) })];
  }

  receive(seg: Seg): Seg[] {
    if (seg.flags.includes("R")) throw new Error("the server was reset");
    if (seg.flags === "S") {
      if (this.expected === undefined) {
        this.expected = (seg.seq + 1) | 0;
        this.next = (this.initial + 1) | 0;
        this.unacked = this.next;
        this.window = seg.window;
      }
      return this.#isEstablished ? [this.#segment({})] : this.tick();
    }
    if (this.expected === undefined) throw new Error("the server got something before a SYN");
    if (seg.ack === this.next) this.#isEstablished = true;
    return this.take(seg, () => this.#segment({}));
  }
}

/** What the network does with a segment: arrives, is lost, arrives twice, arrives after the next one. */
const fate = fc.constantFrom("ok", "ok", "lost", "lost", "twice", "late");

function run(
  names: Names,
  isLinux: boolean,
  fates: readonly string[],
  numbers: readonly [number, number],
): void {
  const gate = new ProxyGate(names.client);
  const client = new Client(names, numbers[0], isLinux);
  const server = new Server(names, numbers[1]);
  let moves = 0;
  const inFlight: Seg[] = [];
  const late: Seg[] = [];
  const send = (segments: readonly Seg[]): void => {
    for (const seg of segments) {
      const what = fates[moves++] ?? "ok";
      if (what === "late") late.push(seg);
      if (what === "ok" || what === "twice") inFlight.push(seg);
      if (what === "twice") inFlight.push(seg);
      if (what !== "late") inFlight.push(...late.splice(0));
    }
  };
  /** A segment travels from an end to the gate, or from the gate to an end; the list holds both. */
  const atGate = new WeakSet<Seg>();
  const fromGate = (): void => {
    const out = [...gate.toClient.splice(0), ...gate.toServer.splice(0)];
    for (const seg of out) atGate.add(seg);
    send(out);
  };
  for (let round = 0; round < 60 && !(client.isDone && server.isDone); round++) {
    send(client.tick());
    send(server.tick());
    for (let seg = inFlight.shift(); seg !== undefined; seg = inFlight.shift()) {
      if (moves > 5000) throw new Error("both ends go on answering each other");
      if (!atGate.has(seg)) {
        gate.receive({ ...seg });
        fromGate();
      } else send(seg.to === names.client ? client.receive(seg) : server.receive(seg));
    }
  }
  expect([client.received, server.received]).toEqual([PONG, PING]);
  expect(client.isDone && server.isDone).toBe(true);
  expect(gate.row).not.toBe(NONE);
  expect(tcpState(gate.table.words, gate.row)).toBe(TCP_ESTABLISHED);
}

const numbers = fc.tuple(fc.constantFrom(0, 5, -3, 0x7ffffffe), fc.constantFrom(0, -1, 0x7fffffff, 99));

test.each([
  ["IPv4", { client: "192.0.2.7", server: "10.0.0.80" }],
  ["IPv6", { client: "2001:db8::7", server: "2001:db8:1::80" }],
])(
  "a connection through the SYN proxy opens and carries all data both ways, whatever the network loses, %s",
  (_, names) => {
    const fates = fc.array(fate, { size: "max", maxLength: 40 });
    fc.assert(
      fc.property(fates, fc.boolean(), numbers, (each, isLinux, initials) =>
        run(names, isLinux, each, initials),
      ),
      { numRuns: 120 },
    );
  },
);
