import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { QUEUES_MAX, QUEUES_PER_PORT_MAX } from "../../../src/io/xdp/queue-budget.ts";
import { EXIT_RESTART } from "../../../src/node/exit-status.ts";

const ROOT = new URL("../../../", import.meta.url);

function read(path: string): string {
  return readFileSync(new URL(path, ROOT), "utf8");
}

describe.each(["node", "witness"])("synwall-%s.service", (role) => {
  const settings = new Map(
    read(`config/systemd/synwall-${role}.service`)
      .split("\n")
      .flatMap((line) => {
        const [, key, value] = /^([A-Za-z]+)=(.*)$/.exec(line) ?? [];
        return key === undefined ? [] : [[key, value] as const];
      }),
  );

  test("starts again after every failure, for ever, and not in a hurry", () => {
    expect(settings.get("Restart")).toBe("on-failure");
    expect(settings.get("RestartSec")).toBe("5s");
    expect(settings.get("StartLimitIntervalSec")).toBe("0");
    expect([...settings.keys()].filter((key) => key.startsWith("RestartPrevent"))).toEqual([]);
  });

  test("starts again when it was asked to end for that, and says so to the process", () => {
    expect(settings.get("RestartForceExitStatus")).toBe(String(EXIT_RESTART));
    expect(settings.get("SuccessExitStatus")).toBe(String(EXIT_RESTART));
    expect(settings.get("Environment")).toBe("SYNWALL_SUPERVISED=1");
    expect(EXIT_RESTART).toBe(75); // Builds that were installed before, and their units, know this one.
  });

  test("lets the member write where its certificates are", () => {
    expect(settings.get("ReadWritePaths")).toBe("-/etc/synwall");
    expect(read("scripts/provision.sh")).toContain('install -d -m 0770 -o root -g synwall "$ETC"');
  });

  test("runs the command of its role as synwall", () => {
    expect(settings.get("ExecStart")).toBe(
      `/usr/local/bin/synwall ${role} --config /etc/synwall/${role}.yaml`,
    );
    expect(settings.get("User")).toBe("synwall");
  });
});

test("scripts/prepare-interfaces.sh prepares what a node accepts", () => {
  const script = read("scripts/prepare-interfaces.sh");
  const constant = (name: string): number => Number(new RegExp(`^${name}=(\\d+)$`, "m").exec(script)?.[1]);
  expect(constant("QUEUES_PER_PORT_MAX")).toBe(QUEUES_PER_PORT_MAX);
  expect(constant("QUEUES_MAX")).toBe(QUEUES_MAX);
});

test("scripts/provision.sh copies what a build needs, by name, so that no key goes along", () => {
  const script = read("scripts/provision.sh");
  const listed = (name: string): string[] =>
    new RegExp(`^${name}=\\((.*)\\)$`, "m").exec(script)?.[1]?.split(" ") ?? [];
  const { include } = JSON.parse(read("tsconfig.build.json")) as { include: string[] };
  const folders = include.map((path) => path.split("/")[0]!);
  expect(listed("SOURCES")).toEqual(expect.arrayContaining([...folders, "bin", "scripts", "docs"]));
  expect(listed("FILES")).toEqual(
    expect.arrayContaining(["package.json", "package-lock.json", "tsconfig.build.json"]),
  );
});
