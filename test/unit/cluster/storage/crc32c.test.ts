import { expect, test } from "vitest";
import { crc32c } from "../../../../cluster/storage/crc32c.ts";

// RFC 3720, section B.4.
test.each([
  ["32 zeros", new Uint8Array(32), 0x8a9136aa],
  ["32 ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ["ascending", Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
  ["descending", Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
  ["123456789", Buffer.from("123456789"), 0xe3069283],
  ["nothing", new Uint8Array(0), 0],
])("crc32c() of %s is the published one", (_name, bytes, expected) => {
  expect(crc32c(bytes)).toBe(expected);
});

test("crc32c() goes on from an earlier part", () => {
  const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i * 7);
  for (const cut of [0, 1, 7, 8, 9, 500, 999, 1000]) {
    expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))).toBe(crc32c(bytes));
  }
});
