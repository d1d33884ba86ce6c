/** A flood of made-up heartbeats on a zone's wire: it costs a bounded number of HMACs, and keeps no member's own out. */
import { expect, test } from "vitest";
import { clusterHash, EnvelopeWriter } from "../../../cluster/liveness/envelope.ts";
import { copyable } from "../../../src/io/copy.ts";
import { HEARTBEATS_PER_SECOND } from "../../../src/node/heartbeat-budget.ts";
import { writeZoneFrame } from "../../../src/node/heartbeat-frames.ts";
import { WorkerBoard } from "../../../src/node/worker-board.ts";
import { hostMac } from "../dataplane/world.ts";
import { WorkerWorld } from "./worker-world.ts";

const INSIDE = 0;
const A_MILLISECOND = 10;

/** In fw2's name, under another secret. */
function forged(pair: { readonly first: WorkerWorld }, from: Uint8Array): Uint8Array {
  const writer = new EnvelopeWriter(clusterHash("test"), () => new Uint8Array(32).fill(1));
  writer.begin(2, 1, INSIDE + 1, 7, 0, 1);
  const frame = new Uint8Array(200);
  const lengthBytes = writeZoneFrame(frame, 0, pair.first.ports[INSIDE]!.mac, from, writer.seal());
  return frame.slice(0, lengthBytes);
}

function pair(): { readonly first: WorkerWorld; readonly second: WorkerWorld } {
  const first = new WorkerWorld(256);
  return { first, second: new WorkerWorld(256, first) };
}

/** Both run, and so many frames come to fw1 by its inside port each millisecond. */
function run({ first, second }: ReturnType<typeof pair>, forMs: number, frame?: Uint8Array): void {
  for (let ms = 0; ms < forMs; ms++) {
    for (let i = 0; frame !== undefined && i < A_MILLISECOND; i++) {
      first.ports[INSIDE]!.accept(copyable(frame), 0, frame.length);
    }
    second.run(1); // What it sends comes after them.
    first.run(1);
  }
}

function troubles({ said }: WorkerWorld): string[] {
  return said.flatMap((message) =>
    typeof message === "object" && message.type === "liveness" && /Down$/.test(message.event.type)
      ? [message.event.type]
      : [],
  );
}

function refusals({ first }: { readonly first: WorkerWorld }): {
  readonly forged: number;
  readonly crowded: number;
} {
  return new WorkerBoard(first.memory.board).heartbeatsRefused();
}

test.each([
  ["of a host", (_: ReturnType<typeof pair>) => hostMac("10.10.0.66")],
  ["with the MAC address of a member", ({ second }: ReturnType<typeof pair>) => second.ports[INSIDE]!.mac],
])("forged heartbeats %s are authenticated up to the limit, and the rest is counted", (_what, from) => {
  const both = pair();
  run(both, 2000);
  const seconds = 3;
  run(both, seconds * 1000, forged(both, from(both)));
  run(both, 2000); // The board is written now and then.
  const { forged: looked, crowded } = refusals(both);
  expect(looked).toBeGreaterThan(HEARTBEATS_PER_SECOND);
  expect(looked).toBeLessThanOrEqual((seconds + 1) * HEARTBEATS_PER_SECOND);
  expect(looked + crowded).toBeGreaterThanOrEqual(seconds * 1000 * A_MILLISECOND);
});

test("a member's own heartbeats on that link get through a flood of others", () => {
  const both = pair();
  run(both, 2000);
  const ms = 5000;
  run(both, ms, forged(both, hostMac("10.10.0.66")));
  run(both, 2000);
  const { forged: looked, crowded } = refusals(both);
  expect(crowded).toBeGreaterThan(0);
  // None of the member's own is among them.
  expect(looked + crowded).toBe(ms * A_MILLISECOND);
  expect([troubles(both.first), troubles(both.second)]).toEqual([[], []]);
});
