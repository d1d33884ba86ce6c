import fc from "fast-check";
import { expect, test } from "vitest";
import { MacTable } from "../../../src/io/mac-table.ts";

const group = Uint8Array.of(1, 0, 0x5e, 0, 0, 1);

test("find() answers where an address was learned last, or -1", () => {
  // Few addresses and a small table, so that probe chains meet.
  const address = fc.integer({ min: 0, max: 11 }).map((n) => Uint8Array.of(2, 0, 0, 0, 0, n * 16));
  fc.assert(
    fc.property(
      fc.array(fc.tuple(address, fc.integer({ min: 0, max: 3 })), { maxLength: 60, size: "max" }),
      (seen) => {
        const table = new MacTable(16);
        const model = new Map<string, number>();
        for (const [bytes, where] of seen) {
          table.learn(bytes, 0, where);
          model.set(bytes.join(), where);
          for (const [key, expected] of model) {
            expect(table.find(Uint8Array.from(key.split(","), Number), 0)).toBe(expected);
          }
        }
        expect(table.find(Uint8Array.of(2, 9, 9, 9, 9, 9), 0)).toBe(-1);
      },
    ),
  );
});

test("a group address is no source", () => {
  const table = new MacTable(16);
  table.learn(group, 0, 1);
  expect(table.find(group, 0)).toBe(-1);
});

test("a table that is three quarters full begins anew", () => {
  const table = new MacTable(16);
  for (let n = 0; n < 100; n++) table.learn(Uint8Array.of(2, 0, 0, 0, 0, n), 0, 1);
  expect(table.find(Uint8Array.of(2, 0, 0, 0, 0, 99), 0)).toBe(1);
  expect(table.find(Uint8Array.of(2, 0, 0, 0, 0, 0), 0)).toBe(-1);
});

test("forget() leaves no address at that place", () => {
  const table = new MacTable(16);
  table.learn(Uint8Array.of(2, 0, 0, 0, 0, 1), 0, 1);
  table.forget(1);
  expect(table.find(Uint8Array.of(2, 0, 0, 0, 0, 1), 0)).toBe(-1);
});
