import fc from "fast-check";
import { expect, test } from "vitest";
import { copyable, copyFrame } from "../../../src/io/copy.ts";

test("copyFrame() copies exactly the frame, aligned or not", () => {
  const place = fc.integer({ min: 0, max: 12 });
  fc.assert(
    fc.property(place, place, fc.integer({ min: 0, max: 48 }), (fromAt, toAt, lengthBytes) => {
      const from = copyable(Uint8Array.from({ length: 64 }, (_, i) => i + 1));
      const to = copyable(new Uint8Array(64));
      copyFrame(from, fromAt, to, toAt, lengthBytes);
      const expected = new Uint8Array(64);
      expected.set(from.bytes.subarray(fromAt, fromAt + lengthBytes), toAt);
      expect(to.bytes).toEqual(expected);
    }),
  );
});
