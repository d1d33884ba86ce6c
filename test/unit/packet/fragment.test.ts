import { describe, expect, test } from "vitest";
import * as fragment from "../../../src/packet/fragment.ts";
import { type FragmentSpec, fragmentPacket, ipv6, pattern } from "../dataplane/fragment-frames.ts";

const { FRAGMENT_ATOMIC, FRAGMENT_BAD_HEADER, FRAGMENT_INVALID, FRAGMENT_NONE } = fragment;
const { FRAGMENT_PART, FRAGMENT_SOURCE_ROUTED, FRAGMENT_TINY, FRAGMENT_TRUNCATED } = fragment;

const SIX = { from: ipv6(0x20010db8, 1, 1), to: ipv6(0x20010db8, 2, 2) };
const info = new fragment.FragmentInfo();

function readPacket(packet: Uint8Array, available = packet.length): number {
  const bytes = new Uint8Array(packet.length + 24).fill(0xee);
  bytes.set(packet, 10);
  return fragment.readFragment(bytes, 10, available, info);
}

const read = (spec: FragmentSpec): number => readPacket(fragmentPacket(spec));

/** A TCP header of `words` 32-bit words, filled up to `length` bytes. */
function tcpStart(words: number, length: number): Uint8Array {
  const bytes = pattern(length);
  if (length > 12) bytes[12] = words << 4;
  return bytes;
}

/** An extension header of `units` times 8 bytes with the next header's number. */
function extension(next: number, units = 1): number[] {
  return [next, units - 1, ...new Array(units * 8 - 2).fill(0)];
}

describe("an IPv4 fragment (RFC 791 section 3.2)", () => {
  test("tells its datagram and its place", () => {
    const payload = pattern(24);
    expect(read({ id: 0xbeef, protocol: 17, offset: 1480, more: true, payload })).toBe(FRAGMENT_PART);
    expect([info.isIpv6, info.identification, info.protocol]).toEqual([false, 0xbeef, 17]);
    expect([info.offsetBytes, info.payloadBytes, info.isMore]).toEqual([1480, 24, true]);
    expect([info.headBytes, info.payloadAt, info.l4At]).toEqual([20, 30, 0]);
    expect([...info.words]).toEqual([0, 0, 0xffff, 0x0a000001, 0, 0, 0xffff, 0xc0000201 | 0]);
    expect(read({ offset: 0, more: true, payload, options: Uint8Array.of(1, 1, 1, 0) })).toBe(FRAGMENT_PART);
    expect([info.headBytes, info.l4At, info.payloadAt]).toEqual([24, 34, 34]);
    expect(read({ offset: 8, more: false, payload: pattern(3) })).toBe(FRAGMENT_PART);
    expect(info.isMore).toBe(false);
  });

  test("is not what an ordinary packet is, with or without DF", () => {
    expect(read({ offset: 0, more: false, payload: pattern(8) })).toBe(FRAGMENT_NONE);
    expect(read({ offset: 0, more: false, df: true, payload: pattern(8) })).toBe(FRAGMENT_NONE);
    expect(read({ offset: 0, more: true, df: true, payload: pattern(8) })).toBe(FRAGMENT_PART);
  });

  test("is refused when its length or its offset cannot be (RFC 8200 section 4.5)", () => {
    expect(read({ offset: 8, more: true, payload: pattern(12) })).toBe(FRAGMENT_INVALID);
    expect(read({ offset: 8, more: false, payload: new Uint8Array(0) })).toBe(FRAGMENT_INVALID);
    expect(read({ offset: 65_528, more: false, payload: pattern(8) })).toBe(FRAGMENT_INVALID);
    // The header counts: 65,515 bytes of payload are the most.
    expect(read({ offset: 65_504, more: false, payload: pattern(11) })).toBe(FRAGMENT_PART);
    expect(read({ offset: 65_504, more: false, payload: pattern(12) })).toBe(FRAGMENT_INVALID);
  });

  test("holds the whole upper-layer header if it is the first (RFC 1858)", () => {
    const first = (protocol: number, payload: Uint8Array): number =>
      read({ protocol, offset: 0, more: true, payload });
    expect(first(6, tcpStart(5, 16))).toBe(FRAGMENT_TINY);
    expect(first(6, tcpStart(5, 24))).toBe(FRAGMENT_PART);
    // Options are part of the header.
    expect(first(6, tcpStart(8, 24))).toBe(FRAGMENT_TINY);
    expect(first(6, tcpStart(8, 32))).toBe(FRAGMENT_PART);
    expect(first(17, pattern(8))).toBe(FRAGMENT_PART);
    expect(first(17, new Uint8Array(0))).toBe(FRAGMENT_TINY);
    expect(first(132, pattern(8))).toBe(FRAGMENT_TINY);
    expect(first(132, pattern(16))).toBe(FRAGMENT_PART);
    // RFC 2890: with checksum, key and sequence number GRE's header has 16 bytes.
    expect(first(47, Uint8Array.of(0xb0, ...pattern(7)))).toBe(FRAGMENT_TINY);
    expect(first(47, Uint8Array.of(0xb0, ...pattern(15)))).toBe(FRAGMENT_PART);
    expect(first(89, pattern(8))).toBe(FRAGMENT_PART);
  });

  test("does not reach into a TCP header that the first fragment holds (RFC 1858 section 3.2.2, RFC 3128)", () => {
    const at = (offset: number, protocol: number): number =>
      read({ protocol, offset, more: true, payload: pattern(8) });
    expect([at(8, 6), at(16, 6), at(24, 6)]).toEqual([FRAGMENT_TINY, FRAGMENT_TINY, FRAGMENT_PART]);
    expect(at(8, 17)).toBe(FRAGMENT_PART);
  });

  test("is refused when it is shorter than its headers say", () => {
    const packet = fragmentPacket({ offset: 8, more: true, payload: pattern(16) });
    expect(readPacket(packet, 35)).toBe(FRAGMENT_TRUNCATED);
    expect(readPacket(packet, 19)).toBe(FRAGMENT_TRUNCATED);
    packet[0] = 0x44;
    expect(readPacket(packet)).toBe(FRAGMENT_BAD_HEADER);
    packet[0] = 0x55;
    expect(readPacket(packet)).toBe(FRAGMENT_BAD_HEADER);
  });
});

