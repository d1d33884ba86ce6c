import { describe, expect, test } from "vitest";
import { type Address, writeAddress } from "../../../../src/base/address.ts";
import { seededRandom } from "../../../../src/base/env.ts";
import { hashKeyFrom } from "../../../../src/base/hash.ts";
import { cookieHash } from "../../../../src/dataplane/defence/cookie-hash.ts";
import {
  COOKIE_PERIOD_MS,
  cookieIndex,
  cookieMss,
  cookieSack,
  cookieScale,
  SynCookies,
} from "../../../../src/dataplane/defence/syn-cookie.ts";
import { NONE } from "../../../../src/dataplane/flow-layout.ts";
import { NO_SCALE } from "../../../../src/packet/tcp.ts";
import { TEST_KEY } from "../world.ts";

const PORTS = (40_000 << 16) | 443;
const SEQUENCE = 0x12345678;
const INDEX = cookieIndex(1460, 7, true);
/** Some day, in the middle of a period. */
const NOW_MS = 27_000_000 * COOKIE_PERIOD_MS + COOKIE_PERIOD_MS / 2;

function ends(client: Address, server: Address): Int32Array {
  const words = new Int32Array(8);
  writeAddress(words, 0, client);
  writeAddress(words, 4, server);
  return words;
}

const IPV4 = ends(0x0a000001, 0xc6336464);
const IPV6 = ends(0x20010db8n << 96n, (0x20010db8n << 96n) | 1n);

function node(wallMs = NOW_MS, secret = TEST_KEY): SynCookies {
  const cookies = new SynCookies(secret);
  cookies.advance(Float64Array.of(wallMs));
  return cookies;
}

test("the hash is HalfSipHash-2-4: the reference implementation's vectors", () => {
  const bytes = Uint8Array.from({ length: 64 }, (_, i) => i);
  const message = new Int32Array(bytes.buffer);
  const hashes = [0, 1, 2, 3, 4, 5].map((count) => cookieHash(0x03020100, 0x07060504, message, count) >>> 0);
  expect(hashes).toEqual([0x5b9f35a9, 0x89466e2a, 0x8f84b8d0, 0x2f87f057, 0x84acb5d9, 0x45104de3]);
});

describe.each([
  ["IPv4", IPV4, ends(0x0a000002, 0xc6336464)],
  ["IPv6", IPV6, ends((0x20010db8n << 96n) | 2n, (0x20010db8n << 96n) | 1n)],
])("RFC 4987 section 3.6: a cookie, %s", (_, words, others) => {
  test("is what its maker finds right, and any other node with the same secret", () => {
    const cookie = node().make(words, 0, 4, PORTS, SEQUENCE, INDEX);
    expect(node().check(words, 0, 4, PORTS, SEQUENCE, cookie)).toBe(INDEX);
  });

  test("fits one client, one connection, one sequence number and one secret", () => {
    const cookie = node().make(words, 0, 4, PORTS, SEQUENCE, INDEX);
    const checker = node();
    expect(checker.check(others, 0, 4, PORTS, SEQUENCE, cookie)).toBe(NONE);
    expect(checker.check(words, 0, 4, PORTS + 1, SEQUENCE, cookie)).toBe(NONE);
    expect(checker.check(words, 0, 4, PORTS + 65_536, SEQUENCE, cookie)).toBe(NONE);
    expect(checker.check(words, 0, 4, PORTS, SEQUENCE + 1, cookie)).toBe(NONE);
    expect(checker.check(words, 4, 0, PORTS, SEQUENCE, cookie)).toBe(NONE);
    const stranger = node(NOW_MS, hashKeyFrom(new Uint8Array(32)));
    expect(stranger.check(words, 0, 4, PORTS, SEQUENCE, cookie)).toBe(NONE);
  });

  test("cannot be changed in any bit", () => {
    const checker = node();
    const cookie = checker.make(words, 0, 4, PORTS, SEQUENCE, INDEX);
    for (let bit = 0; bit < 32; bit++) {
      expect(checker.check(words, 0, 4, PORTS, SEQUENCE, cookie ^ (1 << bit))).toBe(NONE);
    }
  });

  test("lives for one period more, and bears clocks that differ by one", () => {
    const at = (periods: number) => node(NOW_MS + periods * COOKIE_PERIOD_MS);
    const cookie = node().make(words, 0, 4, PORTS, SEQUENCE, INDEX);
    const answers = [-4, -3, -2, -1, 0, 1, 2, 3, 4].map(
      (periods) => at(periods).check(words, 0, 4, PORTS, SEQUENCE, cookie) === INDEX,
    );
    expect(answers).toEqual([false, false, false, true, true, true, false, false, false]);
  });
});

