import { expect, test } from "vitest";
import { BfdSession } from "../../../../cluster/liveness/bfd.ts";
import {
  BFD_ADMIN_DOWN,
  BFD_BYTES,
  BFD_DOWN,
  BFD_INIT,
  BFD_UP,
  type BfdPacket,
  DIAG_DETECTION_TIME_EXPIRED,
  DIAG_NEIGHBOR_SIGNALED_DOWN,
  decodeBfd,
  emptyBfdPacket,
  encodeBfd,
} from "../../../../cluster/liveness/bfd-packet.ts";
import { seededRandom } from "../../../../src/base/env.ts";

const CONFIG = { intervalMs: 10, multiplier: 5, slowMs: 100 };
const session = (seed = 1, config: ConstructorParameters<typeof BfdSession>[0] = CONFIG): BfdSession =>
  new BfdSession(config, { nowMs: () => 0, random: seededRandom(seed) }, 0);

const packet = (part: Partial<BfdPacket>): BfdPacket => ({
  ...emptyBfdPacket(),
  multiplier: 5,
  myDiscriminator: 77,
  desiredMinTxMs: 10,
  requiredMinRxMs: 10,
  ...part,
});

/** Lets two sessions talk until neither has anything due. */
function talk(a: BfdSession, b: BfdSession, nowMs: number): void {
  for (let i = 0; i < 10 && (a.isTransmitDue(nowMs) || b.isTransmitDue(nowMs)); i++) {
    if (a.isTransmitDue(nowMs)) b.receive({ ...a.transmit(nowMs) }, nowMs);
    if (b.isTransmitDue(nowMs)) a.receive({ ...b.transmit(nowMs) }, nowMs);
  }
}

function up(): [BfdSession, BfdSession] {
  const a = session(1);
  const b = session(2);
  talk(a, b, 0);
  return [a, b];
}

test("two sessions come up by the three-way handshake (RFC 5880 6.2)", () => {
  const a = session(1);
  const b = session(2);
  b.receive({ ...a.transmit(0) }, 0);
  expect(b.state).toBe(BFD_INIT);
  a.receive({ ...b.transmit(0) }, 0);
  expect(a.state).toBe(BFD_UP);
  b.receive({ ...a.transmit(0) }, 0);
  expect(b.state).toBe(BFD_UP);
});

test("Init of the peer brings a session that is Down straight up (RFC 5880 6.8.6)", () => {
  const a = session();
  a.receive(packet({ state: BFD_INIT, yourDiscriminator: a.discriminator }), 0);
  expect(a.state).toBe(BFD_UP);
});

test("Up of the peer does not bring a session that is Down up (RFC 5880 6.8.6)", () => {
  const a = session();
  a.receive(packet({ state: BFD_UP, yourDiscriminator: a.discriminator }), 0);
  expect(a.state).toBe(BFD_DOWN);
});

test("a session that is Up goes Down when the peer says Down, and tells why (RFC 5880 6.8.6)", () => {
  const [a] = up();
  a.receive(packet({ state: BFD_DOWN }), 1);
  expect([a.state, a.diag]).toEqual([BFD_DOWN, DIAG_NEIGHBOR_SIGNALED_DOWN]);
});

test("AdminDown of the peer takes a session down and keeps it there (RFC 5880 6.8.16)", () => {
  const [a, b] = up();
  b.adminDown(1);
  a.receive({ ...b.transmit(1) }, 1);
  expect([a.state, a.remoteState]).toEqual([BFD_DOWN, BFD_ADMIN_DOWN]);
  a.receive(packet({ state: BFD_ADMIN_DOWN }), 2);
  expect(a.state).toBe(BFD_DOWN);
});

test("a session that is AdminDown ignores what the peer says", () => {
  const a = session();
  a.adminDown(0);
  a.receive(packet({ state: BFD_INIT, yourDiscriminator: a.discriminator }), 0);
  expect(a.state).toBe(BFD_ADMIN_DOWN);
});

test("the detection time is the peer's multiplier times the slower of the two intervals (RFC 5880 6.8.4)", () => {
  const [a] = up();
  a.receive(
    packet({ state: BFD_UP, yourDiscriminator: a.discriminator, multiplier: 3, desiredMinTxMs: 20 }),
    5,
  );
  expect(a.detectionMs).toBe(60);
  a.tick(64.9);
  expect(a.state).toBe(BFD_UP);
  a.tick(65);
  expect([a.state, a.diag, a.isSilent]).toEqual([BFD_DOWN, DIAG_DETECTION_TIME_EXPIRED, true]);
});

test("an expired session forgets the peer's discriminator (RFC 5880 6.8.1)", () => {
  const [a] = up();
  a.tick(1000);
  expect(a.transmit(1000).yourDiscriminator).toBe(0);
});

test("a packet for another session is discarded", () => {
  const [a] = up();
  expect(a.receive(packet({ state: BFD_DOWN, yourDiscriminator: a.discriminator + 1 }), 1)).toBe(false);
  expect(a.state).toBe(BFD_UP);
});

