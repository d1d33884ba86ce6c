import { expect, test } from "vitest";
import { bulk, reply, request, turn } from "../../../../chaos/traffic/pattern.ts";
import { parsePing } from "../../../../chaos/traffic/ping.ts";
import { ProbeLog } from "../../../../chaos/traffic/probe-log.ts";
import { decodeProbe, encodeProbe, TO_CLIENT } from "../../../../chaos/traffic/probe-packet.ts";

test("a probe is read as it was written", () => {
  const probe = { flow: 1, direction: TO_CLIENT, sequence: 4_000_000_000 };
  expect(decodeProbe(encodeProbe(probe))).toEqual(probe);
});

test("decodeProbe() takes nothing else for a probe", () => {
  expect(decodeProbe(Buffer.alloc(32))).toBeUndefined();
  expect(decodeProbe(Buffer.alloc(3))).toBeUndefined();
});

test("turn() makes a request into its reply, and nothing else into it", () => {
  expect(turn(Buffer.from(request(7, 3, 256))).equals(reply(7, 3, 256))).toBe(true);
  expect(turn(Buffer.from(request(7, 4, 256))).equals(reply(7, 3, 256))).toBe(false);
  expect(turn(Buffer.from(request(8, 3, 256))).equals(reply(7, 3, 256))).toBe(false);
});

test("bulk() chunks of different positions differ", () => {
  expect(bulk(0, 1000).equals(bulk(1000, 1000))).toBe(false);
});

test("parsePing() reads counts, duplicates and the longest round trip", () => {
  const text = `--- 198.51.100.100 ping statistics ---
143 packets transmitted, 142 received, +2 duplicates, 0.699301% packet loss, time 7240ms
rtt min/avg/max/mdev = 0.021/0.052/0.171/0.030 ms
`;
  expect(parsePing(text)).toEqual({ sent: 143, received: 142, duplicated: 2, rttMsMax: 0.171 });
});

test("parsePing() does not count a last request that was still under way, but each one lost before", () => {
  const said = (sent: number, received: number, ...answered: number[]): string =>
    `${answered.map((seq) => `64 bytes from 198.51.100.100: icmp_seq=${seq} ttl=63 time=0.1 ms\n`).join("")}
--- 198.51.100.100 ping statistics ---
${sent} packets transmitted, ${received} received, 0% packet loss, time 300ms
`;
  expect(parsePing(said(3, 2, 1, 2))).toMatchObject({ sent: 2, received: 2 });
  expect(parsePing(said(3, 2, 1, 3))).toMatchObject({ sent: 3, received: 2 });
  expect(parsePing(said(4, 2, 1, 2))).toMatchObject({ sent: 4, received: 2 });
});

test("parsePing() of nothing is all zero, which no drill passes", () => {
  expect(parsePing("")).toEqual({ sent: 0, received: 0, duplicated: 0, rttMsMax: 0 });
});

test("ProbeLog counts how often the other end moved", () => {
  const log = new ProbeLog(0);
  for (const peer of ["a:1", "a:1", "b:1", "b:1", "a:1"]) log.sawPeer(peer);
  expect(log.record().peerChanges).toBe(2);
});
