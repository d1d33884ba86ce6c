import { expect, test } from "vitest";
import { DEFAULT_TUNING, tuningOf } from "../../../../cluster/control/tuning.ts";
import { type LivenessProfile, PROFILES } from "../../../../cluster/liveness/model.ts";

const ALL: readonly LivenessProfile[] = Object.values(PROFILES);

test.each(ALL)("an election by the clock waits longer than liveness and the lease take: $name", (profile) => {
  const { tickMs, electionTick } = tuningOf(profile);
  const shortestMs = tickMs * electionTick;
  expect(shortestMs).toBeGreaterThan(profile.intervalMs * profile.multiplier);
  expect(shortestMs).toBeGreaterThan(profile.leaseMs);
});

test.each(ALL)("five heartbeats fit into the shortest election timeout: $name", (profile) => {
  const { electionTick, heartbeatTick } = tuningOf(profile);
  expect(electionTick).toBeGreaterThanOrEqual(5 * heartbeatTick);
});

test("a lan keeps the default, slower profiles tick slower", () => {
  expect(tuningOf(PROFILES.lan)).toEqual(DEFAULT_TUNING);
  expect([PROFILES.vm, PROFILES.wan].map((profile) => tuningOf(profile).tickMs)).toEqual([17, 100]);
});
