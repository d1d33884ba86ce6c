import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { COUNTER_CELLS, counterIndex } from "../../../src/dataplane/counters.ts";
import { Fragmenter } from "../../../src/dataplane/fragmenter.ts";
import { createMemoryPool } from "../../../src/io/memory.ts";
import { FRAGMENT_NONE, FRAGMENT_PART, FragmentInfo, readFragment } from "../../../src/packet/fragment.ts";
import { type FragmentSpec, fragmentPacket, pattern } from "./fragment-frames.ts";
import { internetChecksum } from "./frames.ts";

const LINK = 14;

class CutWorld {
  readonly pool;
  readonly counters = new Float64Array(COUNTER_CELLS);
  readonly fragmenter: Fragmenter;

  constructor(chunks = 128, freeFramesMin = 0) {
    this.pool = createMemoryPool(chunks);
    this.pool.bytes.fill(0xee);
    this.fragmenter = new Fragmenter({ frames: this.pool, counters: this.counters }, freeFramesMin);
  }

  /** Cuts a packet; the IP packets that came of it, or undefined when it was refused. Frees their frames. */
  cut(packet: Uint8Array, mtuBytes: number): Uint8Array[] | undefined {
    const { pool, fragmenter } = this;
    const at = pool.alloc();
    pool.bytes.fill(0x77, at, at + LINK);
    pool.bytes.set(packet, at + LINK);
    if (!fragmenter.cut(at, at + LINK, mtuBytes)) {
      expect(pool.bytes.slice(at + LINK, at + LINK + packet.length)).toEqual(packet);
      pool.free(at);
      return undefined;
    }
    const packets = [];
    for (let i = 0; i < fragmenter.pieces; i++) {
      const frame = pool.bytes.slice(fragmenter.at[i]!, fragmenter.at[i]! + fragmenter.lengthBytes[i]!);
      expect([...frame.subarray(0, LINK)]).toEqual(new Array(LINK).fill(0x77));
      packets.push(frame.slice(LINK));
      pool.free(fragmenter.at[i]!);
    }
    return packets;
  }
}

const packetOf = (bytes: number, spec: Partial<FragmentSpec> = {}): Uint8Array =>
  fragmentPacket({ offset: 0, more: false, id: 0x4711, payload: pattern(bytes), ...spec });

/** Total length, flags and offset, as RFC 791 shows them. */
function seen(packet: Uint8Array): [number, boolean, number] {
  const view = new DataView(packet.buffer);
  return [view.getUint16(2), (view.getUint16(6) & 0x2000) !== 0, (view.getUint16(6) & 0x1fff) * 8];
}

describe("cutting a packet (RFC 791 section 3.2)", () => {
  test("makes pieces of whole units of 8 bytes that end like the packet", () => {
    const world = new CutWorld();
    const pieces = world.cut(packetOf(1480), 1006)!;
    expect(pieces.map(seen)).toEqual([
      [1004, true, 0],
      [516, false, 984],
    ]);
    expect(pieces.map((piece) => internetChecksum(piece.subarray(0, 20)))).toEqual([0, 0]);
    expect(pieces.map((piece) => [piece[8], piece[9], piece[4], piece[5]])).toEqual([
      [64, 17, 0x47, 0x11],
      [64, 17, 0x47, 0x11],
    ]);
    expect(world.counters[counterIndex("fragmentedPackets")]).toBe(1);
    expect(world.pool.available()).toBe(128);
  });

  test("copies only the options that say so, and pads them (RFC 791 section 3.1)", () => {
    // A timestamp (68, not copied), no-operation, security (130, copied, 11 bytes), end.
    const options = Uint8Array.from([68, 4, 5, 0, 1, 130, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 0]);
    const [first, second] = new CutWorld().cut(packetOf(200, { options }), 148)!;
    expect([...first!.subarray(20, 40)]).toEqual([...options]);
    expect(second![0]).toBe(0x48);
    expect([...second!.subarray(20, 32)]).toEqual([130, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
    expect(internetChecksum(second!.subarray(0, 32))).toBe(0);
    expect([...first!.subarray(40), ...second!.subarray(32)].slice(0, 200)).toEqual([...pattern(200)]);
  });

  test("cuts a fragment further: only the datagram's end has no more behind it", () => {
    const more = new CutWorld().cut(packetOf(160, { offset: 800, more: true }), 100)!;
    expect(more.map(seen)).toEqual([
      [100, true, 800],
      [100, true, 880],
    ]);
    const last = new CutWorld().cut(packetOf(161, { offset: 800 }), 100)!;
    expect(last.map(seen)).toEqual([
      [100, true, 800],
      [100, true, 880],
      [21, false, 960],
    ]);
  });

  test("leaves a packet that fits as it is", () => {
    const packet = packetOf(1477);
    expect(new CutWorld().cut(packet, 1497)).toEqual([packet]);
  });

  test("does nothing without frames enough, with too small an MTU, or into too many pieces", () => {
    expect(new CutWorld(2).cut(packetOf(160), 100)?.length).toBe(2);
    expect(new CutWorld(2).cut(packetOf(161), 100)).toBe(undefined);
    expect(new CutWorld(20, 18).cut(packetOf(160), 100)?.length).toBe(2);
    expect(new CutWorld(20, 19).cut(packetOf(160), 100)).toBe(undefined);
    expect(new CutWorld().cut(packetOf(160), 67)).toBe(undefined);
    const options = new Uint8Array(40);
    options.set([0x88, 40]);
    expect(new CutWorld().cut(packetOf(512, { options }), 68)?.length).toBe(64);
    expect(new CutWorld().cut(packetOf(513, { options }), 68)).toBe(undefined);
  });

  test("of any length at any MTU gives back the payload, in pieces that fit, each read as a fragment", () => {
    const spec = fc.record({
      bytes: fc.integer({ min: 70, max: 1700 }),
      mtuBytes: fc.integer({ min: 68, max: 1500 }),
      options: fc.constantFrom(0, 4, 12),
      offset: fc.constantFrom(0, 64, 4096),
      more: fc.boolean(),
    });
    const world = new CutWorld();
    fc.assert(
      fc.property(spec, ({ bytes, mtuBytes, options, offset, more }) => {
        const size = more ? bytes & ~7 : bytes;
        const packet = packetOf(size, { offset, more, options: new Uint8Array(options) });
        const pieces = world.cut(packet, mtuBytes)!;
        const info = new FragmentInfo();
        let at = offset;
        const payload: number[] = [];
        const seenPieces = pieces.map((piece) => {
          const header = (piece[0]! & 15) * 4;
          const checksum = internetChecksum(piece.subarray(0, header));
          const read = readFragment(piece, 0, piece.length, info);
          payload.push(...piece.subarray(header));
          return [piece.length <= mtuBytes, checksum, read, seen(piece)[1], seen(piece)[2]];
        });
        const wanted = pieces.map((piece, i) => {
          const place = at;
          const isWhole = pieces.length === 1 && offset === 0 && !more;
          at += piece.length - (piece[0]! & 15) * 4;
          return [true, 0, isWhole ? FRAGMENT_NONE : FRAGMENT_PART, i < pieces.length - 1 || more, place];
        });
        expect(seenPieces).toEqual(wanted);
        expect(Buffer.compare(Uint8Array.from(payload), pattern(size))).toBe(0);
        expect(world.pool.available()).toBe(128);
      }),
      { numRuns: 150 },
    );
  });
});
