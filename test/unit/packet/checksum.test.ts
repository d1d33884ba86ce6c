import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { setI32, setU16 } from "../../../src/packet/bytes.ts";
import {
  addBytes,
  adjust16,
  adjust32,
  adjusted16,
  checksum,
  fold,
  pseudoHeaderSum,
} from "../../../src/packet/checksum.ts";
import { internetChecksum } from "../dataplane/frames.ts";

describe("RFC 1071", () => {
  test("the example of section 3", () => {
    const bytes = Uint8Array.from([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
    expect(~checksum(bytes, 0, 8) & 0xffff).toBe(0xddf2);
  });

  test("an odd last byte is padded with zero (section 4.1)", () => {
    expect(checksum(Uint8Array.from([0xab]), 0, 1)).toBe(~0xab00 & 0xffff);
  });

  test("a span that holds its own checksum sums to zero", () => {
    const bytes = Uint8Array.from({ length: 64 }, (_, i) => i * 37);
    setU16(bytes, 10, 0);
    setU16(bytes, 10, checksum(bytes, 0, 64));
    expect(checksum(bytes, 0, 64)).toBe(0);
  });

  test("any span agrees with the obvious sum, also 2048 bytes of ones", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 2048, size: "max" }), (bytes) => {
        expect(checksum(bytes, 0, bytes.length)).toBe(internetChecksum(bytes));
      }),
      { numRuns: 50 },
    );
    const ones = new Uint8Array(2048).fill(0xff);
    expect(checksum(ones, 0, 2048)).toBe(internetChecksum(ones));
  });

  test("sums can be chained, with the pseudo header first", () => {
    const body = Uint8Array.from([1, 2, 3, 4, 5]);
    const pseudo = Uint8Array.from([10, 0, 0, 1, 192, 168, 255, 254, 0, 17, 0, 5]);
    const sum = pseudoHeaderSum(0x0a000001, 0xc0a8fffe | 0, 17, 5);
    expect(fold(addBytes(sum, body, 0, 5))).toBe(internetChecksum(pseudo, body));
  });
});

describe("RFC 1624", () => {
  test("the example of section 4, in which eqn 2 fails", () => {
    expect(adjusted16(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
  });

  test("adjusting equals computing anew, unless all is zero", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 20, maxLength: 20 }),
        fc.integer({ min: 0, max: 8 }),
        fc.oneof(fc.constantFrom(0, 1, 0xffff, 0xffff0000 | 0, -1), fc.integer()),
        (bytes, word, value) => {
          // A header is never all zero, and its checksum never 0xffff for that reason.
          bytes[0] = 0x45;
          setU16(bytes, 18, 0);
          setU16(bytes, 18, checksum(bytes, 0, 20));
          const at = Math.min(word * 2, 14);
          const before = new DataView(bytes.buffer).getInt32(at);
          if (at < 2) return;
          setI32(bytes, at, value);
          adjust32(bytes, 18, before, value);
          expect(checksum(bytes, 0, 20)).toBe(0);
          const low = new DataView(bytes.buffer).getUint16(at);
          setU16(bytes, at, value & 0xffff);
          adjust16(bytes, 18, low, value & 0xffff);
          expect(checksum(bytes, 0, 20)).toBe(0);
        },
      ),
    );
  });
});
