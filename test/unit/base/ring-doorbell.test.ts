import { expect, test } from "vitest";
import { createRing, RecordRing } from "../../../src/base/ring.ts";

/** Both ends of one ring. */
function ends(): { producer: RecordRing; consumer: RecordRing } {
  const memory = createRing(8, 16);
  return { producer: new RecordRing(memory), consumer: new RecordRing(memory) };
}

function publish(ring: RecordRing, count: number): void {
  for (let i = 0; i < count; i++) {
    ring.reserve();
    ring.publish();
  }
}

test("takeArmed() wakes a consumer once, whatever the time, that armed the doorbell without a moment", () => {
  const { producer, consumer } = ends();
  expect(consumer.arm()).toBe(true);
  publish(producer, 1);
  expect(producer.takeArmed(0)).toBe(true);
  expect(producer.takeArmed(0)).toBe(false);
});

test("takeArmed() leaves a doorbell armed until the moment that the consumer named", () => {
  const { producer, consumer } = ends();
  expect(consumer.armFrom(100, 4)).toBe(true);
  publish(producer, 1);
  expect(producer.takeArmed(99.9)).toBe(false);
  expect(producer.takeArmed(100)).toBe(true);
});

test("takeArmed() does not wait for that moment when enough records wait", () => {
  const { producer, consumer } = ends();
  consumer.armFrom(100, 4);
  publish(producer, 3);
  expect(producer.takeArmed(0)).toBe(false);
  publish(producer, 1);
  expect(producer.takeArmed(0)).toBe(true);
});

test("armFrom() refuses when enough came meanwhile, and leaves no doorbell armed", () => {
  const { producer, consumer } = ends();
  publish(producer, 4);
  expect(consumer.armFrom(100, 4)).toBe(false);
  expect(producer.takeArmed(200)).toBe(false);
  expect(consumer.armFrom(100, 5)).toBe(true);
});

test("arm() after armFrom() names no moment any more", () => {
  const { producer, consumer } = ends();
  consumer.armFrom(100, 4);
  expect(consumer.arm()).toBe(true);
  publish(producer, 1);
  expect(producer.takeArmed(0)).toBe(true);
});

test("holdBack() is seen by the producer until it is taken back, and changes nothing else", () => {
  const { producer, consumer } = ends();
  expect(producer.isHeldBack).toBe(false);
  consumer.holdBack(true);
  expect(producer.isHeldBack).toBe(true);
  publish(producer, 16);
  expect([consumer.length(), producer.refused()]).toEqual([16, 0]);
  consumer.holdBack(false);
  expect(producer.isHeldBack).toBe(false);
});
