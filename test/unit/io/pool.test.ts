import { expect, test } from "vitest";
import { AssertionError } from "../../../src/base/assert.ts";
import { createMemoryPool } from "../../../src/io/memory.ts";
import { ChunkPool } from "../../../src/io/pool.ts";
import { CHUNK_BYTES, HEADROOM_BYTES } from "../../../src/io/port.ts";

test("alloc() gives each chunk once, headroom left before the frame", () => {
  const pool = createMemoryPool(8);
  const given = new Set<number>();
  for (let i = 0; i < 8; i++) given.add(pool.alloc());
  expect(given.size).toBe(8);
  for (const at of given) expect(at % CHUNK_BYTES).toBe(HEADROOM_BYTES);
  expect(pool.available()).toBe(0);
});

test("alloc() answers -1 and counts it when no chunk is left", () => {
  const pool = createMemoryPool(1);
  pool.alloc();
  expect(pool.alloc()).toBe(-1);
  expect(pool.alloc()).toBe(-1);
  expect(pool.exhausted()).toBe(2);
});

test("alloc() asks for what can be reclaimed before it gives up", () => {
  const pool = createMemoryPool(1);
  const at = pool.alloc();
  pool.reclaim = () => pool.free(at);
  expect(pool.alloc()).toBe(at);
  expect(pool.exhausted()).toBe(0);
});

test("free() takes any offset in the chunk", () => {
  const pool = createMemoryPool(1);
  const at = pool.alloc();
  pool.free(at - 100);
  expect(pool.available()).toBe(1);
  pool.free(pool.alloc() + 1000);
  expect(pool.available()).toBe(1);
});

test("free() of a frame that nobody owns is a bug", () => {
  const pool = createMemoryPool(2);
  const at = pool.alloc();
  pool.free(at);
  expect(() => pool.free(at)).toThrow(AssertionError);
  const lent = pool.alloc();
  pool.lend(lent, pool.addHolder());
  expect(() => pool.free(lent)).toThrow(AssertionError);
});

test("handOut() and giveBack() take only from the holder", () => {
  const pool = createMemoryPool(1);
  const [one, other] = [pool.addHolder(), pool.addHolder()];
  const at = pool.lendFree(one);
  expect(() => pool.handOut(at, other)).toThrow(AssertionError);
  expect(() => pool.giveBack(at, other)).toThrow(AssertionError);
  pool.handOut(at, one);
  pool.free(at);
  expect(pool.available()).toBe(1);
});

test("revoke() takes back what a holder still has, and nothing else", () => {
  const pool = createMemoryPool(4);
  const [one, other] = [pool.addHolder(), pool.addHolder()];
  pool.lendFree(one);
  pool.lendFree(one);
  pool.lendFree(other);
  pool.alloc();
  pool.revoke(one);
  expect(pool.available()).toBe(2);
});

test("a pool is made of whole chunks", () => {
  expect(() => new ChunkPool(new ArrayBuffer(CHUNK_BYTES + 1))).toThrow(AssertionError);
});
