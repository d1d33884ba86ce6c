import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { LinkHandlers, ReceiverLink, SenderLink } from "../../cluster/sync/link.ts";
import type { Batch, ReceiverMessage, SenderMessage } from "../../cluster/sync/messages.ts";
import { Rig, type RigOptions, type RigReport } from "./sync-rig.ts";

const seeds = fc.integer({ min: 1, max: 2 ** 31 - 1 });

function holds(options: Omit<RigOptions, "seed">, numRuns: number): RigReport[] {
  const reports: RigReport[] = [];
  fc.assert(
    fc.property(seeds, (seed) => {
      const report = new Rig({ ...options, seed }).run();
      reports.push(report);
      expect(report.problems).toEqual([]);
    }),
    { numRuns },
  );
  return reports;
}

const sum = (reports: readonly RigReport[], of: keyof Omit<RigReport, "problems">): number =>
  reports.reduce((total, report) => total + report[of], 0);

describe("replication in virtual time: copies become equal, claims stay true, memory stays bounded", () => {
  test("when links break, also in the middle of a snapshot", () => {
    const reports = holds({ nodes: 2, chaosMs: 300, cuts: 60 }, 20);
    expect(sum(reports, "cuts")).toBeGreaterThan(0);
    expect(sum(reports, "resent")).toBeGreaterThan(0);
    // One export for each slot: what was proven before a break is not sent again after it.
    expect(sum(reports, "exports")).toBeLessThanOrEqual(16 * reports.length * 1.5);
    expect(sum(reports, "divergences")).toBe(0);
  });

  test("when a peer falls so far behind that its backlog is dropped", () => {
    const reports = holds({ nodes: 2, chaosMs: 600, cuts: 40, stalls: 30, changesPerMs: 20 }, 15);
    expect(sum(reports, "overflows")).toBeGreaterThan(0);
    expect(sum(reports, "stalls")).toBeGreaterThan(0);
    expect(sum(reports, "divergences")).toBe(0);
  });

  test("when nodes restart and lose what they held", () => {
    const reports = holds({ nodes: 3, chaosMs: 600, cuts: 20, restarts: 8, changesPerMs: 5 }, 15);
    expect(sum(reports, "restarts")).toBeGreaterThan(0);
  });

  test("when slots are handed over while links break", () => {
    const reports = holds({ nodes: 3, chaosMs: 600, cuts: 30, moves: 60, stalls: 20, changesPerMs: 5 }, 15);
    expect(sum(reports, "moves")).toBeGreaterThan(0);
  });

  test("when everything happens at once", () => {
    holds({ nodes: 3, chaosMs: 600, cuts: 40, restarts: 6, moves: 40, stalls: 20, changesPerMs: 12 }, 15);
  });
});

describe("two versions of records side by side", () => {
  test("a later build reads what an earlier one sends, and cuts what it sends to that one, each way, while links break", () => {
    const reports = holds({ nodes: 2, chaosMs: 400, cuts: 40, changesPerMs: 5, laterBuilds: [1] }, 15);
    expect(sum(reports, "divergences")).toBe(0);
    expect(sum(reports, "toldEarlier")).toBeGreaterThan(0);
    expect(sum(reports, "toldLater")).toBe(0);
  });

  test("two later builds tell each other all, with an earlier one among them", () => {
    const reports = holds({ nodes: 3, chaosMs: 400, cuts: 30, changesPerMs: 5, laterBuilds: [1, 2] }, 10);
    expect(sum(reports, "toldLater")).toBeGreaterThan(0);
    expect(sum(reports, "toldEarlier")).toBeGreaterThan(0);
  });

  test("nodes are upgraded and taken back one by one, while slots move", () => {
    const options = { nodes: 3, chaosMs: 600, cuts: 20, restarts: 8, moves: 40, changesPerMs: 5 };
    const reports = holds({ ...options, laterBuilds: [2] }, 15);
    expect(sum(reports, "restarts")).toBeGreaterThan(0);
    expect(sum(reports, "toldLater")).toBeGreaterThan(0);
  });

  test("a record that is cut at the wrong place is noticed", () => {
    const shift = (link: SenderLink): SenderLink => ({
      bind: (handlers) => link.bind(handlers),
      send: (message) => {
        if (message.type !== "batch") return link.send(message);
        return link.send({ ...message, slab: Uint8Array.from([...message.slab.subarray(4), 0, 0, 0, 0]) });
      },
      pause: () => link.pause(),
      resume: () => link.resume(),
      close: () => link.close(),
    });
    const sabotage = { senderLink: shift };
    const report = () => new Rig({ seed: 1, nodes: 2, chaosMs: 100, laterBuilds: [1], sabotage }).run();
    expect(() => expect(report().problems).toEqual([])).toThrow();
  });
});

