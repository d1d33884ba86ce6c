/**
 * Property: whatever a cluster told its clients survives when one machine, or all of them, lose power at any operation of a
 * disk; there is never a second leader of a term; and every member starts again (Raft section 5.4; etcd's issue 14370 for one
 * member alone).
 */
import { describe, expect, test } from "vitest";
import { MemoryFs } from "../../cluster/storage/memory-fs.ts";
import { type DiskLife, liveOnDisks } from "../unit/cluster/storage/raft-on-disks.ts";

const LIVES: Omit<DiskLife, "crashAt">[] = [
  { members: 1, seed: 1, who: "one" },
  { members: 3, seed: 2, who: "one" },
  { members: 3, seed: 3, who: "all" },
];

/** The first violation over crashes at every operation. */
function firstViolation(life: Omit<DiskLife, "crashAt">): string | undefined {
  const { operations, violation } = liveOnDisks({ ...life, crashAt: 0 });
  if (violation !== undefined) return `without a crash: ${violation}`;
  for (let crashAt = 1; crashAt <= operations; crashAt++) {
    const result = liveOnDisks({ ...life, crashAt });
    if (result.violation !== undefined) return `crash at operation ${crashAt}: ${result.violation}`;
  }
  return undefined;
}

describe("a cluster whose power fails at every operation of a disk in turn", () => {
  test.each(LIVES)("keeps its promises: $members members, $who without power", (life) => {
    const { operations, acknowledged } = liveOnDisks({ ...life, crashAt: 0 });
    // It must have done something: entries, snapshots, segments.
    expect(acknowledged).toBeGreaterThan(20);
    expect(operations).toBeGreaterThan(200);
    expect(firstViolation(life)).toBeUndefined();
  });
});

describe("a planted bug is caught:", () => {
  /** A disk that syncs only sometimes; segments are born whole. */
  class LazyFs extends MemoryFs {
    override create(path: string) {
      const file = super.create(path);
      let syncs = 0;
      return path.includes("/wal/")
        ? { ...file, sync: () => (syncs++ === 0 ? file.sync() : undefined) }
        : file;
    }

    override open(path: string) {
      return { ...super.open(path), sync: () => {} };
    }
  }

  // One of three may forget what the two others remember; all of them may not.
  const promised = LIVES.filter(({ members, who }) => members === 1 || who === "all");

  test.each(promised)("a disk that syncs seldom: $members members, $who without power", (life) => {
    const violation = firstViolation({ ...life, makeFs: () => new LazyFs() });
    expect(violation).toMatch(
      /crash at .*(lost|two entries|both lead|InvariantError|is committed|is damaged)/,
    );
  });

  // One member alone acknowledges nothing before advance(); a follower's ack is a promise to another.
  test("a driver that stores last: 3 members, one without power", () => {
    let violation: string | undefined;
    for (let seed = 2; seed < 12 && violation === undefined; seed++) {
      violation = firstViolation({ members: 3, who: "one", seed, isSavedLast: true });
    }
    expect(violation).toMatch(/crash at .*(lost|two entries|both lead|InvariantError)/);
  });
});
