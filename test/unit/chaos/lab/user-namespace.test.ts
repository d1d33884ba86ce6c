import { expect, test } from "vitest";
import { mappedRoot, privateCommand } from "../../../../chaos/lab/user-namespace.ts";

test("mappedRoot() knows the outer user of a namespace that maps only its root", () => {
  expect(mappedRoot("         0       1000          1\n")).toBe(1000);
});

test("mappedRoot() is undefined in the machine's own namespace and in containers that map many users", () => {
  expect(mappedRoot("         0          0 4294967295\n")).toBeUndefined();
  expect(mappedRoot("         0       1000          1\n         1     100000      65536\n")).toBeUndefined();
});

test("privateCommand() makes fresh namespaces when no lab of that name stands", () => {
  const command = privateCommand("nowhere", ["synwall", "lab", "up"]);
  expect(command.slice(0, 5)).toEqual(["unshare", "--user", "--map-root-user", "--net", "--mount"]);
  expect(command.slice(-3)).toEqual(["synwall", "lab", "up"]);
});
