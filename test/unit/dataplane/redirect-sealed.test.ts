import { describe, expect, test } from "vitest";
import type { SealMode } from "../../../src/base/seal-mode.ts";
import {
  REDIRECT_CELLS,
  REDIRECTS_IN,
  REDIRECTS_OUT,
  REDIRECTS_REFUSED,
  REDIRECTS_ZONE_OUT,
} from "../../../src/dataplane/redirect.ts";
import { slotOfAddress } from "../../../src/dataplane/slot.ts";
import { LinkSeals } from "../../../src/node/link-seals.ts";
import { echo, icmpError, see, udp, words } from "./frames.ts";
import { Pair, SLOTS } from "./pair.ts";
import {
  LAB_POLICY,
  PORT_CLUSTER,
  PORT_INSIDE,
  PORT_OUTSIDE,
  TEST_KEY,
  verdictName,
  type World,
} from "./world.ts";

const SERVER = "198.51.100.100";
const KEY = new Uint8Array(32).fill(3);

/** A client whose slot node 2 owns. */
const C2 = Array.from({ length: 200 }, (_, i) => `10.10.0.${i + 2}`).find(
  (address) => slotOfAddress(TEST_KEY, SLOTS, words(address), 0) % 2 === 1,
)!;
const ask = (sport = 4000) => udp({ from: C2, to: SERVER, sport, dport: 53 });

function seal(self: number, mode: SealMode, hasMet = true): LinkSeals {
  const seals = new LinkSeals(self, KEY, mode);
  if (hasMet) seals.meet(3 - self, self, 3 - self);
  return seals;
}

function pairOf(one: SealMode | "without", two: SealMode | "without"): Pair {
  return new Pair(LAB_POLICY, {}, 4096, {
    ...(one !== "without" && { one: seal(1, one) }),
    ...(two !== "without" && { two: seal(2, two) }),
  });
}

function countOf(world: World, what: number): number {
  return world.redirectCounts[(3 - world.view.selfId) * REDIRECT_CELLS + what]!;
}

/** Redirects one packet from node 1 to node 2: what node 2 made of it. */
function cross(pair: Pair, packet = ask()): string {
  expect(verdictName(pair.one.packet(PORT_INSIDE, packet))).toBe("redirected");
  return verdictName(pair.two.receive(PORT_CLUSTER, pair.one.takeOne().frame));
}

