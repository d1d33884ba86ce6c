import { expect, test } from "vitest";
import { Meeting } from "../../../../chaos/clients/meeting.ts";

/** True when `promise` is settled by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol();
  return (await Promise.race([promise, Promise.resolve(pending)])) !== pending;
}

test("a meeting is complete when the last one arrived, and all wait for the fault", async () => {
  const meeting = new Meeting(["a", "b"]);
  const first = meeting.arrive("a");
  expect(await isSettled(meeting.everybody())).toBe(false);
  const second = meeting.arrive("b");
  await meeting.everybody();
  expect(await isSettled(Promise.race([first, second]))).toBe(false);
  meeting.release();
  await Promise.all([first, second]);
});

test("who arrives twice is counted once, and who comes after the fault does not wait", async () => {
  const meeting = new Meeting(["a", "b"]);
  void meeting.arrive("a");
  void meeting.arrive("a");
  expect(await isSettled(meeting.everybody())).toBe(false);
  void meeting.arrive("b");
  meeting.release();
  await meeting.arrive("a");
});

test("a meeting of nobody is complete at once", async () => {
  await new Meeting([]).everybody();
});