/** Problems that a sabotaged cluster shows within some seeds. */
function problemsOf(options: Omit<RigOptions, "seed" | "nodes" | "chaosMs">): string[] {
  const problems: string[] = [];
  for (let seed = 1; seed <= 40 && problems.length === 0; seed++) {
    problems.push(
      ...new Rig({ seed, nodes: 2, chaosMs: 300, cuts: 60, changesPerMs: 6, ...options }).run().problems,
    );
  }
  return problems;
}

describe("the checks catch planted bugs", () => {
  test("an acknowledgement on receipt instead of on application", () => {
    const problems = problemsOf({ sabotage: { receiverLink: acknowledgesOnReceipt } });
    expect(problems[0]).toMatch(/claims change/);
  });

  test("a sender that skips what it should send again after a reconnect", () => {
    const problems = problemsOf({ sabotage: { senderLink: skipsResend } });
    expect(problems[0]).toMatch(/claims change|flows at/);
  });
});

/** Every acknowledgement claims what was merely received. */
function acknowledgesOnReceipt(link: ReceiverLink): ReceiverLink {
  let received = 0;
  return {
    ...passThrough(link),
    bind: (handlers: LinkHandlers<SenderMessage>) =>
      link.bind({
        onOpen: () => handlers.onOpen(),
        onWritable: () => handlers.onWritable(),
        onClose: (why) => handlers.onClose(why),
        onMessage: (message) => {
          if (message.type === "batch") received = message.firstSequence + message.count - 1;
          handlers.onMessage(message);
          if (message.type === "batch") link.send({ type: "ack", appliedSequence: received, beat: 0 });
        },
      }),
    send: (message: ReceiverMessage) => {
      if (message.type === "welcome") received = message.receivedSequence;
      return link.send(message.type === "ack" ? { ...message, appliedSequence: received } : message);
    },
  };
}

/** The first batch that repeats sequences carries deletions of nothing instead of its records. */
const highestSent = new Map<number, number>();
function skipsResend(link: SenderLink): SenderLink {
  let session = 0;
  return {
    ...passThrough(link),
    bind: (handlers: LinkHandlers<ReceiverMessage>) => link.bind(handlers),
    send: (message: SenderMessage) => {
      if (message.type === "hello") session = message.session;
      if (message.type !== "batch") return link.send(message);
      const highest = highestSent.get(session) ?? 0;
      const isAgain = message.firstSequence <= highest;
      const isTaken = link.send(isAgain ? emptied(message) : message);
      if (isTaken) highestSent.set(session, Math.max(highest, message.firstSequence + message.count - 1));
      return isTaken;
    },
  };
}

function emptied(batch: Batch): Batch {
  const slab = batch.slab.slice();
  const recordBytes = slab.length / batch.count;
  for (let i = 0; i < batch.count; i++) {
    slab[i * recordBytes] = 2;
    slab.fill(0xee, i * recordBytes + 4, i * recordBytes + 8);
  }
  return { ...batch, slab };
}

function passThrough(link: { pause(): void; resume(): void; close(): void }) {
  return { pause: () => link.pause(), resume: () => link.resume(), close: () => link.close() };
}
