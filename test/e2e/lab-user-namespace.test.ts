/**
 * A lab without root: inside a user namespace, with cap ports. Run by root or not, the namespace has no rights outside.
 */
import { execFile } from "node:child_process";
import { afterAll, expect, test } from "vitest";

const NAME = `user${process.pid}`;
const LONG_MS = 240_000;

/** Runs a script in a fresh user namespace, as `synwall lab` does for who is not root. */
function inUserNamespace(script: string): Promise<{ status: number; out: string; err: string }> {
  // A process namespace as well: whatever a failed step leaves running ends with the script.
  const args = [
    "--user",
    "--map-root-user",
    "--net",
    "--mount",
    "--pid",
    "--mount-proc",
    "--kill-child",
    "--fork",
  ];
  const prepared = `mount -t tmpfs tmpfs /run && ${script}`;
  return new Promise((resolve) => {
    execFile("unshare", [...args, "sh", "-c", prepared], { timeout: LONG_MS }, (error, out, err) =>
      resolve({ status: error === null ? 0 : ((error.code as number | undefined) ?? -1), out, err }),
    );
  });
}

afterAll(async () => {
  const { out } = await new Promise<{ out: string }>((resolve) => {
    execFile("ip", ["netns", "list"], (_error, out) => resolve({ out }));
  });
  expect(out).not.toContain(NAME);
});

test(
  "a lab stands, forwards and goes away inside a user namespace",
  async () => {
    const { status, out, err } = await inUserNamespace(
      [
        `bin/synwall lab up --name ${NAME} --profile vm`,
        `bin/synwall lab exec --name ${NAME} client -- curl -sS -m 10 http://198.51.100.100/`,
        `bin/synwall lab down --name ${NAME}`,
        "ip netns list",
      ].join(" && "),
    );
    expect({ status, err: status === 0 ? "" : err }).toEqual({ status: 0, err: "" });
    expect(out).toMatch(/cap/);
    expect(out).toMatch(/This is server; you are 198\.51\.100\.1[01]\./);
    expect(out.trim()).toMatch(/is gone$/);
  },
  LONG_MS,
);

test("XDP without root is refused with one clear line", async () => {
  const { status, err } = await inUserNamespace(`bin/synwall lab up --name ${NAME} --port xdp`);
  expect({ status, lines: err.trim().split("\n").length }).toEqual({ status: 2, lines: 1 });
  expect(err).toMatch(/XDP needs root/);
});
