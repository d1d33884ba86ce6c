import { describe, expect, test } from "vitest";
import { AntiEntropy } from "../../../../cluster/sync/anti-entropy.ts";
import { Backlog } from "../../../../cluster/sync/backlog.ts";
import { Connector } from "../../../../cluster/sync/connector.ts";
import { syncLimits } from "../../../../cluster/sync/limits.ts";
import type { SenderLink } from "../../../../cluster/sync/link.ts";
import { ReplicaWriter } from "../../../../cluster/sync/replica-writer.ts";
import { Sender } from "../../../../cluster/sync/sender.ts";
import { drainRing, FakeClock, FakeLink, record, ring, slabOf, words } from "./fakes.ts";

describe("anti-entropy", () => {
  const all = (): boolean => true;

  test("every slot comes once in each interval, evenly spread", () => {
    const schedule = new AntiEntropy(16, 1600);
    const seen: number[] = [];
    for (let ms = 0; ms <= 3200; ms += 10) {
      const due = schedule.due(ms, all);
      expect(due.length).toBeLessThanOrEqual(1);
      seen.push(...due);
    }
    expect(seen).toEqual([...Array(32).keys()].map((i) => i % 16));
  });

  test("slots that cannot be compared are left out", () => {
    const schedule = new AntiEntropy(4, 400);
    schedule.due(0, all);
    expect(schedule.due(400, (slot) => slot !== 2)).toEqual([0, 1, 3]);
  });

  test("after a long pause one round is enough", () => {
    const schedule = new AntiEntropy(4, 400);
    schedule.due(0, all);
    expect(schedule.due(100_000, all)).toHaveLength(4);
  });
});

describe("backlog", () => {
  test("records come out as they went in, also where the memory wraps", () => {
    const backlog = new Backlog(4);
    for (let i = 1; i <= 3; i++) backlog.append(words(record({ hash: i })), 0, i, 10 * i);
    backlog.release(2);
    for (let i = 4; i <= 6; i++) backlog.append(words(record({ hash: i })), 0, i, 10 * i);
    expect(backlog.isFull).toBe(true);
    expect([0, 1, 2, 3].map((i) => [backlog.change(i), backlog.publishedMs(i)])).toEqual([
      [3, 30],
      [4, 40],
      [5, 50],
      [6, 60],
    ]);
    expect(backlog.contiguous(0, 4)).toBe(2);
    expect(backlog.slab(0, 2)).toEqual(slabOf(record({ hash: 3 }), record({ hash: 4 })));
    expect(backlog.slab(2, 2)).toEqual(slabOf(record({ hash: 5 }), record({ hash: 6 })));
  });
});

describe("replica writer", () => {
  test("a slab is copied around the end of the ring, as far as there is room", () => {
    const replicas = ring(4);
    const writer = new ReplicaWriter(replicas, 8);
    const slab = slabOf(...[1, 2, 3, 4, 5].map((hash) => record({ hash })));
    expect(writer.write(slab, 0, 3)).toBe(3);
    expect(drainRing(replicas).map((r) => r.hash)).toEqual([1, 2, 3]);
    expect(writer.write(slab, 0, 5)).toBe(4);
    expect(drainRing(replicas).map((r) => r.hash)).toEqual([1, 2, 3, 4]);
    expect(writer.written).toBe(7);
    expect(replicas.refused()).toBe(0);
  });

  test("a mark is settled when everything before it is applied, and marks are bounded", () => {
    const writer = new ReplicaWriter(ring(8), 2);
    const slab = slabOf(record(), record(), record());
    writer.write(slab, 0, 2);
    writer.mark(1, 20);
    writer.write(slab, 0, 1);
    writer.mark(2, 7);
    expect(writer.canMark).toBe(false);
    const settled: [number, number][] = [];
    writer.settle(1, (tag, sequence) => settled.push([tag, sequence]));
    expect(settled).toEqual([]);
    writer.settle(3, (tag, sequence) => settled.push([tag, sequence]));
    expect(settled).toEqual([
      [1, 20],
      [2, 7],
    ]);
  });
});

describe("connector", () => {
  test("links are opened at once, then ever less eagerly, and at once again after one that worked", () => {
    const clock = new FakeClock();
    const limits = syncLimits();
    const links: FakeLink<never, never>[] = [];
    const sender = new Sender({
      selfId: 1,
      peerId: 2,
      limits,
      env: clock,
      events: { onProgress: () => {}, onSessionEnd: () => {}, onResync: () => {}, onRefused: () => {} },
    });
    const connector = new Connector(limits, () => {
      const link = new FakeLink<never, never>();
      links.push(link);
      return link as unknown as SenderLink;
    });
    const openedAt: number[] = [];
    for (; openedAt.length < 6; clock.ms += 10) {
      const before = links.length;
      connector.tick(sender, clock.ms);
      if (links.length === before) continue;
      openedAt.push(clock.ms - 1000);
      links.at(-1)!.breakOff();
    }
    expect(openedAt).toEqual([0, 50, 150, 350, 750, 1550]);
  });
});

describe("limits", () => {
  test("limits that contradict each other are refused with the reason", () => {
    expect(() => syncLimits({ backlogRecords: 1000 })).toThrow(/power of two/);
    expect(() => syncLimits({ backlogRecords: 1024, exportWindowRecords: 1024 })).toThrow(
      /half of backlogRecords/,
    );
    expect(() => syncLimits({ stagedRecords: 100 })).toThrow(/full batch/);
    expect(() => syncLimits({ answerMsMax: 200 })).toThrow(/3 x heartbeatMs/);
    expect(() => syncLimits({ drainRecords: 0 })).toThrow(/drainRecords/);
  });
});
