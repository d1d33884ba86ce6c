import { expect, test } from "vitest";
import { Heartbeats } from "../../../../cluster/liveness/heartbeats.ts";
import { type LivenessEvent, PROFILES } from "../../../../cluster/liveness/model.ts";
import { seededRandom } from "../../../../src/base/env.ts";

const MAC = new Uint8Array(32);
const LINKS = [0, 1];

/** Two members on two links in virtual time; each datagram takes 0.1 ms. */
class Pair {
  nowMs = 0;
  readonly events: Record<1 | 2, LivenessEvent[]> = { 1: [], 2: [] };
  /** Types of messages other than BFD that each took. */
  readonly messages: Record<1 | 2, number[]> = { 1: [], 2: [] };
  readonly members: Record<1 | 2, Heartbeats>;
  readonly recorded: { to: 1 | 2; link: number; bytes: Uint8Array }[] = [];
  /** Of each member's machine clock. */
  readonly aheadMs = { 1: 0, 2: 0 };
  /** Members that neither tick nor receive. */
  readonly stopped = new Set<number>();
  /** "from-link" */
  readonly cut = new Set<string>();
  #flying: { atMs: number; to: 1 | 2; link: number; bytes: Uint8Array }[] = [];
  #seed = 1;

  constructor() {
    this.members = { 1: this.make(1), 2: this.make(2) };
  }

