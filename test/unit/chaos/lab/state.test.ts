import { expect, test } from "vitest";
import { labPaths, labsDirectory, readState } from "../../../../chaos/lab/state.ts";

const root = { uid: 0, isUserNamespace: false };

test("labs of root, and of users in user namespaces, never share a file", () => {
  const own = labPaths("lab", root);
  const users = labPaths("lab", { uid: 1000, isUserNamespace: true });
  const rootInNamespace = labPaths("lab", { uid: 0, isUserNamespace: true });
  const all = [own, users, rootInNamespace];
  expect(new Set(all.map(({ directory }) => directory)).size).toBe(3);
  expect(new Set(all.map(({ dataDirectory }) => dataDirectory)).size).toBe(3);
});

test("a lab in a user namespace keeps its files outside of /run, which is private there", () => {
  expect(labsDirectory({ uid: 1000, isUserNamespace: true })).not.toMatch(/^\/run/);
});

test("sockets stay within the 107 bytes of a socket's path for the longest name", () => {
  const paths = labPaths("a".repeat(16), { uid: 4_000_000_000, isUserNamespace: true });
  expect(paths.socket("witness").length).toBeLessThanOrEqual(107);
});

test("readState() of a lab that does not stand says how to make it", () => {
  expect(() => readState("nowhere", labPaths("nowhere", root))).toThrow(
    /does not stand.*lab up --name nowhere/,
  );
});
