import { expect, test } from "vitest";
import type { LinkHandlers } from "../../../cluster/sync/link.ts";
import { BATCH_RECORDS_MAX } from "../../../cluster/sync/messages.ts";
import type { Replication } from "../../../cluster/sync/replication.ts";
import { RECORD_BYTES } from "../../../src/base/record.ts";
import { createRing, RecordRing } from "../../../src/base/ring.ts";
import { SyncDoorbells } from "../../../src/node/sync-doorbells.ts";

/** Doorbells over real rings, with a clock that the test moves and replication that only empties the ring. */
class World {
  nowMs = 1000;
  readonly drains: { atMs: number; records: number }[] = [];
  applied = 0;
  wakes = 0;
  readonly router = { counts: { claims: 0 }, isWaiting: false };
  readonly later: (() => void)[] = [];
  readonly #memory = createRing(RECORD_BYTES, 2048);
  /** The worker's end. */
  readonly worker = new RecordRing(this.#memory);
  readonly #changes = new RecordRing(this.#memory);
  readonly bells = new SyncDoorbells({
    changes: this.#changes,
    replicas: new RecordRing(createRing(RECORD_BYTES, 16)),
    replication: () => this.#replication,
    nowMs: () => this.nowMs,
    afterInput: (work) => this.later.push(work),
    isAwaited: () => true,
    wake: () => this.wakes++,
  });

  /** The worker publishes `records` and looks whether it has to ring. */
  publish(records: number): void {
    for (let i = 0; i < records; i++) {
      this.worker.reserve();
      this.worker.publish();
    }
    this.look();
  }

  look(): void {
    if (this.worker.length() > 0 && this.worker.takeArmed(this.nowMs)) this.bells.drain();
  }

  /** A link of which the test says what comes; `onMessage` is what the other end of the wiring does with it. */
  link(way: "outgoing" | "incoming", onMessage: () => void): () => void {
    let handlers: LinkHandlers<string> | undefined;
    const link = this.bells[way]<string, string>({
      bind: (its) => {
        handlers = its;
      },
      send: () => true,
      pause: () => {},
      resume: () => {},
      close: () => {},
    });
    link.bind({ onOpen: () => {}, onMessage, onWritable: () => {}, onClose: () => {} });
    return () => handlers!.onMessage("acknowledgement");
  }

  get #replication(): Replication {
    const fake = {
      limits: { gatherUs: 500, gatherWaitingUs: 2000 },
      router: this.router,
      onApplied: () => this.applied++,
      drain: (atMs: number) => {
        this.drains.push({ atMs, records: this.#changes.length() });
        this.#changes.release(this.#changes.length());
        return false;
      },
    };
    return fake as unknown as Replication;
  }
}

test("the first change after a quiet time is taken at once, those that follow together", () => {
  const world = new World();
  world.bells.drain();
  world.publish(1);
  expect(world.drains.at(-1)).toEqual({ atMs: 1000, records: 1 });
  for (const atMs of [1000.1, 1000.2, 1000.3, 1000.4]) {
    world.nowMs = atMs;
    world.publish(2);
  }
  expect(world.drains.at(-1)).toEqual({ atMs: 1000, records: 1 });
  world.nowMs = 1000.5;
  world.publish(2);
  expect(world.drains.at(-1)).toEqual({ atMs: 1000.5, records: 10 });
});

test("what was published too early leaves at the worker's next look, without another change", () => {
  const world = new World();
  world.bells.drain();
  world.publish(1);
  world.nowMs = 1000.2;
  world.publish(3);
  world.nowMs = 1001.2;
  world.look();
  expect(world.drains.at(-1)).toEqual({ atMs: 1001.2, records: 3 });
});

test("a full batch does not wait", () => {
  const world = new World();
  world.bells.drain();
  world.publish(1);
  world.nowMs = 1000.1;
  world.publish(BATCH_RECORDS_MAX);
  expect(world.drains.at(-1)).toEqual({ atMs: 1000.1, records: BATCH_RECORDS_MAX });
});

test("a doorbell for applied replicas acknowledges them at once and takes no changes too early", () => {
  const world = new World();
  world.bells.drain();
  world.publish(1);
  world.nowMs = 1000.1;
  world.publish(3);
  const before = world.applied;
  world.bells.drain();
  expect(world.applied).toBe(before + 1);
  expect(world.worker.length()).toBe(3);
  world.nowMs = 1000.5;
  world.look();
  expect(world.worker.length()).toBe(0);
});

test("what waits in the ring is taken before an acknowledgement is read, so that it leaves with it", () => {
  const world = new World();
  let waitedAtMessage = -1;
  const say = world.link("outgoing", () => {
    waitedAtMessage = world.worker.length();
  });
  world.bells.drain();
  world.publish(1);
  world.router.isWaiting = true;
  world.nowMs = 1000.1;
  world.publish(3);
  say();
  expect(waitedAtMessage).toBe(0);
  expect(world.drains.find(({ records }) => records === 3)).toEqual({ atMs: 1000.1, records: 3 });
});

test("a message from a peer whose changes come here takes nothing", () => {
  const world = new World();
  const say = world.link("incoming", () => {});
  world.bells.drain();
  world.publish(1);
  world.nowMs = 1000.1;
  world.publish(3);
  say();
  expect(world.worker.length()).toBe(3);
});

test("while only an acknowledgement can help, the worker rings later; after it, as soon as ever", () => {
  const world = new World();
  const say = world.link("outgoing", () => {
    world.router.isWaiting = false;
  });
  world.bells.drain();
  world.router.isWaiting = true;
  world.publish(1);
  world.nowMs = 1000.6;
  world.publish(3);
  expect(world.worker.length()).toBe(3);
  world.nowMs = 1002;
  world.look();
  expect(world.worker.length()).toBe(0);

  world.nowMs = 1002.1;
  say();
  world.publish(2);
  expect(world.worker.length()).toBe(2);
  world.nowMs = 1002.5;
  world.look();
  expect(world.worker.length()).toBe(0);
});
