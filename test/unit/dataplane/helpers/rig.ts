/**
 * A rig for helpers: a table, the door of helpers.ts, and the steps of the engine around a packet without NAT's translation
 * of headers: numbers, text and expectations only.
 */
import { readAddress, writeAddress } from "../../../../src/base/address.ts";
import { COUNT } from "../../../../src/dataplane/context.ts";
import type { ExtraCounter } from "../../../../src/dataplane/counters.ts";
import { D_DEADLINE, F_META, NONE, ROW_DOUBLES, ROW_WORDS } from "../../../../src/dataplane/flow-layout.ts";
import type { ExpectationLimits } from "../../../../src/dataplane/helpers/expectation.ts";
import { INSPECT_DROP } from "../../../../src/dataplane/helpers/helper.ts";
import { Helpers } from "../../../../src/dataplane/helpers/helpers.ts";
import { portsOf, readTuple } from "../../../../src/dataplane/helpers/satellite.ts";
import { EXPECTATION_TCP, EXPECTATION_UDP } from "../../../../src/dataplane/satellites.ts";
import { dotted } from "../frames.ts";
import { FakeTable } from "./fake-table.ts";
import { MEMORY_BYTES, parseIp, type Spec, TestPacket } from "./packets.ts";

export class Rig {
  readonly table: FakeTable;
  readonly helpers: Helpers;
  readonly bits: number;
  /** Ports that allocatePort() gives next; then from 40000 on, of the parity that is wanted. */
  ports: number[] = [];
  isOwner = true;
  /** Direction whose sender is trusted less. */
  outerSide = 1;
  totalBytesMax = 1500;
  /** What the last packet came to: "pass", "edited" or "drop". */
  result = "";
  readonly #memory = new Uint8Array(MEMORY_BYTES);
  #next = 40_000;

  constructor(bits: number, limits: Partial<ExpectationLimits> = {}, table = new FakeTable()) {
    this.bits = bits;
    this.table = table;
    this.helpers = new Helpers({
      table,
      book: table,
      bytes: this.#memory,
      clock: table.clock,
      counters: table.counters,
      limits,
      index: table.expectations,
      allocatePort: (_master, _protocol, _words, _at, wanted) => this.#allocate(wanted),
    });
  }

  /** Sends a packet in a direction of a flow: it is what leaves, with the sender's addresses still. */
  send(row: number, direction: number, protocol: number, spec: Spec): TestPacket {
    const packet = new TestPacket(protocol, spec);
    this.process(row, direction, packet);
    return packet;
  }

  process(row: number, direction: number, packet: TestPacket): void {
    const { helpers, table, bits } = this;
    this.result = "pass";
    if (!helpers.helps(table.words[row * ROW_WORDS + F_META]!, bits)) return;
    this.#memory.set(packet.bytes);
    helpers.arrive(packet, row, direction);
    const isOuter = direction === this.outerSide;
    const result = helpers.depart(packet, row, direction, bits, this.isOwner, isOuter, this.totalBytesMax);
    packet.bytes.set(this.#memory);
    this.result = ["pass", "edited", "drop"][result]!;
    if (result === INSPECT_DROP) this.result = "drop";
  }

  counter(name: ExtraCounter): number {
    return this.table.counters[COUNT[name]]!;
  }

  /** What is expected, as "tcp 198.51.100.7:* > 203.0.113.1:40002", sorted. */
  expected(): string[] {
    const rows = [...this.table.rows(EXPECTATION_TCP), ...this.table.rows(EXPECTATION_UDP)];
    return rows.map((row) => this.describe(row)).sort();
  }

  describe(row: number): string {
    const words = new Int32Array(8);
    readTuple(this.table.words, row, 0, words, 0);
    const protocol = this.table.protocolOf(row) === EXPECTATION_TCP ? "tcp" : "udp";
    const port = portsOf(this.table.words, row, 0) & 0xffff;
    return `${protocol} ${addressText(words, 0)}:* > ${addressText(words, 4)}:${port}`;
  }

  /** The expectation that lets a packet in, or NONE. */
  find(protocol: number, from: string, to: string, port: number, zone: number): number {
    return this.helpers.expectations.find(protocol, tuple(from, to), 0, port, zone);
  }

  /** Finds, resolves and consumes: "10.0.0.2:1234 from 198.51.100.7" or "nothing"; "from address:port" when the port is set. */
  arrive(protocol: number, from: string, sport: number, to: string, port: number, zone: number): string {
    const { expectations } = this.helpers;
    const row = this.find(protocol, from, to, port, zone);
    if (row === NONE) return "nothing";
    expectations.resolve(row, sport);
    const { resolved, resolvedPort, isSourceResolved, resolvedSourcePort } = expectations;
    const source = `${addressText(resolved, 4)}${resolvedSourcePort === NONE ? "" : `:${resolvedSourcePort}`}`;
    expectations.consume(row, tuple(from, to), 0, sport);
    return `${addressText(resolved, 0)}:${resolvedPort} from ${source}${isSourceResolved ? " (shown)" : ""}`;
  }

  /** Lets time pass: rows whose deadline is over are asked whether they go on, and end. */
  wait(ms: number): void {
    const { table, helpers } = this;
    const untilMs = table.clock[0]! + ms;
    while (table.clock[0]! < untilMs) {
      table.clock[0] = Math.min(untilMs, table.clock[0]! + 1000);
      for (const row of table.allRows()) {
        if (!table.isUsed(row) || table.doubles[row * ROW_DOUBLES + D_DEADLINE]! > table.clock[0]!) continue;
        if (!helpers.keeps(row, this.bits)) this.end(row);
      }
    }
  }

  /** Ends a row as the flow book does. */
  end(row: number): void {
    const protocol = this.table.protocolOf(row);
    if (protocol < 200) this.helpers.ended(row, this.bits);
    this.table.end(row);
  }

  #allocate(wanted: number): number {
    if (this.ports.length > 0) return this.ports.shift()!;
    this.#next += 2;
    return this.#next + (wanted & 1);
  }
}

export function tuple(from: string, to: string): Int32Array {
  const words = new Int32Array(8);
  writeAddress(words, 0, parseIp(from));
  writeAddress(words, 4, parseIp(to));
  return words;
}

export function addressText(words: Int32Array, at: number): string {
  const value = readAddress(words, at);
  if (typeof value === "number") return dotted(value);
  const groups = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn));
  return groups
    .map((group) => group.toString(16))
    .join(":")
    .replace(/(^|:)0(:0)+(:|$)/, "::");
}