describe("sealed redirects", () => {
  test("a sealed packet is decided by its owner, and nobody on the cluster link reads it", () => {
    const pair = pairOf("always", "always");
    const packet = ask();
    expect(verdictName(pair.one.packet(PORT_INSIDE, packet))).toBe("redirected");
    const { port, frame } = pair.one.takeOne();
    expect(port).toBe(PORT_CLUSTER);
    const outer = see(frame).ip!;
    expect([outer.from, outer.to, outer.dport, outer.headerOk]).toEqual([
      "172.16.0.1",
      "172.16.0.2",
      6081,
      true,
    ]);
    expect(Buffer.from(frame).includes(Buffer.from(packet.subarray(12)))).toBe(false);
    pair.two.receive(PORT_CLUSTER, frame);
    pair.settle();
    const left = pair.two.takeOne();
    expect(left.port).toBe(PORT_OUTSIDE);
    expect(see(left.frame).ip!.bodyOk).toBe(true);
    expect([countOf(pair.one, REDIRECTS_OUT), countOf(pair.two, REDIRECTS_IN)]).toEqual([1, 1]);
  });

  test.each([
    ["never", "never", "taken"],
    ["never", "without", "taken"],
    ["never", "prefer", "taken"],
    ["never", "always", "refused"],
    ["prefer", "never", "taken"],
    ["prefer", "always", "taken"],
    ["always", "prefer", "taken"],
    ["always", "never", "taken"],
  ] as const)("what a node with %s sends, one with %s finds %s", (one, two, expected) => {
    const pair = pairOf(one, two);
    const verdict = cross(pair);
    expect(verdict).toBe(expected === "taken" ? "held" : "redirect_refused");
    const isRefused = expected === "refused" ? 1 : 0;
    expect([countOf(pair.two, REDIRECTS_IN), countOf(pair.two, REDIRECTS_REFUSED)]).toEqual([
      1 - isRefused,
      isRefused,
    ]);
    expect(pair.two.count("redirectsClearRefused")).toBe(isRefused);
  });

  test("a build that knows no seals drops what is sealed: its option is critical (RFC 8926 section 3.5)", () => {
    expect(cross(pairOf("always", "without"))).toBe("bad_header");
  });

  test("a replayed redirect is refused and counted", () => {
    const pair = pairOf("always", "always");
    pair.one.packet(PORT_INSIDE, ask());
    const { frame } = pair.one.takeOne();
    expect(verdictName(pair.two.receive(PORT_CLUSTER, frame))).toBe("held");
    expect(verdictName(pair.two.receive(PORT_CLUSTER, frame))).toBe("redirect_refused");
    expect([pair.two.count("redirectsReplayed"), countOf(pair.two, REDIRECTS_REFUSED)]).toEqual([1, 1]);
  });

  test("a forged redirect is refused and counted, also one from another peer's address", () => {
    const pair = pairOf("always", "always");
    pair.one.packet(PORT_INSIDE, ask());
    const { frame } = pair.one.takeOne();
    frame[frame.length - 20] = frame[frame.length - 20]! ^ 1;
    expect(verdictName(pair.two.receive(PORT_CLUSTER, frame))).toBe("redirect_refused");
    expect(pair.two.count("redirectsForged")).toBe(1);
  });

  test("without a key for the owner a packet goes over the zone's wire, as it arrived there", () => {
    const pair = new Pair(LAB_POLICY, {}, 4096, { one: seal(1, "always", false), two: seal(2, "always") });
    expect(verdictName(pair.one.packet(PORT_INSIDE, ask()))).toBe("redirected");
    expect(pair.one.takeOne().port).toBe(PORT_INSIDE);
    expect(countOf(pair.one, REDIRECTS_ZONE_OUT)).toBe(1);
  });

  test("a packet that fits the cluster link in clear and not sealed is not cut: it goes over the zone's wire", () => {
    for (const [mode, port] of [
      ["never", PORT_CLUSTER],
      ["always", PORT_INSIDE],
    ] as const) {
      const pair = pairOf(mode, mode);
      (pair.one.ports[PORT_CLUSTER] as { mtuBytes: number }).mtuBytes = 1562;
      const full = udp({ from: C2, to: SERVER, sport: 4000, dport: 53, payload: new Uint8Array(1472) });
      expect(verdictName(pair.one.packet(PORT_INSIDE, full))).toBe("redirected");
      expect(pair.one.takeOne().port).toBe(port);
    }
  });

  test("an ICMP error about a flow of another node reaches its owner sealed, and the host translated (RFC 5508 section 4)", () => {
    const pair = pairOf("always", "always");
    pair.two.packet(PORT_INSIDE, ask());
    pair.settle();
    const { frame } = pair.two.takeOne();
    const error = icmpError({ from: "198.51.100.7", to: see(frame).ip!.from }, 3, 1, frame.slice(14));
    expect(verdictName(pair.one.packet(PORT_OUTSIDE, error))).toBe("redirected");
    pair.carry(pair.one);
    const back = pair.two.takeOne();
    expect([back.port, see(back.frame).ip!.to]).toEqual([PORT_INSIDE, C2]);
  });

  test("echo requests of another node's host cross as well", () => {
    const pair = pairOf("always", "always");
    expect(cross(pair, echo({ from: C2, to: SERVER, id: 7, seq: 1 }))).not.toBe("redirect_refused");
  });
});
