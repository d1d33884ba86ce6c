import { expect, test } from "vitest";
import { CHECKS } from "../../../../chaos/clients/checks/all.ts";
import { caddyText, passwdText, serverFiles, vsftpdText } from "../../../../chaos/clients/server-files.ts";
import { bytesOfPattern } from "../../../../chaos/traffic/pages.ts";

test("the web server listens on its own addresses only, IPv6 in brackets", () => {
  const { apps } = JSON.parse(caddyText(serverFiles("/lab"), ["198.51.100.100", "2001:db8:51::100"]));
  expect(apps.http.servers.web.listen).toEqual(["198.51.100.100:443", "[2001:db8:51::100]:443"]);
});

test.each([
  [4, "192.0.2.1", "listen_address=192.0.2.1"],
  [6, "2001:db8::1", "listen_address6=2001:db8::1"],
] as const)(
  "the FTP server of IPv%i listens on one address and lets nobody write",
  (family, address, line) => {
    const lines = vsftpdText("/lab", family, address).split("\n");
    expect(lines).toEqual(expect.arrayContaining([line, "write_enable=NO", "local_enable=NO"]));
    expect(lines.filter((each) => each.startsWith("listen"))).toHaveLength(3);
  },
);

test("accounts of the servers have no password, and only root has a shell", () => {
  const accounts = passwdText("/lab/served").trim().split("\n");
  expect(accounts.every((line) => line.split(":")[1] === "*")).toBe(true);
  expect(accounts.filter((line) => line.endsWith("/bin/sh"))).toEqual(["root:*:0:0:root:/root:/bin/sh"]);
});

test("a pattern has the length that was asked for, and no part of it looks like another", () => {
  const text = Buffer.concat([...bytesOfPattern(150_001)]);
  expect(text.length).toBe(150_001);
  expect(text.readUInt32BE(65_536)).toBe(16_384);
  expect(text.readUInt32BE(149_996)).toBe(37_499);
  expect([...bytesOfPattern(0)]).toEqual([]);
});

test("checks have names of their own", () => {
  const names = CHECKS.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});