  make(id: 1 | 2): Heartbeats {
    const other = id === 1 ? 2 : 1;
    return new Heartbeats(
      {
        selfId: id,
        cluster: "edge",
        profile: PROFILES.lan,
        peers: [{ nodeId: other, role: "node", links: LINKS }],
        mac: () => MAC,
      },
      { nowMs: () => this.clock(id), random: seededRandom(this.#seed++) },
      {
        send: (link, to, bytes) => {
          const copy = { to: to as 1 | 2, link, bytes: bytes.slice() };
          this.recorded.push(copy);
          if (!this.cut.has(`${id}-${link}`)) this.#flying.push({ atMs: this.nowMs + 0.1, ...copy });
        },
        event: (e) => this.events[id].push(e),
        message: (_from, _link, type) => this.messages[id].push(type),
      },
    );
  }

  clock(id: 1 | 2): number {
    return this.nowMs + this.aheadMs[id];
  }

  run(ms: number): void {
    const untilMs = this.nowMs + ms;
    while (this.nowMs < untilMs) {
      this.nowMs = Math.round((this.nowMs + 0.5) * 10) / 10;
      this.#deliver();
      for (const id of [1, 2] as const) {
        if (!this.stopped.has(id) && Math.round(this.nowMs * 10) % 10 === 0)
          this.members[id].tick(this.clock(id));
      }
    }
  }

  #deliver(): void {
    for (let i = 0; i < 20; i++) {
      const due = this.#flying.filter((d) => d.atMs <= this.nowMs + 0.4);
      if (due.length === 0) return;
      this.#flying = this.#flying.filter((d) => !due.includes(d));
      for (const d of due)
        if (!this.stopped.has(d.to)) this.members[d.to].receive(d.link, d.bytes, this.clock(d.to));
    }
  }

  types(id: 1 | 2): string[] {
    return this.events[id].map((e) => ("link" in e ? `${e.type} ${e.link}` : e.type));
  }

  last(id: 1 | 2, type: LivenessEvent["type"]): LivenessEvent | undefined {
    return this.events[id].findLast((e) => e.type === type);
  }

  up(): this {
    this.run(20);
    for (const id of [1, 2] as const) {
      this.members[id].lifelineOpened(id === 1 ? 2 : 1);
      this.events[id].length = 0;
    }
    return this;
  }
}

test("two members find each other on all links within a few round trips", () => {
  const pair = new Pair();
  pair.run(5);
  expect(pair.types(1).sort()).toEqual(["linkUp 0", "linkUp 1", "peerUp"]);
  expect(pair.types(2).sort()).toEqual(["linkUp 0", "linkUp 1", "peerUp"]);
});

test("a peer is dead when it is silent on all links for the detection time", () => {
  const pair = new Pair().up();
  const stoppedMs = pair.nowMs;
  pair.stopped.add(2);
  pair.run(100);
  const down = pair.last(1, "peerDown");
  expect(down).toMatchObject({ cause: "silent" });
  expect((down?.atMs ?? 0) - stoppedMs).toBeGreaterThan(49);
  expect((down?.atMs ?? 0) - stoppedMs).toBeLessThanOrEqual(61);
  expect(pair.types(1).filter((t) => t === "peerGone")).toEqual([]);
});

test("a peer that is silent on one link only is alive", () => {
  const pair = new Pair().up();
  pair.cut.add("2-0");
  pair.run(200);
  expect(pair.types(1)).toEqual(["linkDown 0"]);
  expect(pair.members[1].isAlive(2)).toBe(true);
  expect([pair.members[1].isLinkUp(2, 0), pair.members[1].isLinkUp(2, 1)]).toEqual([false, true]);
});

test("a peer that cannot hear us is not dead to us: its links are down, but it is not silent", () => {
  const pair = new Pair().up();
  pair.cut.add("1-0").add("1-1");
  pair.run(300);
  expect(pair.last(2, "peerDown")).toMatchObject({ cause: "silent" });
  expect(pair.types(1).sort()).toEqual(["linkDown 0", "linkDown 1"]);
  expect(pair.members[1].isAlive(2)).toBe(true);
});

test("a peer that misses us on the cluster link alone tells us so at once, and when that is over", () => {
  const pair = new Pair().up();
  pair.cut.add("1-0");
  const cutMs = pair.nowMs;
  pair.run(45);
  expect(pair.last(1, "linkPace")).toMatchObject({ node: 2, link: 0, isLate: true });
  expect((pair.last(1, "linkPace")?.atMs ?? 0) - cutMs).toBeLessThanOrEqual(40);
  expect([pair.members[1].isLateThere(2), pair.members[2].isLateThere(1)]).toEqual([true, false]);
  pair.cut.clear();
  pair.run(2_000);
  expect(pair.last(1, "linkPace")).toMatchObject({ isLate: false });
  expect(pair.types(2).filter((type) => type.startsWith("linkPace"))).toEqual([]);
});

test("a closed lifeline and one missed interval are death, and the process is gone", () => {
  const pair = new Pair().up();
  pair.members[1].setIncarnation(2, 4);
  const killedMs = pair.nowMs;
  pair.stopped.add(2);
  pair.members[1].lifelineClosed(2, killedMs);
  pair.run(30);
  const down = pair.last(1, "peerDown");
  expect(down).toMatchObject({ cause: "lifeline", incarnation: 4 });
  expect((down?.atMs ?? 0) - killedMs).toBeLessThanOrEqual(11);
  expect(pair.last(1, "peerGone")).toMatchObject({ incarnation: 4 });
});

test("a closed lifeline is no death while packets keep coming, nor later", () => {
  const pair = new Pair().up();
  pair.members[1].lifelineClosed(2, pair.nowMs);
  pair.run(50);
  expect(pair.types(1)).toEqual([]);
  // The hint is spent: a later silence takes the whole detection time.
  const stoppedMs = pair.nowMs;
  pair.stopped.add(2);
  pair.run(100);
  expect(pair.last(1, "peerDown")).toMatchObject({ cause: "silent" });
  expect((pair.last(1, "peerDown")?.atMs ?? 0) - stoppedMs).toBeGreaterThan(39);
});

test("a closed lifeline polls the peer at once, on all links", () => {
  const pair = new Pair().up();
  pair.run(0.5);
  const before = pair.recorded.length;
  pair.members[1].lifelineClosed(2, pair.nowMs);
  const polls = pair.recorded.slice(before);
  expect(polls.map((p) => p.link)).toEqual(LINKS);
  // 40 bytes of header, 4 of the message, then the second byte of BFD: the poll bit.
  for (const p of polls) expect((p.bytes[45] as number) & 0x20).toBe(0x20);
});

test("a lifeline that closes after the peer fell silent proves that its process is gone", () => {
  const pair = new Pair().up();
  pair.stopped.add(2);
  pair.run(80);
  expect(pair.types(1)).not.toContain("peerGone");
  pair.members[1].lifelineClosed(2, pair.nowMs);
  expect(pair.types(1).at(-1)).toBe("peerGone");
});

test("the lifeline of an earlier life proves nothing about the present one", () => {
  const pair = new Pair().up();
  pair.members[2] = pair.make(2);
  pair.run(20);
  pair.events[1].length = 0;
  pair.stopped.add(2);
  pair.members[1].lifelineClosed(2, pair.nowMs);
  pair.run(30);
  expect(pair.types(1)).toEqual([]);
});

test("a lifeline that a new process opened before it was believed counts for the new process", () => {
  const pair = new Pair().up();
  pair.stopped.add(2);
  pair.members[1].lifelineClosed(2, pair.nowMs);
  pair.run(20);
  pair.members[1].lifelineOpened(2);
  pair.members[2] = pair.make(2);
  pair.stopped.delete(2);
  pair.run(20);
  pair.events[1].length = 0;
  pair.stopped.add(2);
  pair.members[1].lifelineClosed(2, pair.nowMs);
  pair.run(20);
  expect(pair.last(1, "peerDown")).toMatchObject({ cause: "lifeline" });
});

test("a new life of the peer ends the old one at once and comes up", () => {
  const pair = new Pair().up();
  pair.members[1].setIncarnation(2, 7);
  pair.members[2] = pair.make(2);
  pair.run(20);
  expect(pair.types(1).filter((t) => t.startsWith("peer"))).toEqual(["peerDown", "peerGone", "peerUp"]);
  expect(pair.last(1, "peerDown")).toMatchObject({ cause: "restart", incarnation: 7 });
});

test("what a life between sent is no restart when it comes late, though it echoes ours", () => {
  const pair = new Pair();
  pair.cut.add("2-0").add("2-1");
  pair.run(1);
  const first = pair.recorded.find((d) => d.to === 1)!;
  pair.members[1].receive(first.link, first.bytes, pair.nowMs);
  pair.run(50);
  expect(pair.members[2].lifeOf(1)).toBe(pair.members[1].nonce);
  // The last ones are a message without a stamp.
  pair.members[2].sendNow(1, 9, Uint8Array.of(1, 2, 3, 4));
  const late = pair.recorded.filter((d) => d.to === 1).slice(-4);
  pair.members[2] = pair.make(2);
  pair.cut.clear();
  pair.run(200);
  expect(pair.types(1).filter((t) => t.startsWith("peer"))).toEqual(["peerUp"]);
  for (const d of late) expect(pair.members[1].receive(d.link, d.bytes, pair.nowMs)).toBe(0);
  pair.run(100);
  expect(pair.types(1).filter((t) => t.startsWith("peer"))).toEqual(["peerUp"]);
  expect(pair.members[1].refused.stale).toBe(late.length);
});

test("a life whose machine began its clock anew is believed when the proven one has been silent for a second", () => {
  const pair = new Pair();
  pair.nowMs = 5000;
  pair.up();
  pair.aheadMs[2] = -5000;
  pair.members[2] = pair.make(2);
  pair.run(900);
  expect(pair.types(1).filter((t) => t.startsWith("peer"))).toEqual(["peerDown"]);
  pair.run(400);
  expect(pair.types(1).filter((t) => t.startsWith("peer"))).toEqual(["peerDown", "peerGone", "peerUp"]);
});

test("a recorded datagram of an earlier life is no restart", () => {
  const pair = new Pair().up();
  const old = pair.recorded.filter((d) => d.to === 1);
  pair.members[2] = pair.make(2);
  pair.run(30);
  pair.events[1].length = 0;
  for (const d of old) expect(pair.members[1].receive(d.link, d.bytes, pair.nowMs)).toBe(0);
  pair.run(100);
  expect(pair.types(1)).toEqual([]);
  expect(pair.members[1].refused.stale).toBeGreaterThan(0);
});

test("a datagram counts once, and only on the link that it was sent on", () => {
  const pair = new Pair().up();
  const d = pair.recorded.findLast((x) => x.to === 1);
  expect(pair.members[1].receive(d?.link ?? 0, d?.bytes ?? MAC, pair.nowMs)).toBe(0);
  expect(pair.members[1].refused.replayed).toBe(1);
  expect(pair.members[1].receive(1 - (d?.link ?? 0), d?.bytes ?? MAC, pair.nowMs)).toBe(0);
  expect(pair.members[1].refused.stranger).toBe(1);
});

test("a stalled loop forgives its peers the time that it stood still, once", () => {
  const pair = new Pair().up();
  pair.stopped.add(1);
  pair.run(80);
  pair.stopped.delete(1);
  pair.stopped.add(2);
  pair.run(1);
  expect(pair.types(1)).toEqual(["stalled"]);
  pair.run(100);
  expect(pair.last(1, "peerDown")).toMatchObject({ cause: "silent" });
});

test("a stalled loop does not call a living peer dead", () => {
  const pair = new Pair().up();
  pair.stopped.add(1);
  pair.run(35);
  pair.stopped.delete(1);
  pair.run(100);
  expect(pair.types(1)).toEqual(["stalled"]);
});

test("shutdown() tells the peer at once, without claiming that the process is gone", () => {
  const pair = new Pair().up();
  pair.members[2].shutdown(pair.nowMs);
  pair.stopped.add(2);
  pair.run(2);
  expect(pair.last(1, "peerDown")).toMatchObject({ cause: "admin" });
  expect(pair.types(1)).not.toContain("peerGone");
});

test("a deaf member that withdraws is dead to those who hear it, and comes back when it hears them", () => {
  const pair = new Pair();
  pair.run(500);
  for (const link of LINKS) pair.cut.add(`2-${link}`);
  pair.run(200);
  expect(pair.members[1].hearsNobody, "1 hears nothing of 2").toBe(true);
  expect(pair.members[2].hearsNobody, "2 hears 1").toBe(false);
  expect(pair.last(2, "peerDown"), "1 is heard, so it is not silent").toBeUndefined();

  pair.members[1].withdraw(pair.nowMs);
  pair.run(5);
  expect(pair.last(2, "peerDown")).toMatchObject({ node: 1, cause: "admin" });
  pair.run(2000);
  expect(pair.types(2).filter((type) => type === "peerDown")).toHaveLength(1);

  pair.cut.clear();
  pair.run(500);
  expect(pair.members[1].isAlive(2)).toBe(true);
  expect(pair.members[2].isAlive(1)).toBe(true);
});

test("a member that never heard anybody is not deaf, but early", () => {
  const pair = new Pair();
  for (const id of [1, 2]) for (const link of LINKS) pair.cut.add(`${id}-${link}`);
  pair.run(500);
  expect(pair.members[1].hearsNobody).toBe(false);
});

test("a standing message rides along in every datagram until it is taken back", () => {
  const pair = new Pair().up();
  pair.members[1].setStanding(2, 9, Uint8Array.of(1, 2, 3));
  const from = pair.recorded.length;
  pair.run(20);
  const mine = pair.recorded.slice(from).filter((d) => d.to === 2);
  expect(mine.length).toBeGreaterThan(2);
  // BFD, the pace, and the message.
  for (const d of mine) expect(d.bytes[9]).toBe(3);
  pair.members[1].setStanding(2, 9, undefined);
  const after = pair.recorded.length;
  pair.run(20);
  for (const d of pair.recorded.slice(after).filter((x) => x.to === 2)) expect(d.bytes[9]).toBe(2);
});

test("a late message to an earlier life of this member is not taken, though its sender is proven", () => {
  const pair = new Pair().up();
  const from = pair.recorded.length;
  pair.members[2].sendNow(1, 5, Uint8Array.of(1));
  const late = pair.recorded.slice(from);
  pair.members[1] = pair.make(1);
  pair.run(20);
  pair.messages[1].length = 0;
  // A second life of 1 has proven 2, whose numbers went on: the replay window alone would let the message in.
  for (const d of late) expect(pair.members[1].receive(d.link, d.bytes, pair.nowMs)).toBe(2);
  expect(pair.messages[1]).toEqual([]);
  pair.members[2].sendNow(1, 5, Uint8Array.of(1));
  pair.run(1);
  expect(pair.messages[1]).toEqual([5, 5]);
});

test("recorded datagrams of a life that was never met do not keep messages from the living peer", () => {
  const pair = new Pair().up();
  const old = pair.recorded.findLast((d) => d.to === 1);
  pair.members[2] = pair.make(2);
  pair.run(20);
  // A new process of 1 cannot know that the recorded life is over.
  pair.members[1] = pair.make(1);
  pair.run(20);
  pair.messages[2].length = 0;
  pair.members[1].receive(old?.link ?? 0, old?.bytes ?? MAC, pair.nowMs);
  pair.members[1].sendNow(2, 5, Uint8Array.of(1));
  pair.run(1);
  expect(pair.messages[2]).toEqual([5, 5]);
});

test("a peer is quiet when it missed more than an interval on every link, long before it is dead", () => {
  const pair = new Pair().up();
  const isQuiet = (): boolean => pair.members[1].isQuiet(2, pair.nowMs);
  for (let i = 0; i < 100; i++) {
    pair.run(1);
    expect(isQuiet()).toBe(false);
  }
  pair.cut.add("2-0");
  pair.run(40);
  expect(isQuiet()).toBe(false);
  pair.stopped.add(2);
  pair.run(16);
  expect(isQuiet()).toBe(true);
  expect(pair.members[1].isAlive(2)).toBe(true);
  expect(pair.members[1].isQuiet(9, pair.nowMs)).toBe(true);
});

test("a member sends what is due to all peers on all links in one go, so that it and they wake up once", () => {
  const pair = new Pair().up();
  pair.run(300);
  pair.recorded.length = 0;
  const sentAt: number[] = [];
  for (let i = 0; i < 200; i++) {
    const before = pair.recorded.length;
    pair.run(1);
    for (let n = before; n < pair.recorded.length; n++)
      if (pair.recorded[n]!.to === 2) sentAt.push(pair.nowMs);
  }
  // On two links: every moment twice.
  expect(sentAt.length).toBeGreaterThan(40);
  expect(sentAt.length).toBe(2 * new Set(sentAt).size);
});

test("whoever ticks at dueMs() only is heard in time, and calls a silent peer dead in time", () => {
  const pair = new Pair().up();
  const member = pair.members[1];
  const tick = member.tick.bind(member);
  // The pair ticks each millisecond: not this one.
  member.tick = () => {};
  let ticks = 0;
  const run = (ms: number): void => {
    const untilMs = pair.nowMs + ms;
    while (pair.nowMs < untilMs) {
      pair.run(0.5);
      const dueMs = member.dueMs();
      if (pair.nowMs < dueMs) continue;
      tick(pair.nowMs, dueMs);
      ticks++;
    }
  };
  run(500);
  expect([...pair.types(1), ...pair.types(2)]).toEqual([]);
  expect(ticks).toBeLessThan(80);
  pair.stopped.add(2);
  run(70);
  const { atMs, lastHeardMs } = pair.last(1, "peerDown") as Extract<LivenessEvent, { type: "peerDown" }>;
  expect(atMs - lastHeardMs).toBeLessThanOrEqual(60.5);
});

test("a tick is late by what it comes after the moment that was asked for, however long that was ahead", () => {
  const pair = new Pair().up();
  const member = pair.members[1];
  const tick = member.tick.bind(member);
  member.tick = () => {};
  tick(pair.nowMs, pair.nowMs);
  pair.stopped.add(1);
  pair.run(35);
  tick(pair.nowMs, pair.nowMs - 5);
  expect(pair.types(1)).toEqual([]);
  tick(pair.nowMs, pair.nowMs - 30);
  expect(pair.last(1, "stalled")).toMatchObject({ lateMs: 30 });
});
