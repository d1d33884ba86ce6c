import { expect, test } from "vitest";
import { downCommand } from "../../../../cluster/control/commands.ts";
import { MemoryNote, type Noted } from "../../../../cluster/storage/store-note.ts";
import { SynwallError } from "../../../../src/base/errors.ts";
import { KvMembers, up, weigh } from "./kv-members.ts";

async function pair(isPlanning = false): Promise<KvMembers> {
  const members = new KvMembers();
  await members.begin();
  members.start(1, { isPlanning });
  members.start(2, { isPlanning });
  await members.settle();
  return members;
}

/** `count` commands of one member, several at a time; not one of them changes nothing. */
async function many(members: KvMembers, by: number, count: number): Promise<void> {
  for (let done = 0; done < count; done += 40) {
    const answers = Array.from({ length: 40 }, (_, i) =>
      members.driver(by).propose(weigh(1, 1 + ((done + i) % 100))),
    );
    let isDone = false;
    void Promise.all(answers).then(() => (isDone = true));
    await members.clock.until(() => isDone);
  }
}

/** Until nobody plans anything any more. */
async function planned(members: KvMembers): Promise<void> {
  let revision = -1;
  while (revision !== members.driver(1).state().revision) {
    revision = members.driver(1).state().revision;
    await members.clock.pass(50);
  }
  await members.settle();
}

async function decided(members: KvMembers, by: number, command: ReturnType<typeof up>): Promise<unknown> {
  const answer = members.driver(by).propose(command);
  let outcome: unknown;
  answer.then(
    (result) => (outcome = result),
    (error: Error) => (outcome = error.message),
  );
  await members.clock.until(() => outcome !== undefined);
  return outcome;
}

test("all members apply the same entries in one order, whoever proposed them, also at the same moment", async () => {
  const members = await pair();
  await decided(members, 1, up(1));
  await decided(members, 2, up(2));
  const answers = [1, 2, 3, 4, 5].flatMap((weight) => [
    members.driver(1).propose(weigh(1, weight)),
    members.driver(2).propose(weigh(2, weight)),
  ]);
  let isDone = false;
  void Promise.all(answers).then(() => (isDone = true));
  await members.clock.until(() => isDone);
  await members.settle();
  expect(members.applied.get(1)).toEqual(members.applied.get(2));
  expect(members.driver(1).state()).toEqual(members.driver(2).state());
  expect(members.driver(1).status().applied).toBe(12);
});

test("a command whose answer got lost is applied once", async () => {
  const members = await pair();
  await decided(members, 1, up(1));
  members.way(1).isMute = true;
  const answer = decided(members, 1, up(1));
  await members.clock.pass(150);
  members.way(1).isMute = false;
  expect(await answer).toEqual({ ok: true, changed: true });
  await members.settle();
  // A second "up" would be another life.
  expect(members.driver(2).state().members[0]!.incarnation).toBe(2);
});

test("a takeover is decided without waiting for the store to miss the leader", async () => {
  const members = await pair(true);
  await decided(members, 1, up(1));
  await decided(members, 2, up(2));
  await planned(members);
  const dead = members.driver(1).status().lead;
  const heir = 3 - dead;
  members.kill(dead);
  const beganMs = members.clock.nowMs();
  members.driver(heir).leaderDied(dead);
  await decided(members, heir, downCommand(members.driver(heir).state(), dead)!);
  expect(
    members
      .driver(heir)
      .state()
      .table.owner.every((owner) => owner === heir),
  ).toBe(true);
  await members.clock.until(() => members.driver(heir).status().lead === heir);
  expect(members.clock.nowMs() - beganMs).toBeLessThan(20);
});

test("of two members that declare each other dead one is believed, and the other learns it", async () => {
  const members = await pair(true);
  await decided(members, 1, up(1));
  await decided(members, 2, up(2));
  await planned(members);
  const [one, two] = [members.driver(1), members.driver(2)];
  const answers = await Promise.all([
    decided(members, 1, downCommand(one.state(), 2)!),
    decided(members, 2, downCommand(two.state(), 1)!),
  ]);
  expect(answers.filter((answer) => (answer as { ok: boolean }).ok)).toHaveLength(1);
  await members.settle();
  expect(one.state().members.filter(({ state }) => state === "down")).toHaveLength(1);
  expect(one.state()).toEqual(two.state());
});

test("a leader that is heard but does not reach the store is replaced, and gives in when it is back", async () => {
  const members = await pair();
  const before = members.driver(1).status().lead;
  members.way(before).isCut = true;
  await members.clock.until(() => members.driver(3 - before).status().lead === 3 - before);
  expect(members.driver(before).status().lead).toBe(0);
  members.way(before).isCut = false;
  await members.settle();
  expect(members.driver(before).status().lead).toBe(3 - before);
});

