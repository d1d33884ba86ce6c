/**
 * The checks of the property test are worth what they catch: each test here breaks one rule of Raft, in the core or
 * in its driver, and expects that some seed shows it.
 */
import { InvariantError } from "raft-ts";
import { afterEach, expect, test, vi } from "vitest";
import { RaftLog } from "../../src/log.ts";
import { Raft } from "../../src/raft.ts";
import { ReadOnly } from "../../src/read-only.ts";
import { Tracker } from "../../src/tracker/tracker.ts";
import type { Message } from "../../src/types.ts";
import { Chaos, type ChaosOptions, SafetyViolation } from "../support/chaos.ts";
import { TestNode } from "../support/driver.ts";

const SEEDS_MAX = 400;

afterEach(() => {
  vi.restoreAllMocks();
});

/** The first violation over many seeds: of a checked property, or one that a node noticed itself. */
function firstViolation(options: Partial<ChaosOptions> = {}): string {
  for (let seed = 1; seed <= SEEDS_MAX; seed++) {
    try {
      const chaos = new Chaos({ seed, steps: 4_000, ...options });
      chaos.run();
      chaos.converge();
    } catch (error) {
      if (error instanceof SafetyViolation || error instanceof InvariantError) return error.message;
      throw error;
    }
  }
  return "none";
}

test("a vote for a candidate with a shorter log is caught (section 5.4.1)", () => {
  vi.spyOn(RaftLog.prototype, "isUpToDate").mockReturnValue(true);
  expect(firstViolation()).not.toBe("none");
});

test("a second vote in the same term is caught (section 5.2)", () => {
  const step = Raft.prototype.step;
  vi.spyOn(Raft.prototype, "step").mockImplementation(function (this: Raft, m: Message) {
    if (m.type === "MsgVote") this.vote = 0;
    step.call(this, m);
  });
  expect(firstViolation()).toMatch(/Election Safety|claims to lead/);
});

test("committing without a majority is caught (section 5.3)", () => {
  vi.spyOn(Tracker.prototype, "committed").mockImplementation(function (this: Tracker) {
    return Math.max(...[...this.members.values()].map((progress) => progress.match));
  });
  expect(firstViolation()).not.toBe("none");
});

test("counting only the new voters of a joint configuration is caught (section 6)", () => {
  const members = Object.getOwnPropertyDescriptor(Tracker.prototype, "membership")!.get!;
  const halved = (tracker: Tracker) => ({ ...members.call(tracker), outgoing: new Set<number>() });
  vi.spyOn(Tracker.prototype, "committed").mockImplementation(function (this: Tracker) {
    const matches = [...halved(this).incoming].map((id) => this.progressOf(id as number)?.match ?? 0);
    return matches.sort((a, b) => b - a)[Math.floor(matches.length / 2)] ?? 0;
  });
  vi.spyOn(Tracker.prototype, "tallyVotes").mockReturnValue("won");
  expect(firstViolation({ isMembershipChanging: true })).not.toBe("none");
});

test("votes and acks that leave before they are durable are caught (section 3.8 of the thesis)", () => {
  vi.spyOn(Raft.prototype, "send").mockImplementation(function (this: Raft, m: Message) {
    if (m.to === this.id) this.messagesAfterPersist.push(m);
    else this.messages.push(m);
  });
  expect(firstViolation()).not.toBe("none");
});

test("a driver that forgets the vote in a crash is caught", () => {
  const restart = TestNode.prototype.restart;
  vi.spyOn(TestNode.prototype, "restart").mockImplementation(function (this: TestNode) {
    this.storage.setHardState({ ...this.storage.initialState().hardState, vote: 0 });
    restart.call(this);
  });
  expect(firstViolation()).toMatch(/Election Safety|claims to lead/);
});

test("reads that no quorum has confirmed are caught (section 8)", () => {
  const take = ReadOnly.prototype.takeConfirmed;
  vi.spyOn(ReadOnly.prototype, "takeConfirmed").mockImplementation(function (this: ReadOnly) {
    return take.call(this, Number.POSITIVE_INFINITY);
  });
  expect(firstViolation()).toMatch(/Linearizability/);
});

test("a log that keeps a conflicting tail is caught (section 5.3)", () => {
  const append = RaftLog.prototype.append;
  vi.spyOn(RaftLog.prototype, "append").mockImplementation(function (this: RaftLog, entries) {
    append.call(
      this,
      entries.filter((entry) => entry.index > this.lastIndex()),
    );
  });
  expect(firstViolation()).not.toBe("none");
});
