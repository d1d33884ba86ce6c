/**
 * The servers' own /etc, in mount namespaces as the lab has them. "Outside" is a namespace of the test's own, too: the machine's
 * files are not touched.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { PRIVATELY, passwdText, writeEtc } from "../../../../chaos/clients/server-files.ts";

const NAMESPACE = process.getuid?.() === 0 ? ["--mount"] : ["--user", "--map-root-user", "--mount"];
const folder = mkdtempSync(join(tmpdir(), "synwall-etc-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const mayMount = ((): boolean => {
  try {
    execFileSync("unshare", [...NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

/** Outside, /etc has a passwd of one line. A server begins; then the file is replaced as vipw does; then the server reads it. */
const STORY = `
mount -t tmpfs tmpfs /etc && echo outside >/etc/passwd || exit 9
mkfifo "$3/begun" "$3/replaced" || exit 9
unshare --mount sh -c "$1" sh "$2" sh -c 'echo >"$0/begun"; read line <"$0/replaced"; cat /etc/passwd' "$3" &
read line <"$3/begun"
echo replaced >/etc/passwd.new && mv /etc/passwd.new /etc/passwd
echo >"$3/replaced"
wait
`;

function seenByServer(name: string, mounts: string, etc: string): string {
  const fifos = mkdtempSync(join(folder, name));
  return execFileSync("unshare", [...NAMESPACE, "sh", "-c", STORY, "sh", mounts, etc, fifos], {
    encoding: "utf8",
  });
}

test.skipIf(!mayMount)("a server keeps its accounts when /etc/passwd is replaced outside", () => {
  const etc = join(folder, "etc");
  writeEtc(etc, passwdText("/lab/served"));
  expect(seenByServer("kept", PRIVATELY, etc)).toBe(passwdText("/lab/served"));
});

test.skipIf(!mayMount)("a mount over the file alone would be lost, so the test sees what it is for", () => {
  const etc = join(folder, "other");
  writeEtc(etc, passwdText("/lab/served"));
  expect(seenByServer("lost", 'mount --bind "$1/passwd" /etc/passwd && shift && exec "$@"', etc)).toBe(
    "replaced\n",
  );
});

test("nothing secret of the machine's own is copied, and its accounts are not", () => {
  const etc = join(folder, "public");
  writeEtc(etc, "root:*:0:0:root:/root:/bin/sh\n");
  for (const name of ["gshadow", "ssh", "ssl", "passwd-", "shadow-"]) {
    expect([name, existsSync(join(etc, name))]).toEqual([name, false]);
  }
  expect(execFileSync("cat", [join(etc, "passwd")], { encoding: "utf8" })).toBe(
    "root:*:0:0:root:/root:/bin/sh\n",
  );
  expect(existsSync(join(etc, "nsswitch.conf"))).toBe(existsSync("/etc/nsswitch.conf"));
});
