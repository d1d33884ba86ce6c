/**
 * The control thread's end of the lifeline worker, with a played thread.
 */
import { EventEmitter } from "node:events";
import { afterEach, expect, test, vi } from "vitest";
import { LifelineHost } from "../../../src/node/lifeline-host.ts";
import type { LifelineSetup } from "../../../src/node/lifeline-worker.ts";

const threads: PlayedThread[] = [];

/** Starts, and does nothing that it is told. */
class PlayedThread extends EventEmitter {
  readonly told: unknown[] = [];

  constructor() {
    super();
    threads.push(this);
    queueMicrotask(() => this.emit("message", { type: "started" }));
  }

  postMessage(message: unknown): void {
    this.told.push(message);
  }

  async terminate(): Promise<void> {
    this.emit("exit", 1);
  }
}

vi.mock("node:worker_threads", async (original) => ({
  ...(await original<typeof import("node:worker_threads")>()),
  Worker: class {
    constructor() {
      // biome-ignore lint/correctness/noConstructorReturn: the thread that is played stands for the real one.
      return new PlayedThread();
    }
  },
}));
afterEach(() => vi.useRealTimers());

test("stop() ends a thread that does not end by itself, and tells nobody that it died", async () => {
  vi.useFakeTimers();
  const deaths: Error[] = [];
  const host = new LifelineHost({ realtime: "never" } as LifelineSetup, {
    onUp: () => {},
    onClosed: () => {},
    onWarning: () => {},
    onDeath: (error) => deaths.push(error),
  });
  await host.start();
  let isStopped = false;
  const stopping = host.stop().then(() => {
    isStopped = true;
  });
  await vi.advanceTimersByTimeAsync(1999);
  expect([threads[0]?.told, isStopped]).toEqual([[{ type: "stop" }], false]);
  await vi.advanceTimersByTimeAsync(1);
  await stopping;
  expect(deaths).toEqual([]);
});
