import fc from "fast-check";
import { expect, test } from "vitest";
import { countStream, gapsOverTime, longestGap, type Stream } from "../../../../chaos/traffic/gaps.ts";

const WAY_MS = 0.2;

/** A stream of probes sent at these times; `lost` never arrive, `late` arrive so much later. */
function stream(
  sentAtMs: number[],
  lost: (sequence: number) => boolean = () => false,
  readMs: number[] = sentAtMs,
): Stream {
  const heard = sentAtMs.map((_, sequence) => sequence).filter((sequence) => !lost(sequence));
  return {
    sentAtMs,
    sentByMs: sentAtMs,
    heard,
    heardAtMs: heard.map((sequence) => sentAtMs[sequence]! + WAY_MS),
    receiverReadMs: readMs,
  };
}

function eachMs(count: number, from = 0): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}

test("longestGap() of an undisturbed stream is the interval", () => {
  expect(longestGap(stream(eachMs(100)), 0, 100).outageMs).toBeCloseTo(1);
});

test("longestGap() of a burst of losses is the time between the probes around it", () => {
  const gap = longestGap(
    stream(eachMs(100), (n) => n >= 40 && n < 60),
    0,
    100,
  );
  expect(gap.outageMs).toBeCloseTo(21);
  expect(gap.rawMs).toBeCloseTo(21);
  expect(gap.startsAtMs).toBeCloseTo(39.2);
});

test("a stall of the sender alone is no outage", () => {
  const gap = longestGap(stream([...eachMs(50), ...eachMs(50, 80)]), 0, 200);
  expect(gap.rawMs).toBeCloseTo(31);
  expect(gap.outageMs).toBeCloseTo(1);
});

test("a stall of the sender between two lost probes is part of the outage", () => {
  const sent = [...eachMs(50), ...eachMs(50, 80)];
  const gap = longestGap(
    stream(sent, (n) => n >= 45 && n < 55),
    0,
    200,
  );
  expect(gap.outageMs).toBeCloseTo(41);
});

test("a stall of the sender at the edge of an outage is subtracted, the losses are not", () => {
  const sent = [...eachMs(50), ...eachMs(50, 80)];
  const gap = longestGap(
    stream(sent, (n) => n >= 50 && n < 60),
    0,
    200,
  );
  expect(gap.rawMs).toBeCloseTo(41);
  expect(gap.outageMs).toBeCloseTo(11);
});

test("a stall of the receiver is no outage: what waited for it was there", () => {
  const sent = eachMs(100);
  const heardAtMs = sent.map((ms) => (ms >= 40 && ms < 60 ? 60.2 : ms + WAY_MS));
  const readMs = sent.map((ms) => (ms >= 40 && ms < 60 ? 60.3 : ms + WAY_MS + 0.1));
  const gap = longestGap(
    { sentAtMs: sent, sentByMs: sent, heard: sent, heardAtMs, receiverReadMs: readMs },
    0,
    100,
  );
  expect(gap.rawMs).toBeCloseTo(21);
  expect(gap.outageMs).toBeLessThan(3);
});

test("a receiver that works for long before it reads is asleep still: what it read is what counts", () => {
  const sent = eachMs(100);
  const heardAtMs = sent.map((ms) => (ms >= 40 && ms < 60 ? 60 + WAY_MS : ms + WAY_MS));
  // It woke at 50, and was kept from its sockets until 60.
  const readMs = sent.filter((ms) => ms < 40 || ms > 60);
  const gap = longestGap(
    { sentAtMs: sent, sentByMs: sent, heard: sent, heardAtMs, receiverReadMs: readMs },
    0,
    100,
  );
  expect(gap.rawMs).toBeCloseTo(21);
  expect(gap.outageMs).toBeLessThan(3);
});

test("a sender that stalls between the clock and the socket is no outage", () => {
  const sentAtMs = [...eachMs(50), ...eachMs(50, 80)];
  const sentByMs = sentAtMs.map((ms) => (ms === 49 ? 79.9 : ms));
  const heard = sentAtMs.map((_, sequence) => sequence);
  const heardAtMs = sentByMs.map((ms) => ms + WAY_MS);
  const gap = longestGap({ sentAtMs, sentByMs, heard, heardAtMs, receiverReadMs: eachMs(140) }, 0, 200);
  expect(gap.rawMs).toBeCloseTo(31.9);
  expect(gap.outageMs).toBeLessThan(2);
});

