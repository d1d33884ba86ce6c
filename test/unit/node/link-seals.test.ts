import { describe, expect, test } from "vitest";
import type { SealMode } from "../../../src/base/seal-mode.ts";
import {
  SEAL_FORGED,
  SEAL_NO_KEY,
  SEAL_OPENED,
  SEAL_REPLAYED,
  SealWindow,
} from "../../../src/dataplane/redirect-seal.ts";
import { LinkSeals } from "../../../src/node/link-seals.ts";
import {
  GENEVE_HEADER_BYTES,
  SEALED_TAG_BYTES,
  SEQUENCE_AT,
  writeSealed,
} from "../../../src/packet/geneve.ts";

const KEY = new Uint8Array(32).fill(9);
const BODY = Uint8Array.from({ length: 90 }, (_, i) => i);
const AT = 40;
const END = AT + GENEVE_HEADER_BYTES + BODY.length + SEALED_TAG_BYTES;

/** Nodes 1 and 2 that have met, in the lives given. */
function met(lives: readonly [number, number] = [11, 22], key = KEY, mode: SealMode = "always") {
  const one = new LinkSeals(1, key, mode);
  const two = new LinkSeals(2, key, mode);
  one.meet(2, lives[0], lives[1]);
  two.meet(1, lives[1], lives[0]);
  return { one, two };
}

/** A buffer with a body that `from` sealed for `to`. */
function sealed(from: LinkSeals, to: number): Uint8Array {
  const bytes = new Uint8Array(256);
  writeSealed(bytes, AT, 0, 0, 0, 0);
  bytes.set(BODY, AT + GENEVE_HEADER_BYTES);
  expect(from.seal(bytes, AT, BODY.length, to)).toBe(true);
  return bytes;
}

function open(by: LinkSeals, from: number, bytes: Uint8Array): number {
  return by.open(bytes, AT, BODY.length, from);
}

function bodyOf(bytes: Uint8Array): Uint8Array {
  return bytes.slice(AT + GENEVE_HEADER_BYTES, AT + GENEVE_HEADER_BYTES + BODY.length);
}

