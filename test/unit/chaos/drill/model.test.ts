import { expect, test } from "vitest";
import { SCENARIOS, whyNot } from "../../../../chaos/drill/model.ts";

const [node, witness] = [{ role: "node" }, { role: "witness" }] as const;
const not = (members: Parameters<typeof whyNot>[1]): string[] =>
  SCENARIOS.filter((scenario) => whyNot(scenario, members) !== "");

test("a lab with three nodes and a witness can have every drill", () => {
  expect(not([node, node, node, witness])).toEqual([]);
});

test("two nodes can not have what needs a third one, and without a witness nothing that is done to it", () => {
  expect(not([node, node, witness])).toEqual(["two"]);
  expect(not([node, node])).toEqual(["witness", "two", "far-witness", "far-silent", "far-drain"]);
});

test("a drill that a lab can not have says so in one line, with what it needs", () => {
  expect(whyNot("witness", [node, node])).toBe(
    "witness does not apply: it needs a witness, and this lab has none; make one without --no-witness",
  );
  expect(whyNot("two", [node, node])).toBe(
    "two does not apply: it needs 3 nodes, and this lab has 2; make one with --nodes 3",
  );
});
