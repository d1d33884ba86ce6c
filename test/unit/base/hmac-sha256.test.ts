import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { seededRandom } from "../../../src/base/env.ts";
import { HmacSha256 } from "../../../src/base/hmac-sha256.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));
const filled = (length: number, byte: number): Uint8Array => new Uint8Array(length).fill(byte);

// RFC 4231 section 4, the cases whose keys fit a block.
test.each([
  [
    "4.2",
    filled(20, 0x0b),
    new TextEncoder().encode("Hi There"),
    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
  ],
  [
    "4.3",
    new TextEncoder().encode("Jefe"),
    new TextEncoder().encode("what do ya want for nothing?"),
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  ],
  [
    "4.4",
    filled(20, 0xaa),
    filled(50, 0xdd),
    "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
  ],
  [
    "4.5",
    bytesOf("0102030405060708090a0b0c0d0e0f10111213141516171819"),
    filled(50, 0xcd),
    "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
  ],
])("HMAC-SHA-256 answers as RFC 4231 section %s says", (_section, key, message, expected) => {
  expect(hex(new HmacSha256(key).of(message))).toBe(expected);
});

test("HMAC-SHA-256 agrees with node:crypto on messages of every length up to five blocks, one after the other", () => {
  const random = seededRandom(7);
  const key = Uint8Array.from({ length: 32 }, () => random(256));
  const hmac = new HmacSha256(key);
  for (let length = 0; length <= 320; length++) {
    const message = Uint8Array.from({ length }, () => random(256));
    expect(hex(hmac.of(message)), `${length} bytes`).toBe(
      createHmac("sha256", key).update(message).digest("hex"),
    );
  }
});

test("a key that does not fit a block is refused", () => {
  expect(() => new HmacSha256(new Uint8Array(65))).toThrow("longer than 64");
});
