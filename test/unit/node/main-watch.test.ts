/** A control thread that hangs for good: the worker ends the process, once, and not because of a thread that is slow. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { MAIN_HUNG_MS, watchMain } from "../../../src/node/main-watch.ts";
import { WORKER_BOARD_BYTES, WorkerBoard } from "../../../src/node/worker-board.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function watch(): { readonly board: WorkerBoard; readonly ends: string[]; readonly stop: () => void } {
  const board = new WorkerBoard(new SharedArrayBuffer(WORKER_BOARD_BYTES));
  const ends: string[] = [];
  const stop = watchMain({
    beats: () => board.mainBeats(),
    nowMs: () => performance.now(),
    onHung: (text) => ends.push(text),
  });
  return { board, ends, stop };
}

test("one that beats, and one that stands still for less than the limit, is left alone", () => {
  const { board, ends } = watch();
  for (let s = 0; s < 600; s += 10) {
    vi.advanceTimersByTime(10_000);
    board.mainBeat();
  }
  vi.advanceTimersByTime(MAIN_HUNG_MS - 1000);
  board.mainBeat();
  vi.advanceTimersByTime(MAIN_HUNG_MS - 1000);
  expect(ends).toEqual([]);
});

test("one that hangs ends the process once, with one line that says so", () => {
  const { board, ends } = watch();
  board.beat(); // The worker's own beats do not count.
  vi.advanceTimersByTime(10 * MAIN_HUNG_MS);
  expect(ends).toEqual([
    "SW_DATAPLANE_HUNG: the control thread has stood still for 30 s: this process ends, so that others take its place and it can be started anew",
  ]);
});

test("a worker that was told to stop accuses nobody", () => {
  const { ends, stop } = watch();
  stop();
  vi.advanceTimersByTime(10 * MAIN_HUNG_MS);
  expect(ends).toEqual([]);
});
