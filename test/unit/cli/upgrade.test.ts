import { afterEach, describe, expect, test } from "vitest";
import { VERSION } from "../../../config/version.ts";
import { formatStatus } from "../../../src/cli/commands/status.ts";
import { formatUpgrade } from "../../../src/cli/commands/upgrade.ts";
import type { AdminHandlers } from "../../../src/node/admin-server.ts";
import type { UpgradeReport } from "../../../src/node/upgrade/upgrade.ts";
import { ModelCluster } from "../node/upgrade/model-cluster.ts";
import { run, withAdmin } from "./admin.ts";

afterEach(() => {
  // Commands tell their status by it.
  process.exitCode = undefined;
});

function answersOf(cluster: ModelCluster): Partial<AdminHandlers> {
  return {
    status: () => cluster.view().status,
    "cluster.members": () => ({ members: cluster.view().members }),
    "cluster.processes": () => ({ members: cluster.view().processes }),
  };
}

describe("upgrade", () => {
  test("has nothing to do while all members run this version", async () => {
    const cluster = new ModelCluster();
    for (const member of cluster.members) member.version = VERSION;
    await withAdmin(answersOf(cluster), async (socket) => {
      const { status, out } = await run("upgrade", "--any-build", "--socket", socket);
      expect(status).toBe(0);
      expect(out).toContain(`Nothing to do: all run ${VERSION}. A rolling restart nevertheless: --all.`);
    });
  });

  test("--dry-run says who would be restarted", async () => {
    await withAdmin(answersOf(new ModelCluster()), async (socket) => {
      const { status, out } = await run(
        "upgrade",
        "--all",
        "--dry-run",
        "--nodes",
        "fw2",
        "--socket",
        socket,
      );
      expect([status, out]).toEqual([0, expect.stringContaining("Ready: 1 members would be restarted.")]);
    });
  });

  test("what is wrong is said before anything is touched, and scripts see the status", async () => {
    const cluster = new ModelCluster();
    cluster.member("fw2").state = "down";
    await withAdmin(answersOf(cluster), async (socket) => {
      const { status, out } = await run("upgrade", "--all", "--socket", socket);
      expect(status).toBe(1);
      expect(out).toMatch(/NOT BEGUN: nothing was touched/);
      expect(out).toMatch(/ {2}! fw2 is down: .*start it, or remove it/);
    });
  });

  test("a restart command that fails stops it, with the command as it was run", async () => {
    const cluster = new ModelCluster();
    await withAdmin(answersOf(cluster), async (socket) => {
      const command = "exit 3 # {node} {role}";
      const args = ["--all", "--nodes", "witness", "--restart-command", command, "--socket", socket];
      const { status, out } = await run("upgrade", ...args);
      expect(status).toBe(1);
      expect(out).toContain("'exit 3 # witness witness': ended with status 3");
      expect(out).toContain("STOPPED after 0 of 3 members: the cluster serves on.");
    });
  });

  test("its report is one line a member, with the times of each step", () => {
    const report: UpgradeReport = {
      target: { version: "0.2.0", build: "" },
      isDryRun: false,
      isDone: true,
      stopped: [],
      members: [
        {
          name: "fw1",
          role: "node",
          from: "0.1.0",
          to: "0.2.0",
          outcome: "upgraded",
          drainMs: 812,
          awayMs: 1840,
          backMs: 950,
        },
        { name: "witness", role: "witness", from: "0.2.0", to: "0.2.0", outcome: "current" },
      ],
      tookMs: 3700,
    };
    expect(formatUpgrade(report)).toBe(`
MEMBER   ROLE     RUNS   TO RUN            DRAINED IN  AWAY FOR  BACK IN
fw1      node     0.1.0  0.2.0   upgraded      812 ms     1.8 s   950 ms
witness  witness  0.2.0  stays   -                  -         -        -

Done: 1 members restarted with 0.2.0 in 3.7 s, one after the other.
`);
  });
});

test("status shows what each member runs, and says that builds are mixed", () => {
  const cluster = new ModelCluster();
  const { status, processes } = cluster.view();
  expect(formatStatus(status, processes)).not.toContain("different builds");
  cluster.member("fw2").version = "0.2.0";
  const shown = formatStatus(status, cluster.view().processes);
  expect(shown).toContain("  ! members run different builds: 'synwall upgrade'");
  expect(shown).toMatch(/^fw2 +node +active +\d+ +\d+ +0\.2\.0 \(aaaaaa\) +1 +cluster$/m);
});