describe("an IPv6 fragment (RFC 8200 section 4.5)", () => {
  test("tells its datagram and its place", () => {
    const payload = pattern(16);
    expect(read({ ...SIX, id: 0xdeadbeef, offset: 1232, more: true, payload })).toBe(FRAGMENT_PART);
    expect([info.isIpv6, info.identification >>> 0, info.protocol]).toEqual([true, 0xdeadbeef, 17]);
    expect([info.offsetBytes, info.payloadBytes, info.isMore]).toEqual([1232, 16, true]);
    expect([info.headBytes, info.payloadAt, info.l4At]).toEqual([0, 58, 0]);
    expect([...info.words]).toEqual([0x20010db8, 1, 0, 1, 0x20010db8, 2, 0, 2]);
  });

  test("is found behind hop-by-hop, routing and destination options", () => {
    const extensions = Uint8Array.from([...extension(43), ...extension(60, 2), ...extension(44)]);
    const spec = { ...SIX, offset: 0, more: true, extensions, firstExtension: 0 };
    expect(read({ ...spec, payload: pattern(16) })).toBe(FRAGMENT_PART);
    expect([info.headBytes, info.payloadAt, info.l4At]).toEqual([32, 90, 90]);
    // Hop-by-hop options have one place (RFC 8200 section 4.1).
    const late = Uint8Array.from([...extension(0), ...extension(44)]);
    expect(read({ ...spec, extensions: late, firstExtension: 60, payload: pattern(16) })).toBe(
      FRAGMENT_BAD_HEADER,
    );
  });

  test("is refused behind more than eight headers or 512 bytes of them", () => {
    const chain = (headers: number, units: number): Uint8Array =>
      Uint8Array.from(
        Array.from({ length: headers }, (_, i) => extension(i === headers - 1 ? 44 : 60, units)).flat(),
      );
    const with_ = (headers: number, units: number): number =>
      read({
        ...SIX,
        offset: 8,
        more: true,
        payload: pattern(8),
        firstExtension: 60,
        extensions: chain(headers, units),
      });
    expect([with_(7, 1), with_(8, 1)]).toEqual([FRAGMENT_PART, FRAGMENT_BAD_HEADER]);
    expect([with_(2, 32), with_(2, 33)]).toEqual([FRAGMENT_PART, FRAGMENT_BAD_HEADER]);
  });

  test("holds the whole chain of headers if it is the first (RFC 7112)", () => {
    const first = (protocol: number, payload: readonly number[]): number =>
      read({ ...SIX, protocol, offset: 0, more: true, payload: Uint8Array.from(payload) });
    expect(first(60, [...extension(6), ...tcpStart(5, 24)])).toBe(FRAGMENT_PART);
    expect([info.protocol, info.l4At]).toEqual([6, info.payloadAt + 8]);
    expect(first(60, [...extension(6), ...tcpStart(5, 16)])).toBe(FRAGMENT_TINY);
    expect(first(60, extension(17))).toBe(FRAGMENT_TINY);
    expect(first(60, [17, 1, ...pattern(6)])).toBe(FRAGMENT_TINY);
    expect(first(60, [])).toBe(FRAGMENT_TINY);
    expect(first(58, [...pattern(8)])).toBe(FRAGMENT_PART);
    // A fragment header in a fragment is nothing that a sender makes.
    expect(first(44, [...pattern(16)])).toBe(FRAGMENT_BAD_HEADER);
    expect(first(60, [...extension(44), ...pattern(16)])).toBe(FRAGMENT_BAD_HEADER);
    expect(first(0, [...extension(17), ...pattern(16)])).toBe(FRAGMENT_BAD_HEADER);
  });

  test("is refused if its chain of headers routes, as a whole packet is (RFC 5095)", () => {
    const first = (protocol: number, payload: readonly number[]): number =>
      read({ ...SIX, protocol, offset: 0, more: true, payload: Uint8Array.from(payload) });
    const routing = (segmentsLeft: number): number[] => [17, 0, 0, segmentsLeft, 0, 0, 0, 0];
    expect(first(43, [...routing(1), ...pattern(16)])).toBe(FRAGMENT_SOURCE_ROUTED);
    expect(first(60, [...extension(43), ...routing(1), ...pattern(16)])).toBe(FRAGMENT_SOURCE_ROUTED);
    expect(first(43, [...routing(0), ...pattern(16)])).toBe(FRAGMENT_PART);
    expect(first(43, routing(1).slice(0, 4))).toBe(FRAGMENT_TINY);
  });

  test("is a whole packet when it is the only one (RFC 6946)", () => {
    expect(read({ ...SIX, offset: 0, more: false, payload: pattern(11) })).toBe(FRAGMENT_ATOMIC);
    expect([info.payloadBytes, info.l4At]).toEqual([11, info.payloadAt]);
    const chain = Uint8Array.from([...extension(17), ...pattern(9)]);
    expect(read({ ...SIX, protocol: 60, offset: 0, more: false, payload: chain })).toBe(FRAGMENT_ATOMIC);
    expect([info.protocol, info.l4At]).toEqual([17, info.payloadAt + 8]);
    expect(read({ ...SIX, protocol: 60, offset: 0, more: false, payload: pattern(4) })).toBe(
      FRAGMENT_TRUNCATED,
    );
  });

  test("is refused when its length or its offset cannot be", () => {
    expect(read({ ...SIX, offset: 8, more: true, payload: pattern(12) })).toBe(FRAGMENT_INVALID);
    expect(read({ ...SIX, offset: 8, more: false, payload: new Uint8Array(0) })).toBe(FRAGMENT_INVALID);
    // The payload length of what is reassembled counts: extension headers before the fragment header are in it.
    const last = { ...SIX, offset: 65_520, more: false };
    expect(read({ ...last, payload: pattern(15) })).toBe(FRAGMENT_PART);
    expect(read({ ...last, payload: pattern(16) })).toBe(FRAGMENT_INVALID);
    const extensions = Uint8Array.from(extension(44));
    expect(read({ ...last, extensions, payload: pattern(7) })).toBe(FRAGMENT_PART);
    expect(read({ ...last, extensions, payload: pattern(8) })).toBe(FRAGMENT_INVALID);
  });

  test("is not what a packet without the header is", () => {
    const packet = fragmentPacket({ ...SIX, offset: 0, more: true, payload: pattern(16) });
    packet[6] = 17;
    expect(readPacket(packet)).toBe(FRAGMENT_NONE);
    packet[6] = 50;
    expect(readPacket(packet)).toBe(FRAGMENT_NONE);
  });
});