test("a node that stayed up and one that just started hold the same keys", () => {
  const old = node(NOW_MS - 9 * COOKIE_PERIOD_MS);
  for (let i = -8; i <= 0; i++) old.advance(Float64Array.of(NOW_MS + i * COOKIE_PERIOD_MS));
  const cookie = old.make(IPV4, 0, 4, PORTS, SEQUENCE, 5);
  expect(node().check(IPV4, 0, 4, PORTS, SEQUENCE, cookie)).toBe(5);
});

test("a cookie that is two periods old is refused by the node that made it, though it still has the key", () => {
  const maker = node(NOW_MS - 2 * COOKIE_PERIOD_MS);
  const cookie = maker.make(IPV4, 0, 4, PORTS, SEQUENCE, 5);
  maker.advance(Float64Array.of(NOW_MS - COOKIE_PERIOD_MS));
  expect(maker.check(IPV4, 0, 4, PORTS, SEQUENCE, cookie)).toBe(5);
  maker.advance(Float64Array.of(NOW_MS));
  expect(maker.check(IPV4, 0, 4, PORTS, SEQUENCE, cookie)).toBe(NONE);
});

test.each([5 * 3_600_000, -5 * 3_600_000, -NOW_MS - 3_600_000])(
  "a time of day that is set by %d ms costs the cookies under way and no later ones",
  (jumpMs) => {
    const cookies = node();
    const before = cookies.make(IPV4, 0, 4, PORTS, SEQUENCE, 5);
    cookies.advance(Float64Array.of(NOW_MS + jumpMs));
    expect(cookies.check(IPV4, 0, 4, PORTS, SEQUENCE, before)).toBe(NONE);
    const after = cookies.make(IPV4, 0, 4, PORTS, SEQUENCE, 5);
    expect(cookies.check(IPV4, 0, 4, PORTS, SEQUENCE, after)).toBe(5);
    cookies.advance(Float64Array.of(NOW_MS));
    expect(cookies.check(IPV4, 0, 4, PORTS, SEQUENCE, before)).toBe(5);
  },
);

test("cookies of all options come back, for whatever a client offers never more than it did", () => {
  const cookies = node();
  for (let index = 0; index < 64; index++) {
    const cookie = cookies.make(IPV4, 0, 4, PORTS, SEQUENCE, index);
    expect(cookies.check(IPV4, 0, 4, PORTS, SEQUENCE, cookie)).toBe(index);
  }
  for (let scale = NO_SCALE; scale <= 14; scale++) {
    for (const mss of [216, 535, 536, 1219, 1220, 1400, 1459, 1460, 8960]) {
      const index = cookieIndex(mss, scale, true);
      expect(cookieMss(index)).toBeLessThanOrEqual(mss);
      expect(cookieScale(index)).toBeLessThanOrEqual(scale);
      expect(cookieSack(index)).toBe(true);
      expect(cookieSack(cookieIndex(mss, scale, false))).toBe(false);
      expect(cookieScale(cookieIndex(mss, scale, false))).toBe(NO_SCALE);
    }
  }
  expect(cookieScale(cookieIndex(1460, 7, true))).toBe(7);
  expect(cookieMss(cookieIndex(1460, 7, true))).toBe(1460);
  expect(cookieMss(cookieIndex(100, NO_SCALE, false))).toBe(216);
});

test("a guessed cookie is wrong: none of 200,000", () => {
  const cookies = node();
  const random = seededRandom(7);
  let right = 0;
  for (let i = 0; i < 200_000; i++) {
    if (cookies.check(IPV4, 0, 4, PORTS, SEQUENCE, random(2 ** 32) | 0) !== NONE) right++;
  }
  expect(right).toBe(0);
});
