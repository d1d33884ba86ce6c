import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import {
  clusterHash,
  ENVELOPE_HEADER_BYTES,
  ENVELOPE_MAX_BYTES,
  EnvelopeWriter,
  emptyEnvelopeHeader,
  type Mac,
  openEnvelope,
  ReplayWindow,
} from "../../../../cluster/liveness/envelope.ts";

const CLUSTER = clusterHash("edge");
const mac: Mac = (bytes, from, to) => createHmac("sha256", `key-${from}-${to}`).update(bytes).digest();
const isPeer = (node: number): boolean => node === 1 || node === 3;

function datagram(to = 2, cluster = CLUSTER): Uint8Array {
  const writer = new EnvelopeWriter(cluster, mac);
  writer.begin(1, to, 4, 2 ** 47 + 5, 77, 2 ** 33 + 1);
  writer.bytes.set([9, 8, 7], writer.add(5, 3));
  writer.add(6, 0);
  return writer.seal().slice();
}

const open = (bytes: Uint8Array): string | undefined =>
  openEnvelope(bytes, 2, CLUSTER, isPeer, mac, emptyEnvelopeHeader());

test("a datagram is read back with all that its header says", () => {
  const h = emptyEnvelopeHeader();
  expect(openEnvelope(datagram(), 2, CLUSTER, isPeer, mac, h)).toBeUndefined();
  expect(h).toEqual({
    from: 1,
    to: 2,
    link: 4,
    nonce: 2 ** 47 + 5,
    echo: 77,
    seq: 2 ** 33 + 1,
    count: 2,
    payloadBytes: 11,
  });
});

test("padding behind the MAC is ignored, as Ethernet pads short frames", () => {
  expect(open(Uint8Array.of(...datagram(), 0, 0, 0))).toBeUndefined();
});

test("a datagram for everybody is accepted, one for somebody else is not", () => {
  expect(open(datagram(0))).toBeUndefined();
  expect(open(datagram(3))).toBe("stranger");
});

test("every single changed byte is noticed", () => {
  const good = datagram();
  for (let i = 0; i < good.length; i++) {
    const bad = good.slice();
    bad[i] = (bad[i] as number) ^ 1;
    expect(open(bad), `byte ${i}`).toBeDefined();
  }
});

test("every truncation is refused", () => {
  const good = datagram();
  for (let n = 0; n < good.length; n++) expect(open(good.subarray(0, n)), `${n} bytes`).toBeDefined();
});

test("another cluster's datagram is foreign, an unknown member's a stranger's", () => {
  expect(open(datagram(2, clusterHash("other")))).toBe("foreign");
  expect(openEnvelope(datagram(), 2, CLUSTER, () => false, mac, emptyEnvelopeHeader())).toBe("stranger");
  expect(openEnvelope(datagram(0), 1, CLUSTER, isPeer, mac, emptyEnvelopeHeader())).toBe("stranger");
});

test("messages that do not fill the payload exactly are malformed, even with a right MAC", () => {
  const bad = datagram();
  bad[ENVELOPE_HEADER_BYTES + 3] = 200;
  const end = bad.length - 16;
  bad.set(mac(bad.subarray(0, end), 1, 2).subarray(0, 16), end);
  expect(open(bad)).toBe("malformed");
});

test("add() answers -1 when the datagram is full", () => {
  const writer = new EnvelopeWriter(CLUSTER, mac);
  writer.begin(1, 2, 0, 1, 0, 1);
  expect(writer.add(1, ENVELOPE_MAX_BYTES)).toBe(-1);
  expect(writer.add(1, 1000)).toBeGreaterThan(0);
  expect(writer.add(1, 200)).toBe(-1);
});

test("the replay window takes each of the newest 64 numbers once, in any order", () => {
  const w = new ReplayWindow();
  expect(w.accept(100)).toBe(true);
  for (let seq = 37; seq < 100; seq++) {
    expect(w.accept(seq), `${seq}`).toBe(true);
    expect(w.accept(seq), `${seq} again`).toBe(false);
  }
  expect(w.accept(36)).toBe(false);
  expect(w.accept(100)).toBe(false);
});

test.each([1, 31, 32, 33, 63, 64, 1000])("the replay window remembers after a jump by %i", (by) => {
  const w = new ReplayWindow();
  for (let seq = 1; seq <= 64; seq++) w.accept(seq);
  expect(w.accept(64 + by)).toBe(true);
  for (let seq = 1; seq <= 64 + by; seq++) {
    const isNew = seq > 64 && seq < 64 + by && seq > by;
    expect(w.accept(seq), `${seq}`).toBe(isNew);
  }
});
