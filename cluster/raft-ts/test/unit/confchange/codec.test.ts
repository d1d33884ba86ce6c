/** The bytes of conf change entries are part of the log format. */
import { type ConfChange, decodeConfChange, encodeConfChange, MalformedError } from "raft-ts";
import { expect, test } from "vitest";

const CASES: ConfChange[] = [
  { changes: [], transition: "auto" },
  { changes: [], transition: "explicit" },
  { changes: [], transition: "auto", context: new Uint8Array([1]) },
  { changes: [{ type: "addVoter", id: 1 }], transition: "auto" },
  { changes: [{ type: "addLearner", id: Number.MAX_SAFE_INTEGER }], transition: "implicit" },
  {
    changes: [
      { type: "remove", id: 4_294_967_296 },
      { type: "addVoter", id: 4_294_967_295 },
    ],
    transition: "explicit",
    context: new Uint8Array([0, 255]),
  },
  { changes: [{ type: "remove", id: 3 }], transition: "auto", context: new Uint8Array(0) },
];

test.each(CASES)("%o comes back as it was", (cc) => {
  expect(decodeConfChange(encodeConfChange(cc))).toEqual(cc);
});

test("the bytes are as recorded", () => {
  const cc: ConfChange = { changes: [{ type: "addLearner", id: 258 }], transition: "explicit" };
  expect([...encodeConfChange(cc)]).toEqual([1, 2, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 2, 0]);
});

test("leaving a joint configuration is written out, as every entry with a meaning, and no bytes mean it as well", () => {
  const leave: ConfChange = { changes: [], transition: "auto" };
  expect([...encodeConfChange(leave)]).toEqual([1, 0, 0, 0, 0]);
  expect(decodeConfChange(new Uint8Array(0))).toEqual(leave);
});

test("a decoded context is a copy, also out of a Buffer", () => {
  const encoded = Buffer.from(encodeConfChange(CASES[2]!));
  const { context } = decodeConfChange(encoded);
  encoded.fill(0);
  expect(context).toEqual(new Uint8Array([1]));
});

test("decoding works inside a larger buffer", () => {
  const encoded = encodeConfChange(CASES[5]!);
  const larger = new Uint8Array(encoded.length + 10);
  larger.set(encoded, 7);
  expect(decodeConfChange(larger.subarray(7, 7 + encoded.length))).toEqual(CASES[5]);
});

test("every truncation and every wrong byte count is refused", () => {
  const encoded = encodeConfChange(CASES[4]!);
  for (let length = 1; length < encoded.length; length++) {
    expect(() => decodeConfChange(encoded.subarray(0, length))).toThrow(MalformedError);
  }
  expect(() => decodeConfChange(new Uint8Array([...encoded, 0]))).toThrow(MalformedError);
  expect(() => decodeConfChange(new Uint8Array([2, 0, 0, 0, 0]))).toThrow(MalformedError);
  expect(() => decodeConfChange(new Uint8Array([1, 3, 0, 0, 0]))).toThrow(MalformedError);
});

test.each([
  { changes: [{ type: "addVoter", id: 0 }], transition: "auto" },
  { changes: [{ type: "update", id: 1 }], transition: "auto" },
  { changes: [], transition: "later" },
])("%o is refused before it is encoded", (cc) => {
  expect(() => encodeConfChange(cc as unknown as ConfChange)).toThrow(MalformedError);
});
