/**
 * Lease, promise and fence together, on clocks that drift apart by up to one percent, over messages that are late or lost:
 * when the asker says that a node is fenced, that node holds no lease.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { FenceAsker } from "../../cluster/takeover/fence.ts";
import { LeaseHolder } from "../../cluster/takeover/lease.ts";
import { PromiseVoter } from "../../cluster/takeover/promise.ts";
import { seededRandom } from "../../src/base/env.ts";

/** Long enough that the drift of two clocks exceeds the margin. */
const LEASE_MS = 500;
const EPOCH = 5;
const HOLDER = 99;
const START_MS = 10_000;
const END_MS = START_MS + 3 * LEASE_MS;
const STEP_MS = 2;

interface Scene {
  readonly seed: number;
  readonly voters: number;
  readonly lossPercent: number;
  readonly delayMaxMs: number;
  readonly fenceFromMs: number;
  /** What a planted bug adds to the lease. */
  readonly leaseExtraMs: number;
}

const scenes = (leaseExtraMs: number): fc.Arbitrary<Scene> =>
  fc.record({
    seed: fc.nat(),
    voters: fc.integer({ min: 1, max: 5 }),
    lossPercent: fc.integer({ min: 0, max: 60 }),
    delayMaxMs: fc.integer({ min: 0, max: 300 }),
    fenceFromMs: fc.integer({ min: START_MS, max: START_MS + LEASE_MS }),
    leaseExtraMs: fc.constant(leaseExtraMs),
  });

/** Runs a scene; the longest time, in true milliseconds, that a lease was still valid while the holder counted as fenced. */
function overlapMs(scene: Scene): number {
  const random = seededRandom(scene.seed);
  // The holder's clock is slow and the others' are fast in half of all scenes: the worst case.
  const isWorst = random(2) === 0;
  const rates = Array.from({ length: scene.voters + 2 }, (_, i) =>
    isWorst ? (i === 0 ? 0.995 : 1.005) : ([0.995, 1.005, 1][random(3)] as number),
  );
  const clock = (i: number, t: number): number => t * (rates[i] as number);
  const ids = Array.from({ length: scene.voters }, (_, i) => i + 1);
  const voters = ids.map((id) => new PromiseVoter({ leaseMs: LEASE_MS }, clock(id, 0)));
  for (const v of voters) v.setCaughtUp();
  const holder = new LeaseHolder({ leaseMs: LEASE_MS + scene.leaseExtraMs, voters: ids, nonce: 1 });
  const asker = new FenceAsker({ leaseMs: LEASE_MS, voters: ids, repeatMs: 20 });
  const [HOLDER_CLOCK, ASKER_CLOCK] = [0, scene.voters + 1];
  const flying: { atMs: number; run: (t: number) => void }[] = [];
  const send = (t: number, run: (t: number) => void): void => {
    if (random(100) >= scene.lossPercent) flying.push({ atMs: t + random(scene.delayMaxMs + 1), run });
  };
  let worst = 0;
  for (let t = START_MS; t < END_MS; t += STEP_MS) {
    if (t % 10 === 0) {
      const seq = holder.request(clock(HOLDER_CLOCK, t));
      for (const id of ids) {
        send(t, (t2) => {
          const isGiven = voters[id - 1]?.request(HOLDER, EPOCH, 1, clock(id, t2));
          if (isGiven === true) send(t2, () => holder.ack(id, 1, seq));
        });
      }
    }
    if (t >= scene.fenceFromMs) {
      asker.want(HOLDER, EPOCH, clock(ASKER_CLOCK, t));
      for (const ask of asker.due(clock(ASKER_CLOCK, t))) {
        for (const id of ids) {
          send(t, (t2) => {
            const state = voters[id - 1]?.fence(HOLDER, EPOCH, clock(id, t2));
            if (state === undefined) return;
            const reply = { ask: ask.ask, node: HOLDER, ...state };
            send(t2, (t3) => asker.reply(id, reply, clock(ASKER_CLOCK, t3)));
          });
        }
      }
    }
    for (let i = 0; i < flying.length; i++) {
      const f = flying[i];
      if (f === undefined || f.atMs > t) continue;
      flying.splice(i--, 1);
      f.run(t);
    }
    if (!asker.isFenced(HOLDER, EPOCH, clock(ASKER_CLOCK, t))) continue;
    const leftMs = holder.validUntilMs - clock(HOLDER_CLOCK, t);
    worst = Math.max(worst, leftMs);
  }
  return worst;
}

test("a node that counts as fenced holds no lease", () => {
  fc.assert(
    fc.property(scenes(0), (scene) => {
      expect(overlapMs(scene)).toBe(0);
    }),
    { numRuns: 300 },
  );
});

test("a planted bug is caught: a lease that lasts longer than what was promised", () => {
  const result = fc.check(
    fc.property(scenes(8), (scene) => overlapMs(scene) === 0),
    { numRuns: 300 },
  );
  expect(result.failed).toBe(true);
});
