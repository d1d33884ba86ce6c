import { expect, test } from "vitest";
import { PROFILES } from "../../../../cluster/liveness/model.ts";
import {
  PACE_BYTES,
  PACE_HOLD_MS_MAX,
  PACE_HOLD_MS_MIN,
  PACE_RELAPSE_MS,
  Pace,
} from "../../../../cluster/liveness/pace.ts";

const { intervalMs } = PROFILES.lan;
/** The sender's clock is any: here it wraps in the middle of the test. */
const SKEW_MS = 2 ** 32 / 1000 - 300;

/** One direction of a pair: a sender that stamps every interval, and a receiver that looks every millisecond. */
class Direction {
  readonly sender = new Pace(PROFILES.lan);
  readonly receiver = new Pace(PROFILES.lan);
  /** How long a datagram takes on the cluster link; lost when infinite. */
  clusterMs = 0.2;
  isZoneUp = true;
  isClusterUp = true;
  nowMs = 0;
  readonly news: [atMs: number, isLate: boolean][] = [];
  #flying: { atMs: number; isCluster: boolean; view: DataView }[] = [];

  run(ms: number): void {
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs; this.nowMs++) {
      if (this.nowMs % intervalMs === 0) this.#send();
      const due = this.#flying.filter(({ atMs }) => atMs <= this.nowMs);
      this.#flying = this.#flying.filter(({ atMs }) => atMs > this.nowMs);
      for (const { isCluster, view } of due) this.receiver.read(view, 0, PACE_BYTES, isCluster, this.nowMs);
      if (this.receiver.judge(this.nowMs, this.isClusterUp))
        this.news.push([this.nowMs, this.receiver.isLate]);
    }
  }

  #send(): void {
    const view = new DataView(new ArrayBuffer(PACE_BYTES));
    this.sender.write(view, 0, this.nowMs + SKEW_MS);
    if (this.isZoneUp) this.#flying.push({ atMs: this.nowMs + 0.2, isCluster: false, view });
    if (this.clusterMs < Number.POSITIVE_INFINITY)
      this.#flying.push({ atMs: this.nowMs + this.clusterMs, isCluster: true, view });
  }
}

test("a link that is as quick as the zones is never late, whatever the two clocks say", () => {
  const direction = new Direction();
  direction.run(2_000);
  direction.clusterMs = intervalMs;
  direction.run(2_000);
  expect(direction.news).toEqual([]);
});

test.each([
  ["whose frames wait", 300],
  ["whose frames are lost", Number.POSITIVE_INFINITY],
])("a link %s is late within three intervals, and timely when it was so for the hold", (_what, clusterMs) => {
  const direction = new Direction();
  direction.run(1_000);
  direction.clusterMs = clusterMs;
  direction.run(1_000);
  expect(direction.news).toEqual([[expect.any(Number), true]]);
  expect(direction.news[0]![0] - 1_000).toBeLessThanOrEqual(3 * intervalMs + 2);
  direction.clusterMs = 0.2;
  direction.run(PACE_HOLD_MS_MIN - 50);
  expect(direction.receiver.isLate).toBe(true);
  direction.run(400);
  expect(direction.receiver.isLate).toBe(false);
});

test("one lost datagram is no lateness", () => {
  const direction = new Direction();
  for (let i = 0; i < 50; i++) {
    direction.run(3 * intervalMs);
    direction.clusterMs = Number.POSITIVE_INFINITY;
    direction.run(intervalMs);
    direction.clusterMs = 0.2;
  }
  expect(direction.news).toEqual([]);
});

test("each relapse doubles the hold, up to a bound, and peace resets it", () => {
  const direction = new Direction();
  const holdMs = (): number => {
    direction.clusterMs = 300;
    direction.run(100);
    direction.clusterMs = 0.2;
    const fromMs = direction.nowMs;
    while (direction.receiver.isLate) direction.run(1);
    return Math.round((direction.nowMs - fromMs) / 1_000) * 1_000;
  };
  direction.run(1_000);
  const holds = Array.from({ length: 7 }, holdMs);
  expect(holds).toEqual([1, 2, 4, 8, 16, 32, 32].map((n) => n * PACE_HOLD_MS_MIN));
  expect(holds.at(-1)).toBe(PACE_HOLD_MS_MAX);
  direction.run(PACE_RELAPSE_MS);
  expect(holdMs()).toBe(PACE_HOLD_MS_MIN);
});

test("without zones nothing is late: there is no better way", () => {
  const direction = new Direction();
  direction.run(500);
  direction.clusterMs = 300;
  direction.run(500);
  expect(direction.receiver.isLate).toBe(true);
  direction.isZoneUp = false;
  direction.run(100);
  expect(direction.receiver.isLate).toBe(false);
  direction.run(1_000);
  expect(direction.news).toHaveLength(2);
});

test("a link that is down is not called late; one that went down late is timely only after it is up again", () => {
  const direction = new Direction();
  direction.run(500);
  direction.clusterMs = Number.POSITIVE_INFINITY;
  direction.isClusterUp = false;
  direction.run(500);
  expect(direction.news).toEqual([]);
  direction.isClusterUp = true;
  direction.run(60);
  direction.isClusterUp = false;
  direction.run(3 * PACE_HOLD_MS_MIN);
  expect(direction.receiver.isLate).toBe(true);
  direction.isClusterUp = true;
  direction.clusterMs = 0.2;
  direction.run(PACE_HOLD_MS_MIN + 50);
  expect(direction.news.map(([, isLate]) => isLate)).toEqual([true, false]);
});

test("what a late datagram says does not count against what came since", () => {
  const [here, there] = [new Pace(PROFILES.lan), new Pace(PROFILES.lan)];
  const said = (nowMs: number): DataView => {
    const view = new DataView(new ArrayBuffer(PACE_BYTES));
    there.write(view, 0, nowMs);
    return view;
  };
  const old = said(100);
  there.isLate = true;
  expect(here.read(said(110), 0, PACE_BYTES, false, 110)).toBe(true);
  expect(here.read(old, 0, PACE_BYTES, true, 400)).toBe(false);
  expect(here.isLateThere).toBe(true);
});

test("a message that is cut short says nothing", () => {
  expect(new Pace(PROFILES.lan).read(new DataView(new ArrayBuffer(4)), 0, 4, true, 0)).toBe(false);
});

test.each([35, 40, 60, 72])(
  "what is said after %i minutes of silence counts at once, though stamps wrap meanwhile",
  (minutes) => {
    const receiver = new Pace(PROFILES.lan);
    const hear = (isLate: boolean, isCluster: boolean, atMs: number): void => {
      const sender = new Pace(PROFILES.lan);
      sender.isLate = isLate;
      const view = new DataView(new ArrayBuffer(PACE_BYTES));
      sender.write(view, 0, atMs);
      receiver.read(view, 0, PACE_BYTES, isCluster, atMs);
    };
    hear(true, true, 1_000);
    hear(true, false, 1_000);
    expect(receiver.isLateThere).toBe(true);
    const backMs = 1_000 + minutes * 60_000;
    hear(false, false, backMs);
    expect(receiver.isLateThere).toBe(false);
    // And a link on which nothing comes since is seen to be late, once it carries anything.
    hear(false, true, backMs);
    for (let ms = 1; ms < 100; ms++) {
      hear(false, false, backMs + ms);
      receiver.judge(backMs + ms, true);
    }
    expect(receiver.isLate).toBe(true);
  },
);