test("stalls of both ends that overlap explain a gap together, and only once", () => {
  // The sender stands still from 40 to 70 after its probe 40, the receiver from 60 to 90.
  const sentAtMs = eachMs(130).filter((ms) => ms <= 40 || ms >= 70);
  const heard = sentAtMs.map((_, sequence) => sequence);
  const heardAtMs = sentAtMs.map((ms) => (ms >= 60 && ms < 90 ? 90 : ms) + WAY_MS);
  const receiverReadMs = eachMs(130).filter((ms) => ms < 60 || ms > 90);
  const streams = { sentAtMs, sentByMs: sentAtMs, heard, heardAtMs, receiverReadMs };
  expect(longestGap(streams, 0, 130).rawMs).toBeCloseTo(50);
  expect(longestGap(streams, 0, 130).outageMs).toBeLessThan(4);
  // The same, and the network is out for what both slept, and for 20 more.
  const late = heardAtMs.map((ms) => (ms > 60 && ms < 110 ? 110 + WAY_MS : ms));
  expect(longestGap({ ...streams, heardAtMs: late }, 0, 130).outageMs).toBeGreaterThan(19);
});

test("of a stall at the end of the window only what is within it is subtracted", () => {
  const gap = longestGap(stream([...eachMs(50), ...eachMs(50, 80)]), 0, 65);
  expect(gap.rawMs).toBeCloseTo(15.8);
  expect(gap.outageMs).toBeCloseTo(1);
});

test("probes that the network held back are an outage, though none is lost", () => {
  const sent = eachMs(100);
  const heardAtMs = sent.map((ms) => (ms >= 40 && ms < 60 ? 60.2 : ms + WAY_MS));
  const gap = longestGap(
    { sentAtMs: sent, sentByMs: sent, heard: sent, heardAtMs, receiverReadMs: sent },
    0,
    100,
  );
  expect(gap.outageMs).toBeGreaterThan(19);
});

test("a stream that never comes back is out until the end", () => {
  expect(
    longestGap(
      stream(eachMs(100), (n) => n >= 30),
      20,
      90,
    ).outageMs,
  ).toBeGreaterThan(59);
});

test("a stream of which nothing was heard is out all the time", () => {
  expect(
    longestGap(
      stream(eachMs(100), () => true),
      0,
      99,
    ).outageMs,
  ).toBeCloseTo(99);
});

test("longestGap() before the fault does not see the outage after it", () => {
  expect(
    longestGap(
      stream(eachMs(100), (n) => n >= 50 && n < 90),
      0,
      50,
    ).outageMs,
  ).toBeLessThan(2);
});

test("longestGap() finds an outage that began right before its window", () => {
  expect(
    longestGap(
      stream(eachMs(100), (n) => n >= 50 && n < 70),
      55,
      100,
    ).outageMs,
  ).toBeCloseTo(21);
});

test("longestGap() never exceeds what was heard, and never misses a lost run of probes", () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(1, 1, 1, 7, 30), { minLength: 3, maxLength: 60, size: "max" }),
      fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }),
      (steps, isLost) => {
        let at = 0;
        const sent = steps.map((step) => (at += step));
        const lastIndex = sent.length - 1;
        const lost = (n: number): boolean => n > 0 && n < lastIndex && isLost[n]!;
        const gap = longestGap(stream(sent, lost), 0, at + 1);
        expect(gap.outageMs).toBeLessThanOrEqual(gap.rawMs + 1e-9);
        // From the first to the last probe of a lost run the network was certainly out.
        for (let n = 1; n < lastIndex; n++) {
          if (!lost(n)) continue;
          let end = n;
          while (lost(end + 1)) end++;
          expect(gap.outageMs).toBeGreaterThanOrEqual(sent[end]! - sent[n]!);
        }
      },
    ),
  );
});

test("countStream() counts lost, doubled and overtaken probes of the window only", () => {
  const sentAtMs = eachMs(10);
  const heard = [0, 1, 3, 2, 4, 4, 6, 7, 8, 9];
  const counts = countStream(
    { sentAtMs, sentByMs: sentAtMs, heard, heardAtMs: heard, receiverReadMs: [] },
    1,
    8,
  );
  expect(counts).toEqual({ sent: 8, lost: 1, duplicated: 1, reordered: 1 });
});

test("gapsOverTime() keeps the largest gap of each bucket", () => {
  const gaps = gapsOverTime(
    stream(eachMs(30), (n) => n >= 12 && n < 17),
    0,
    30,
    10,
  );
  expect(gaps.map(([at, gap]) => [at, Math.round(gap)])).toEqual([
    [0, 1],
    [10, 6],
    [20, 1],
  ]);
});