test("leadership is handed over", async () => {
  const members = await pair();
  const { lead, term } = members.driver(1).status();
  members.driver(lead).transferLeader(3 - lead);
  await members.clock.until(() => members.driver(1).status().lead === 3 - lead);
  expect(members.driver(1).status().term).toBe(term + 1);
});

test("while the store is away nothing is decided and nobody leads; what was proposed is told to be unknown", async () => {
  const members = await pair();
  await decided(members, 1, up(1));
  const before = members.driver(1).state();
  for (const self of [1, 2]) members.way(self).isCut = true;
  const answer = await decided(members, 1, up(2));
  expect(answer).toMatch(/^Cannot tell whether up was decided/);
  expect(members.driver(1).state()).toBe(before);
  const { lead, store } = members.driver(1).status();
  expect([lead, store?.isConnected]).toEqual([0, false]);
  for (const self of [1, 2]) members.way(self).isCut = false;
  await members.settle();
  expect(await decided(members, 1, up(2))).toEqual({ ok: true, changed: true });
});

/** Requests of a member from now on, and the most of them that were open at once. */
function requestsOf(members: KvMembers, self: number): { count: number; openMax: number } {
  const client = members.clients.get(self)!;
  const seen = { count: 0, openMax: 0 };
  const transact = client.transact.bind(client);
  let open = 0;
  client.transact = (transaction) => {
    seen.count++;
    seen.openMax = Math.max(seen.openMax, ++open);
    return transact(transaction).finally(() => open--);
  };
  return seen;
}

test("a store that is away or slow is asked a few times a second, though its leader is not heard of any more", async () => {
  const members = await pair();
  const follower = 3 - members.driver(1).status().lead;
  const away = requestsOf(members, follower);
  members.way(follower).isCut = true;
  await members.clock.pass(10_000);
  // A request waits for 100 ms, the next one for 200 ms more; the first takeover is one of them.
  expect(away.count).toBeLessThan(40);
  expect(away.openMax).toBeLessThanOrEqual(2);
  Object.assign(members.way(follower), { isCut: false, delayMs: 6_000, timeoutMs: 20_000 });
  await members.clock.pass(500);
  const slow = requestsOf(members, follower);
  await members.clock.pass(10_000);
  expect(slow.count).toBeLessThan(5);
  expect(slow.openMax).toBeLessThanOrEqual(2);
});

test("a leader that died while the store was away is replaced when it is back, and one that lives keeps leading", async () => {
  const members = await pair();
  const { lead, term } = members.driver(1).status();
  const heir = 3 - lead;
  members.way(heir).isCut = true;
  await members.clock.pass(8_000);
  members.way(heir).isCut = false;
  await members.settle();
  expect([members.driver(heir).status().lead, members.driver(heir).status().term]).toEqual([lead, term]);
  members.way(heir).isCut = true;
  await members.clock.until(() => members.driver(heir).status().lead === 0);
  members.kill(lead);
  members.driver(heir).leaderDied(lead);
  await members.clock.pass(8_000);
  members.way(heir).isCut = false;
  expect(await members.clock.until(() => members.driver(heir).status().lead === heir)).toBeLessThan(350);
});

test("what a watch missed is read when it broke, and when the store has forgotten its own history", async () => {
  const members = await pair();
  await decided(members, 1, up(1));
  for (let weight = 1; weight <= 3; weight++) {
    members.clients.get(2)!.breakWatches();
    await decided(members, 1, weigh(1, weight + 1));
    members.store.compact();
  }
  await members.settle();
  expect(members.applied.get(2)).toEqual(members.applied.get(1));
});

test("a long log is cut behind a snapshot, from which a new member starts", async () => {
  const members = await pair();
  await decided(members, 1, up(1));
  await many(members, 1, 320);
  await members.clock.until(() => members.store.keys.includes(members.keys.snapshot));
  const entries = members.store.keys.filter((key) => members.keys.indexOf(key) !== undefined);
  expect(entries.length).toBeLessThan(200);
  members.start(3);
  await members.settle();
  expect(members.driver(3).state()).toEqual(members.driver(1).state());
  expect(members.applied.get(3)![0]).toMatch(/snapshot$/);
});

test("a member that was away while its entries were dropped takes the snapshot", async () => {
  const members = await pair();
  await decided(members, 1, up(1));
  members.way(2).isCut = true;
  await members.clock.until(() => members.driver(1).status().lead === 1);
  await many(members, 1, 400);
  await members.clock.until(() => members.store.keys.includes(members.keys.snapshot));
  members.way(2).isCut = false;
  await members.settle();
  expect(members.driver(2).state()).toEqual(members.driver(1).state());
});

