import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { findPacket } from "../../../../src/io/pcap/link.ts";
import { CaptureReader } from "../../../../src/io/pcap/reader.ts";
import { CaptureWriter } from "../../../../src/io/pcap/writer.ts";
import { block, type Captured, cooked, cooked2, framed, pcap, pcapng, section } from "./captures.ts";

const folder = mkdtempSync(join(tmpdir(), "synwall-pcap-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "capture");

interface ReadPacket {
  readonly timeMs: number;
  readonly bytes: readonly number[];
  readonly originalBytes: number;
  readonly linkType: number;
  readonly interfaceName: string;
}

function read(file: Uint8Array): { packets: ReadPacket[]; problem: string | undefined } {
  writeFileSync(path, file);
  const reader = new CaptureReader(path);
  const packets: ReadPacket[] = [];
  for (let packet = reader.next(); packet !== undefined; packet = reader.next()) {
    packets.push({ ...packet, bytes: [...packet.bytes] });
  }
  reader.close();
  return { packets, problem: reader.problem };
}

const TWO: readonly Captured[] = [
  { us: 1_700_000_000_123_456, bytes: Uint8Array.of(1, 2, 3, 4, 5) },
  { us: 1_700_000_001_000_001, bytes: Uint8Array.of(6, 7, 8, 9), original: 1500 },
];

function expectTwo(packets: readonly ReadPacket[], digits = 3): void {
  expect(packets.map(({ bytes }) => bytes)).toEqual([
    [1, 2, 3, 4, 5],
    [6, 7, 8, 9],
  ]);
  expect(packets.map(({ originalBytes }) => originalBytes)).toEqual([5, 1500]);
  expect(packets[0]!.timeMs).toBeCloseTo(1_700_000_000_123.456, digits);
  expect(packets[1]!.timeMs).toBeCloseTo(1_700_000_001_000.001, digits);
}

describe("pcap", () => {
  for (const isLittle of [true, false]) {
    for (const isNano of [true, false]) {
      test(`${isLittle ? "little" : "big"} endian, ${isNano ? "nano" : "micro"}seconds`, () => {
        const { packets, problem } = read(pcap(TWO, { isLittle, isNano, link: 101 }));
        expect(problem).toBeUndefined();
        expectTwo(packets);
        expect(packets[0]!.linkType).toBe(101);
      });
    }
  }

  test("a file cut anywhere gives what was whole before the cut, and says where it ends", () => {
    const whole = pcap(TWO);
    const ends = [24, 24 + 16 + 5, whole.length];
    for (let length = 24; length < whole.length; length++) {
      const { packets, problem } = read(whole.subarray(0, length));
      expect(packets).toHaveLength(ends.filter((end) => end <= length).length - 1);
      if (ends.includes(length)) expect(problem).toBeUndefined();
      else expect(problem).toMatch(/^damaged at byte (24|45): the file ends within/);
    }
  });

  test("a length that no packet has ends the reading before memory is taken for it", () => {
    const file = pcap(TWO);
    file.fill(0xff, 24 + 8, 24 + 12);
    expect(read(file)).toEqual({
      packets: [],
      problem: "damaged at byte 24: a packet of 4294967295 bytes is longer than any capture has",
    });
  });

  test.each([
    ["empty", new Uint8Array(0)],
    ["something else", new TextEncoder().encode("cluster:\n  name: edge\n  node: fw1\n")],
    ["a header that is cut", pcap([]).subarray(0, 20)],
  ])("%s is refused in one line", (_what, file) => {
    writeFileSync(path, file);
    expect(() => new CaptureReader(path)).toThrow(/^\S+: not a capture: .+; give a pcap or pcapng file$/);
  });

  test("a file that is not there is refused in one line", () => {
    expect(() => new CaptureReader("/nowhere/x.pcap")).toThrow(
      /^\/nowhere\/x.pcap: cannot read the capture \(ENOENT\)/,
    );
  });
});

describe("pcapng", () => {
  for (const isLittle of [true, false]) {
    test(`${isLittle ? "little" : "big"} endian: enhanced packets, interface names, unknown blocks stepped over`, () => {
      const { packets, problem } = read(pcapng(TWO, { isLittle, name: "eth1", link: 276, hasUnknown: true }));
      expect(problem).toBeUndefined();
      expectTwo(packets);
      expect(packets[0]).toMatchObject({ interfaceName: "eth1", linkType: 276 });
    });
  }

  test.each([3, 9, 0x80 | 20])("time stamps with resolution %i", (resolution) => {
    const { packets } = read(pcapng(TWO, { resolution }));
    expectTwo(packets, resolution === 3 ? -1 : 2);
  });

  test("an offset is added to all times", () => {
    const { packets } = read(pcapng([{ us: 5_000_000, bytes: Uint8Array.of(1) }], { offset: 1000 }));
    expect(packets[0]!.timeMs).toBe(1_005_000);
  });

  test("simple packets have the time of the one before, and the interface's snap length", () => {
    const { packets } = read(
      Uint8Array.from([
        ...pcapng([{ us: 7_000_000, bytes: Uint8Array.of(9) }], { snap: 2 }),
        ...block(true, 3, Uint8Array.of(5, 0, 0, 0, 1, 2, 0, 0)),
      ]),
    );
    expect(packets[1]).toMatchObject({ timeMs: 7000, bytes: [1, 2], originalBytes: 5 });
  });

  test("packet blocks of old files", () => {
    expectTwo(read(pcapng(TWO, { kind: "old" })).packets);
  });

  test("sections of other byte order may follow each other", () => {
    const { packets, problem } = read(Uint8Array.from([...pcapng(TWO), ...pcapng(TWO, { isLittle: false })]));
    expect(problem).toBeUndefined();
    expect(packets).toHaveLength(4);
    expectTwo(packets.slice(2));
  });

  test.each([
    [
      "an interface that no block describes",
      [...section(true), ...block(true, 6, new Uint8Array(20))],
      "interface 0",
    ],
    [
      "a length that is no multiple of four",
      [...section(true), 6, 0, 0, 0, 13, 0, 0, 0],
      "cannot be 13 bytes",
    ],
    [
      "a packet that is longer than its block",
      [...pcapng([]), ...block(true, 6, longer())],
      "longer than its block",
    ],
    ["a block that ends early", [...pcapng(TWO).subarray(0, -3)], "ends within a block"],
    ["a huge packet block", [...section(true), 6, 0, 0, 0, 0, 0, 0, 0x40], "longer than any capture has"],
    [
      "a section without byte order",
      [...section(true), 0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 1, 2, 3, 4],
      "byte order",
    ],
  ])("%s ends the reading", (_what, file, why) => {
    expect(read(Uint8Array.from(file)).problem).toContain(why);
  });
});

function longer(): Uint8Array {
  const body = new Uint8Array(24);
  body[12] = 5;
  return body;
}

describe("any bytes", () => {
  const start = fc.constantFrom(
    pcap(TWO),
    pcap(TWO, { isLittle: false }),
    pcapng(TWO),
    pcapng(TWO, { kind: "simple" }),
  );
  test("a capture with bytes changed never throws, and never gives a byte that the file does not have", () => {
    fc.assert(
      fc.property(
        start,
        fc.array(fc.tuple(fc.nat(400), fc.constantFrom(0, 1, 4, 12, 16, 0x7f, 0x80, 0xff)), {
          size: "max",
          maxLength: 8,
        }),
        fc.nat(400),
        (file, changes, cut) => {
          const changed = file.slice(0, file.length - (cut % file.length));
          for (const [at, value] of changed.length > 4 ? changes : []) {
            changed[4 + (at % (changed.length - 4))] = value;
          }
          writeFileSync(path, changed);
          let reader: CaptureReader;
          try {
            reader = new CaptureReader(path);
          } catch {
            return;
          }
          let bytes = 0;
          for (let packet = reader.next(); packet !== undefined; packet = reader.next()) {
            bytes += packet.bytes.length;
            findPacket(packet.linkType, packet.bytes);
          }
          reader.close();
          expect(bytes).toBeLessThanOrEqual(changed.length);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("link types", () => {
  const packet = Uint8Array.of(0x45, 0, 0, 20);
  test.each([
    ["Ethernet", 1, framed(packet), 14],
    ["Ethernet with a VLAN tag", 1, framed(packet, 0x0800, [7]), 18],
    ["Ethernet with two", 1, framed(packet, 0x86dd, [7, 8]), 22],
    ["ARP", 1, framed(packet, 0x0806), -1],
    ["a frame that is cut", 1, framed(packet).subarray(0, 13), -1],
    ["a tag that is cut", 1, framed(packet, 0x0800, [7]).subarray(0, 16), -1],
    ["raw IP", 101, packet, 0],
    ["cooked", 113, cooked(packet), 16],
    ["cooked, version 2", 276, cooked2(packet), 20],
    ["cooked that is cut", 113, cooked(packet).subarray(0, 15), -1],
    ["another", 127, packet, -1],
  ])("%s", (_what, link, bytes, at) => {
    expect(findPacket(link, bytes).at).toBe(at);
  });
});

describe("the writer", () => {
  test("writes what the reader reads, over more than one buffer", () => {
    const writer = new CaptureWriter(path);
    const frame = Uint8Array.from({ length: 60_000 }, (_, i) => i);
    for (let i = 0; i < 40; i++) writer.write(1_700_000_000_000 + i + 0.25, frame.subarray(0, 60_000 - i));
    writer.close();
    const { packets, problem } = read(readFileSync(path));
    expect(problem).toBeUndefined();
    expect(packets.map(({ bytes }) => bytes.length)).toEqual(
      Array.from({ length: 40 }, (_, i) => 60_000 - i),
    );
    expect(packets[39]!.timeMs).toBeCloseTo(1_700_000_000_039.25, 3);
    expect(packets[39]!.linkType).toBe(1);
  });

  test("says so when it cannot write", () => {
    expect(() => new CaptureWriter("/nowhere/out.pcap")).toThrow(
      /^\/nowhere\/out.pcap: cannot write the capture \(ENOENT\)/,
    );
  });
});