test("intervals are jittered to between 75 and 100 percent (RFC 5880 6.8.7)", () => {
  const [a] = up();
  const gaps: number[] = [];
  let last = 1;
  a.transmit(last);
  for (let t = 1; gaps.length < 300; t += 0.05) {
    if (!a.isTransmitDue(t)) continue;
    gaps.push(t - last);
    a.transmit(t);
    last = t;
  }
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(7.5);
  expect(Math.min(...gaps)).toBeLessThan(7.8);
  expect(Math.max(...gaps)).toBeLessThan(10.1);
  expect(Math.max(...gaps)).toBeGreaterThan(9.7);
});

test("with a multiplier of one, intervals are at most 90 percent (RFC 5880 6.8.7)", () => {
  const a = session(3, { intervalMs: 10, multiplier: 1, slowMs: 10 });
  for (let i = 0; i < 300; i++) {
    a.transmit(0);
    expect(a.isTransmitDue(9.01)).toBe(true);
    expect(a.isTransmitDue(7.49)).toBe(false);
  }
});

test("while not Up, packets go out once a second unless configured otherwise (RFC 5880 6.8.3)", () => {
  const a = session(1, { intervalMs: 10, multiplier: 3 });
  expect(a.transmit(0).desiredMinTxMs).toBe(1000);
  expect(a.isTransmitDue(749)).toBe(false);
  expect(a.isTransmitDue(1000)).toBe(true);
});

test("a poll is repeated until the final, and the final never polls (RFC 5880 6.5)", () => {
  const [a, b] = up();
  a.poll(20);
  const polling = { ...a.transmit(20) };
  expect(polling.isPoll).toBe(true);
  expect(a.transmit(30).isPoll).toBe(true);
  b.receive(polling, 20);
  expect(b.isTransmitDue(20)).toBe(true);
  const final = { ...b.transmit(20) };
  expect([final.isFinal, final.isPoll]).toEqual([true, false]);
  a.receive(final, 21);
  expect(a.transmit(40).isPoll).toBe(false);
});

test("a peer that cannot receive gets no periodic packets (RFC 5880 6.8.7)", () => {
  const [a] = up();
  a.receive(packet({ state: BFD_UP, yourDiscriminator: a.discriminator, requiredMinRxMs: 0 }), 1);
  a.transmit(1);
  expect(a.isTransmitDue(1000)).toBe(false);
});

test("time that our own loop stood still is forgiven, but at most one detection time", () => {
  const [a] = up();
  a.forgive(30);
  a.tick(79);
  expect(a.state).toBe(BFD_UP);
  a.forgive(1e6);
  a.tick(100);
  expect(a.state).toBe(BFD_DOWN);
});

test("a packet comes back from its 24 bytes as it was", () => {
  const view = new DataView(new ArrayBuffer(BFD_BYTES));
  const p = packet({ state: BFD_UP, isPoll: true, diag: 3, yourDiscriminator: 9, desiredMinTxMs: 12.5 });
  encodeBfd(p, view, 0);
  const back = emptyBfdPacket();
  expect(decodeBfd(view, 0, BFD_BYTES, back)).toBe(true);
  expect(back).toEqual(p);
});

test.each([
  ["another version", (v: DataView) => v.setUint8(0, 0x40)],
  ["the authentication bit without the section", (v: DataView) => v.setUint8(1, 0xc4)],
  ["the multipoint bit", (v: DataView) => v.setUint8(1, 0xc1)],
  ["a multiplier of zero", (v: DataView) => v.setUint8(2, 0)],
  ["a length below 24", (v: DataView) => v.setUint8(3, 23)],
  ["a length beyond the datagram", (v: DataView) => v.setUint8(3, 25)],
  ["no discriminator of the sender", (v: DataView) => v.setUint32(4, 0)],
  ["no discriminator of ours although Up", (v: DataView) => v.setUint32(8, 0)],
])("a packet with %s is discarded (RFC 5880 6.8.6)", (_what, spoil) => {
  const view = new DataView(new ArrayBuffer(BFD_BYTES));
  encodeBfd(packet({ state: BFD_UP, yourDiscriminator: 9 }), view, 0);
  spoil(view);
  expect(decodeBfd(view, 0, BFD_BYTES, emptyBfdPacket())).toBe(false);
});

test("a packet may leave before it is due by what jitter may take off its interval, and not earlier (RFC 5880 6.8.7)", () => {
  const [a] = up();
  a.transmit(100, 1);
  expect(a.transmitDueMs).toBe(110);
  expect(a.mayTransmit(107.4)).toBe(false);
  expect(a.mayTransmit(107.5)).toBe(true);
  expect(a.isTransmitDue(107.5)).toBe(false);
});

test("no packet is due to a peer that wants none, and none may leave (RFC 5880 6.8.7)", () => {
  const [a] = up();
  a.receive(packet({ state: BFD_UP, yourDiscriminator: a.discriminator, requiredMinRxMs: 0 }), 1);
  a.receive(
    packet({ state: BFD_UP, yourDiscriminator: a.discriminator, requiredMinRxMs: 0, isFinal: true }),
    2,
  );
  a.transmit(2);
  expect(a.transmitDueMs).toBe(Number.POSITIVE_INFINITY);
  expect(a.mayTransmit(1000)).toBe(false);
});

test("a final is due at once", () => {
  const [a] = up();
  a.transmit(50);
  a.receive(packet({ state: BFD_UP, yourDiscriminator: a.discriminator, isPoll: true }), 51);
  expect(a.isTransmitDue(51)).toBe(true);
  expect(a.transmitDueMs).toBeLessThanOrEqual(51);
});