test("an emptied store is refused by those that run, who keep their state, and by those that start", async () => {
  const members = await pair();
  await decided(members, 1, up(1));
  await members.settle();
  const before = members.driver(1).state();
  members.store.restore(new Map());
  await members.begin("log-2");
  await members.clock.until(() => members.driver(1).status().store!.refusal !== "");
  expect(members.driver(1).state()).toBe(before);
  expect(members.driver(1).status().lead).toBe(0);
  members.kill(2);
  members.start(2);
  await members.clock.until(() => members.ended.has(2));
  expect(members.ended.get(2)).toBe("SW_STORE_LOST");
  // Nothing of this log was written into the other one.
  expect(members.store.keys.filter((key) => members.keys.indexOf(key) !== undefined)).toEqual([]);
});

test("a store that was put back to an older state is refused, and taken again when it is the right one", async () => {
  const members = await pair();
  await decided(members, 1, up(1));
  const older = members.store.backup();
  await decided(members, 1, up(2));
  await members.settle();
  const newest = members.store.backup();
  members.store.restore(older);
  await members.clock.until(() => members.driver(2).status().store!.refusal !== "");
  members.kill(1);
  members.start(1);
  await members.clock.until(() => members.ended.get(1) === "SW_STORE_LOST");
  members.drivers.delete(1);
  members.store.restore(newest);
  await members.clock.until(() => members.driver(2).status().store!.refusal === "");
  // Its leader ended itself: another one plans when it is missed.
  await members.clock.until(() => members.driver(2).status().lead === 2);
});

test("another log of the same length is not taken for the own one", async () => {
  const members = await pair();
  const older = members.store.backup();
  await decided(members, 1, up(1));
  await members.settle();
  members.kill(2);
  members.kill(1);
  const note = members.notes.get(2)!;
  members.store.restore(older);
  // Member 1 has forgotten what it noted: it writes another entry where the first one was.
  members.notes.delete(1);
  members.start(1);
  await members.clock.until(() => members.driver(1).status().lead === 1);
  await decided(members, 1, up(9));
  await decided(members, 1, up(8));
  expect(note.read()!.index).toBe(1);
  members.start(2);
  await members.clock.until(() => members.ended.has(2));
  expect(members.ended.get(2)).toBe("SW_STORE_LOST");
});

/** A note on a disk that is as good as `finish` lets it be. */
class DiskNote extends MemoryNote {
  readonly writes = { waitedFor: 0, soon: 0 };
  finish = (noted: Noted, done: (error?: unknown) => void): void => super.writeSoon(noted, done);

  override write(noted: Noted): void {
    this.writes.waitedFor++;
    super.write(noted);
  }

  override writeSoon(noted: Noted, done: (error?: unknown) => void): void {
    this.writes.soon++;
    this.finish(noted, done);
  }
}

/** A pair whose first member notes on `note`. */
async function pairOn(note: DiskNote): Promise<KvMembers> {
  const members = new KvMembers();
  members.notes.set(1, note);
  await members.begin();
  members.start(1);
  members.start(2);
  await members.settle();
  await decided(members, 1, up(1));
  return members;
}

test("what is applied is noted a few times a second, without a wait, and whole at a stop", async () => {
  const note = new DiskNote();
  const members = await pairOn(note);
  const beganMs = members.clock.nowMs();
  for (let i = 0; i < 200; i++) await decided(members, 1, weigh(1, 1 + (i % 100)));
  const seconds = Math.ceil((members.clock.nowMs() - beganMs) / 1000);
  expect(note.writes.soon).toBeGreaterThan(1);
  expect(note.writes.soon).toBeLessThanOrEqual(1 + 4 * seconds);
  expect(note.writes.waitedFor).toBe(0);
  members.kill(1);
  expect(note.read()!.index).toBe(201);
  expect(note.writes.waitedFor).toBe(1);
});

test("a note that the disk never finishes holds nothing up, and no second one is begun behind it", async () => {
  const note = new DiskNote();
  note.finish = () => {};
  const members = await pairOn(note);
  await many(members, 1, 80);
  await members.clock.pass(2_000);
  expect(members.driver(1).status().applied).toBe(81);
  expect(note.writes).toEqual({ waitedFor: 0, soon: 1 });
});

test("a note that the disk refuses ends the member, and is not tried again", async () => {
  const note = new DiskNote();
  const members = await pairOn(note);
  note.finish = (_noted, done) => done(new SynwallError("SW_STORAGE_FAILED", "Cannot write the note"));
  await members.clock.pass(300);
  await decided(members, 2, up(2));
  await members.clock.until(() => members.ended.has(1));
  expect(members.ended.get(1)).toBe("SW_STORAGE_FAILED");
  const { soon } = note.writes;
  members.kill(1);
  expect(note.writes).toEqual({ waitedFor: 0, soon });
});
