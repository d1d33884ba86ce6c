/**
 * A rolling upgrade of a whole cluster of real nodes in virtual time, with two versions of replicated records side by side: packets
 * pass all the time, none is lost or doubled, no connection breaks, and every member speaks the newest version that its peer knows.
 */
import { expect, test } from "vitest";
import type { SimCluster } from "../../chaos/sim/cluster/cluster.ts";
import { runSimulation, SMALL_RUN } from "../../chaos/sim/cluster/run.ts";
import { RECORD_FORMATS, type RecordFormat } from "../../cluster/sync/wire-format.ts";
import type { StatusReport } from "../../src/node/admin-model.ts";

/** What this build writes. */
const OLD: RecordFormat = RECORD_FORMATS.at(-1)!;
/** Of a later build, whose records have a field more; its dataplane is this one's, so that field is zero. */
const NEW: RecordFormat = { version: OLD.version + 1, bytes: OLD.bytes + 8 };
const LATER_BUILD = [{ ...OLD, isOfRings: true }, NEW] as const;

/** Each member's first process is of the old build, each later one of the new. */
const upgraded = (_member: string, n: number): readonly RecordFormat[] => (n === 1 ? [OLD] : LATER_BUILD);

const LOOK_MS = 20;
/** Some seconds of a whole cluster: much on a busy machine. */
const TEST_MS_MAX = 240_000;

/** Versions of records that nodes send each other now, over streams that stand. */
function spokenIn({ members }: SimCluster): string[] {
  const speaksNew = (name: string): boolean =>
    members
      .find((member) => member.name === name)
      ?.running?.processes.own()
      .recordVersions.includes(NEW.version) === true;
  const build = (name: string): string => (speaksNew(name) ? "new" : "old");
  return members.flatMap(({ name, running, isNode }) => {
    const status = isNode ? (running?.admin.status({}) as StatusReport | undefined) : undefined;
    return (status?.peers ?? []).flatMap((peer) =>
      peer.sync?.connected === true && members.some((other) => other.name === peer.name && other.isRunning)
        ? [`${build(name)} build to ${build(peer.name)}: ${peer.sync.recordVersion}`]
        : [],
    );
  });
}

test.each([
  { seed: 31, nodes: 2 },
  { seed: 32, nodes: 3 },
])(
  "an upgrade to a build with another version of records loses no packet: seed $seed, $nodes nodes",
  async (given) => {
    const heard: string[] = [];
    let latest: readonly string[] = [];
    const { findings, results } = await runSimulation({
      ...SMALL_RUN,
      ...given,
      load: { connections: 12, visitsPerSecond: 30, feedIntervalMs: 200 },
      scenarios: ["upgrade"],
      recordFormats: upgraded,
      onCluster: (cluster) =>
        cluster.clock.every(LOOK_MS, () => {
          latest = spokenIn(cluster);
          heard.push(...latest);
        }),
    });
    expect(findings).toEqual([]);
    const [{ packets, connections, ping, events } = results[0]!] = results;
    expect([packets.lost, packets.duplicated, connections.broken, ping.lost]).toEqual([0, 0, 0, 0]);
    expect(packets.sent).toBeGreaterThan(1000);
    // Every member had a second life, the witness too.
    const members = [...Array.from({ length: given.nodes }, (_, i) => `fw${i + 1}`), "witness"];
    const started = events.filter(({ kind }) => kind === "started").map(({ member }) => member);
    expect(started.toSorted()).toEqual(members.flatMap((name) => [name, name]));
    // In between the newer ones spoke the older version to the older ones; in the end all speak the new one.
    expect(heard).toContain(`new build to old: ${OLD.version}`);
    expect(heard).toContain(`old build to new: ${OLD.version}`);
    expect(new Set(heard)).not.toContain(`new build to old: ${NEW.version}`);
    expect(new Set(latest)).toEqual(new Set([`new build to new: ${NEW.version}`]));
  },
  TEST_MS_MAX,
);
