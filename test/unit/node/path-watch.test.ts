import { describe, expect, test } from "vitest";
import { PEER_ALIVE, PEER_NARROW, PEER_ON_CLUSTER_LINK } from "../../../src/dataplane/cluster-view.ts";
import { findDatagram, writeClusterFrame } from "../../../src/node/heartbeat-frames.ts";
import { PATH_NARROW, PATH_UNKNOWN, PATH_WHOLE, PathWatch, PROBE_MS } from "../../../src/node/path-watch.ts";
import { peerFlagsOf } from "../../../src/node/peer-flags.ts";

const PEER = 2;
const BEAT = 100;
const PROBE = 1534;

/** Heartbeats each 50 ms with a probe each second; probes arrive where `carries` says so. Answers what was news, with its time. */
function run(
  watch: PathWatch,
  fromMs: number,
  toMs: number,
  carries: boolean,
  isProbing = true,
): [number, number][] {
  const news: [number, number][] = [];
  for (let ms = fromMs; ms < toMs; ms += 50) {
    const isProbe = isProbing && ms % PROBE_MS === 0;
    if (!isProbe || carries) watch.heard(PEER, isProbing, isProbe ? PROBE : BEAT, ms);
    if (ms % 1000 !== 0) continue;
    const path = watch.judge(PEER, ms);
    if (path >= 0) news.push([ms, path]);
  }
  return news;
}

describe("path watch", () => {
  test("a path that carries probes is whole, and no news", () => {
    expect(run(new PathWatch(), 0, 30_000, true)).toEqual([]);
  });

  test("a path that never carried one is narrow after five that are missing", () => {
    expect(run(new PathWatch(), 50, 20_000, false)).toEqual([[6000, PATH_NARROW]]);
  });

  test("a path that shrinks is noticed, and so is that it is whole again", () => {
    const watch = new PathWatch();
    expect(run(watch, 0, 10_000, true)).toEqual([]);
    const heartbeats = { isLinkUp: () => true, isAlive: () => true, isLateThere: () => false };
    expect(run(watch, 10_000, 20_000, false)).toEqual([[15_000, PATH_NARROW]]);
    expect(peerFlagsOf(heartbeats, watch, PEER)).toBe(PEER_ON_CLUSTER_LINK | PEER_ALIVE | PEER_NARROW);
    expect(run(watch, 20_000, 30_000, true)).toEqual([[20_000, PATH_WHOLE]]);
    expect(peerFlagsOf(heartbeats, watch, PEER)).toBe(PEER_ON_CLUSTER_LINK | PEER_ALIVE);
  });

  test("a few lost probes are no news", () => {
    const watch = new PathWatch();
    run(watch, 0, 10_000, true);
    expect(run(watch, 10_000, 14_000, false)).toEqual([]);
    expect(run(watch, 14_000, 20_000, true)).toEqual([]);
  });

  test("a peer of an older build, which sends none, is not missed", () => {
    expect(run(new PathWatch(), 0, 30_000, false, false)).toEqual([]);
  });

  test("of a silent peer nothing is known, and its next life begins anew", () => {
    const watch = new PathWatch();
    run(watch, 50, 10_000, false);
    expect(watch.judge(PEER, 13_000)).toBe(PATH_UNKNOWN);
    expect(run(watch, 20_000, 24_000, true)).toEqual([]);
  });

  test("one heartbeat in a second is a probe", () => {
    const watch = new PathWatch();
    const due = [];
    for (let ms = 0; ms < 3000; ms += 50) if (watch.takeDue(PEER, ms)) due.push(ms);
    expect(due).toEqual([0, 1000, 2000]);
  });
});

test("a probe is a heartbeat with zeros behind it, up to the length asked for", () => {
  const bytes = new Uint8Array(2048).fill(0xee);
  const datagram = Uint8Array.from({ length: 90 }, (_, i) => i + 1);
  const mac = new Uint8Array(6);
  const length = writeClusterFrame(bytes, 0, mac, mac, 1, 2, datagram, 1562);
  expect(length).toBe(14 + 1562);
  const span = { at: 0, lengthBytes: 0, ttl: 0 };
  expect(findDatagram(bytes, 0, length, true, span)).toBe(true);
  expect(span.lengthBytes).toBe(1562 - 28);
  expect(bytes.slice(span.at, span.at + 90)).toEqual(datagram);
  expect(bytes.slice(span.at + 90, length).every((byte) => byte === 0)).toBe(true);
  expect(bytes[length]).toBe(0xee);
});
