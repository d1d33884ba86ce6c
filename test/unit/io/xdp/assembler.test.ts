import { expect, test } from "vitest";
import { AssertionError } from "../../../../src/base/assert.ts";
import { Assembler } from "../../../../src/io/xdp/assembler.ts";

test("a jump counts the instructions between itself and its label", () => {
  const code = new Assembler()
    .jumpIfEqual(1, 5, "end")
    .moveImmediate(0, 1)
    .moveImmediate(0, 2)
    .label("end")
    .exit()
    .assemble();
  expect(new DataView(code.buffer).getInt16(2, true)).toBe(2);
});

test("a label that is nowhere, given twice, or behind is a bug", () => {
  expect(() => new Assembler().jump("nowhere").exit().assemble()).toThrow(AssertionError);
  expect(() => new Assembler().label("a").exit().label("a")).toThrow(AssertionError);
  expect(() => new Assembler().label("a").exit().jump("a").assemble()).toThrow(AssertionError);
});
