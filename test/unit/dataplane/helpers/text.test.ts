import fc from "fast-check";
import { expect, test } from "vitest";
import { readAddress } from "../../../../src/base/address.ts";
import {
  COMMA,
  DOT,
  indexOf,
  keyword,
  Scanner,
  startsWith,
  Writer,
} from "../../../../src/dataplane/helpers/text.ts";
import { parseIp } from "./packets.ts";
import { addressText } from "./rig.ts";

const ascii = (text: string): Uint8Array => Buffer.from(text, "latin1");

function read(text: string, with_: (scanner: Scanner, words: Int32Array) => void): string {
  const scanner = new Scanner();
  const words = new Int32Array(4);
  const bytes = ascii(text);
  scanner.start(bytes, 0, bytes.length);
  with_(scanner, words);
  return scanner.isOk ? `${addressText(words, 0)} ${scanner.at}` : "no";
}

test.each([
  ["192.0.2.1", "192.0.2.1 9"],
  ["192.0.2.1:5060", "192.0.2.1 9"],
  ["0.0.0.0", "0.0.0.0 7"],
  ["256.0.0.1", "no"],
  ["1.2.3", "no"],
  ["1.2.3.0004", "no"],
  ["1..2.3", "no"],
  ["", "no"],
])("an IPv4 address is read as such: %s", (text, result) => {
  expect(read(text, (scanner, words) => scanner.ipv4(words, 0, DOT))).toBe(result);
});

test.each([
  ["2001:db8::1", "2001:db8::1 11"],
  ["2001:DB8::1]", "2001:db8::1 11"],
  ["::1", "::1 3"],
  ["::", ":: 2"],
  ["fe80::", "fe80:: 6"],
  ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8 15"],
  ["64:ff9b::192.0.2.1", "64:ff9b::c000:201 18"],
  ["::ffff:192.0.2.1", "no"],
  ["1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8 15"],
  ["1:2:3", "no"],
  ["1::2::3", "no"],
  ["12345::", "no"],
  [":1", "no"],
  ["1:2:3:4:5:6:7:", "no"],
  ["1:2:3:4:5:6:7:1.2.3.4", "no"],
  ["g::", "no"],
])("an IPv6 address is read as such (RFC 4291 section 2.2): %s", (text, result) => {
  expect(read(text, (scanner, words) => scanner.ipv6(words, 0))).toBe(result);
});

test("an IPv6 address is written as RFC 5952 has it", () => {
  const forms = [
    "2001:db8::1",
    "::",
    "::1",
    "1::",
    "2001:db8:0:1:1:1:1:1",
    "2001:0:0:1::1",
    "1:2:3:4:5:6:7:8",
  ];
  for (const form of forms) {
    const words = new Int32Array(4);
    const bytes = ascii(form);
    const scanner = new Scanner();
    scanner.start(bytes, 0, bytes.length);
    scanner.ipv6(words, 0);
    expect(scanner.isOk).toBe(true);
    const writer = new Writer(40);
    writer.address(words, 0);
    expect(Buffer.from(writer.bytes.subarray(0, writer.length)).toString()).toBe(form);
  }
});

test("whatever address is written is read back the same, of either family", () => {
  const group = fc.constantFrom(0, 1, 0xdb8, 0xffff, 0xa0);
  fc.assert(
    fc.property(fc.array(group, { minLength: 8, maxLength: 8, size: "max" }), fc.boolean(), (groups, is4) => {
      const words = new Int32Array(4);
      for (let i = 0; i < 4; i++) words[i] = (groups[2 * i]! << 16) | groups[2 * i + 1]!;
      if (is4) words.set([0, 0, 0xffff]);
      const value = readAddress(words, 0);
      const writer = new Writer(40);
      writer.address(words, 0);
      const text = Buffer.from(writer.bytes.subarray(0, writer.length)).toString();
      expect(parseIp(text)).toBe(value);
      const scanner = new Scanner();
      const back = new Int32Array(4);
      scanner.start(writer.bytes, 0, writer.length);
      scanner.address(back, 0);
      expect([scanner.isOk, scanner.at, [...back]]).toEqual([true, writer.length, [...words]]);
    }),
  );
});

test("a number is as long and as large as asked, or none", () => {
  const scanner = new Scanner();
  const number = (text: string): number => {
    scanner.start(ascii(text), 0, text.length);
    const value = scanner.number(65_535, 5);
    return scanner.isOk ? value : -1;
  };
  expect(["0", "65535", "65536", "123456", "", "x", "007"].map(number)).toEqual([
    0, 65_535, -1, -1, -1, -1, 7,
  ]);
});

test("a writer that is full says so and keeps what it has", () => {
  const writer = new Writer(4);
  writer.decimal(1234);
  expect(writer.isFull).toBe(false);
  writer.byte(COMMA);
  writer.copy(ascii("abc"), 0, 3);
  expect([writer.isFull, Buffer.from(writer.bytes).toString()]).toEqual([true, "1234"]);
});

test("words are found in any case of their letters, and never past the end", () => {
  const word = keyword("Via:");
  expect(startsWith(ascii("VIA: x"), 0, 6, word)).toBe(true);
  expect(startsWith(ascii("via: x"), 0, 6, word)).toBe(true);
  expect(startsWith(ascii("via; x"), 0, 6, word)).toBe(false);
  expect(startsWith(ascii("vIa:"), 0, 3, word)).toBe(false);
  expect(indexOf(ascii("abc"), 0, 3, 0x64)).toBe(3);
});