describe("link seals", () => {
  test("the peer that a frame was sealed for reads it, in place", () => {
    const { one, two } = met();
    const bytes = sealed(one, 2);
    expect(bodyOf(bytes)).not.toEqual(BODY);
    expect(open(two, 1, bytes)).toBe(SEAL_OPENED);
    expect(bodyOf(bytes)).toEqual(BODY);
  });

  test("a frame of which any byte was changed is forged: header, sequence, body or tag (NIST SP 800-38D)", () => {
    const { one, two } = met();
    for (let at = AT; at < END; at++) {
      const bytes = sealed(one, 2);
      bytes[at] = bytes[at]! ^ 0x40;
      expect([at, open(two, 1, bytes)]).not.toEqual([at, SEAL_OPENED]);
    }
    expect(open(two, 1, sealed(one, 2))).toBe(SEAL_OPENED);
  });

  test("what is forged does not use up the sequence that it claims", () => {
    const { one, two } = met();
    const bytes = sealed(one, 2);
    const forged = bytes.slice();
    forged[END - 1] = forged[END - 1]! ^ 1;
    expect(open(two, 1, forged)).toBe(SEAL_FORGED);
    expect(open(two, 1, bytes)).toBe(SEAL_OPENED);
  });

  test("a frame opens once", () => {
    const { one, two } = met();
    const bytes = sealed(one, 2);
    const copy = bytes.slice();
    expect(open(two, 1, bytes)).toBe(SEAL_OPENED);
    expect(open(two, 1, copy)).toBe(SEAL_REPLAYED);
  });

  test("frames that overtook each other all open; one from far behind does not", () => {
    const { one, two } = met();
    const frames = Array.from({ length: 3000 }, () => sealed(one, 2));
    const late = frames.shift()!;
    expect(
      frames
        .splice(0, 100)
        .reverse()
        .map((bytes) => open(two, 1, bytes)),
    ).toEqual(new Array(100).fill(SEAL_OPENED));
    for (const bytes of frames) expect(open(two, 1, bytes)).toBe(SEAL_OPENED);
    expect(open(two, 1, late)).toBe(SEAL_REPLAYED);
  });

  test("what was sealed in another life of either end does not open", () => {
    const old = met([11, 22]);
    expect(open(met([12, 22]).two, 1, sealed(old.one, 2))).toBe(SEAL_FORGED);
    expect(open(met([11, 23]).two, 1, sealed(old.one, 2))).toBe(SEAL_FORGED);
  });

  test("a new life numbers from 1 again, under another key: no nonce meets a key twice", () => {
    const first = sealed(met([11, 22]).one, 2);
    const { one, two } = met([12, 22]);
    const second = sealed(one, 2);
    const sequence = (bytes: Uint8Array) => [...bytes.subarray(AT + SEQUENCE_AT, AT + SEQUENCE_AT + 8)];
    expect(sequence(second)).toEqual(sequence(first));
    expect(bodyOf(second)).not.toEqual(bodyOf(first));
    expect(open(two, 1, second)).toBe(SEAL_OPENED);
  });

  test("the two directions, and other peers, have other keys", () => {
    const { one, two } = met();
    expect(open(one, 2, sealed(one, 2))).toBe(SEAL_FORGED);
    one.meet(3, 11, 22);
    expect(open(two, 1, sealed(one, 3))).toBe(SEAL_FORGED);
  });

  test("another cluster's secret opens nothing", () => {
    const { one } = met();
    expect(open(met([11, 22], new Uint8Array(32).fill(8)).two, 1, sealed(one, 2))).toBe(SEAL_FORGED);
  });

  test("before a peer's life is proven nothing is sealed for it and nothing of it opens", () => {
    const { one } = met();
    const stranger = new LinkSeals(2, KEY, "always");
    expect(stranger.seal(new Uint8Array(256), AT, BODY.length, 1)).toBe(false);
    expect(open(stranger, 1, sealed(one, 2))).toBe(SEAL_NO_KEY);
  });

  test("to hear of the same life again changes nothing", () => {
    const { one, two } = met();
    const bytes = sealed(one, 2);
    const copy = bytes.slice();
    expect(open(two, 1, bytes)).toBe(SEAL_OPENED);
    two.meet(1, 22, 11);
    expect(open(two, 1, copy)).toBe(SEAL_REPLAYED);
  });

  test("after 2^32 frames both ends go on under the next key", () => {
    const { one, two } = met();
    const before = sealed(one, 2);
    one.skipTo(2, 2 ** 32 - 1);
    const last = sealed(one, 2);
    const next = sealed(one, 2);
    expect(open(two, 1, next)).toBe(SEAL_OPENED);
    // Overtaken at the very turn.
    expect(open(two, 1, last)).toBe(SEAL_OPENED);
    expect(open(two, 1, before)).toBe(SEAL_REPLAYED);
    expect(open(two, 1, sealed(one, 2))).toBe(SEAL_OPENED);
  });

  test("no frame makes the receiver jump over an era", () => {
    const { one, two } = met();
    one.skipTo(2, 2 * 2 ** 32);
    expect(open(two, 1, sealed(one, 2))).toBe(SEAL_FORGED);
  });
});

describe("seal window", () => {
  test("takes each sequence once, whatever the order, within its width (RFC 6479)", () => {
    const window = new SealWindow();
    const taken = (sequence: number): boolean => {
      const isFresh = window.isFresh(sequence);
      if (isFresh) window.take(sequence);
      return isFresh;
    };
    expect([1, 3, 2, 3, 2, 1].map(taken)).toEqual([true, true, true, false, false, false]);
    expect([2048, 4, 2048].map(taken)).toEqual([true, true, false]);
    // 2051 pushes 3 out.
    expect([2051, 3, 5, 2052, 4].map(taken)).toEqual([true, false, true, true, false]);
    expect([0, -1, 1_000_000, 1_000_000 - 2047, 1_000_000 - 2048].map(taken)).toEqual([
      false,
      false,
      true,
      true,
      false,
    ]);
  });
});
