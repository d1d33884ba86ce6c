import { expect, test } from "vitest";
import { LeaseHolder } from "../../../../cluster/takeover/lease.ts";

const NONCE = 42;
const holder = (voters = [1, 2, 3]): LeaseHolder => new LeaseHolder({ leaseMs: 60, voters, nonce: NONCE });

test("a lease begins with the sending of the request, not with its acknowledgement", () => {
  const lease = holder();
  const seq = lease.request(100);
  lease.ack(1, NONCE, seq);
  expect(lease.validUntilMs).toBe(Number.NEGATIVE_INFINITY);
  lease.ack(2, NONCE, seq);
  expect(lease.validUntilMs).toBe(160);
});

test("a lease lasts from the latest request that a majority acknowledged", () => {
  const lease = holder([1, 2, 3, 4, 5]);
  const [a, b, c] = [lease.request(100), lease.request(110), lease.request(120)];
  lease.ack(1, NONCE, c);
  lease.ack(2, NONCE, b);
  lease.ack(3, NONCE, a);
  expect(lease.validUntilMs).toBe(160);
  lease.ack(4, NONCE, c);
  expect(lease.validUntilMs).toBe(170);
});

test("an acknowledgement of an older request never changes anything", () => {
  const lease = holder();
  const old = lease.request(100);
  const late = lease.request(150);
  lease.ack(1, NONCE, late);
  lease.ack(2, NONCE, late);
  lease.ack(2, NONCE, old);
  lease.ack(3, NONCE, old);
  expect(lease.validUntilMs).toBe(210);
});

test("two of four voters are no majority", () => {
  const lease = holder([1, 2, 3, 4]);
  const seq = lease.request(0);
  lease.ack(1, NONCE, seq);
  lease.ack(2, NONCE, seq);
  expect(lease.validUntilMs).toBe(Number.NEGATIVE_INFINITY);
  lease.ack(3, NONCE, seq);
  expect(lease.validUntilMs).toBe(60);
});

test("acknowledgements of another life, of the future, of forgotten requests and of strangers are ignored", () => {
  const lease = holder([1, 2]);
  const first = lease.request(0);
  for (let i = 0; i < 256; i++) lease.request(1000 + i);
  for (const voter of [1, 2]) {
    lease.ack(voter, NONCE + 1, 200);
    lease.ack(voter, NONCE, 999);
    lease.ack(voter, NONCE, first);
    lease.ack(voter, NONCE, 0);
  }
  lease.ack(7, NONCE, 200);
  lease.ack(8, NONCE, 200);
  expect(lease.validUntilMs).toBe(Number.NEGATIVE_INFINITY);
});

test("setVoters() counts again", () => {
  const lease = holder([1, 2, 3]);
  const seq = lease.request(0);
  lease.ack(1, NONCE, seq);
  lease.setVoters([[1]]);
  expect(lease.validUntilMs).toBe(60);
  lease.setVoters([[1, 2, 3]]);
  expect(lease.validUntilMs).toBe(Number.NEGATIVE_INFINITY);
});
