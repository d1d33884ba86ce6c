import { expect, test } from "vitest";
import { type DrillLab, SCENARIOS, whyNot } from "../../../../chaos/drill/model.ts";

const [node, witness] = [{ role: "node" }, { role: "witness" }] as const;
const not = (members: DrillLab["members"], isPair = false): string[] =>
  SCENARIOS.filter((scenario) => whyNot(scenario, { members, isPair }) !== "");

test("a lab with three nodes and a witness can have every drill", () => {
  expect(not([node, node, node, witness])).toEqual([]);
});

test("two nodes can not have what needs a third one, and without a witness nothing that is done to it", () => {
  expect(not([node, node, witness])).toEqual(["two"]);
  expect(not([node, node])).toEqual(["witness", "two", "far-witness", "far-silent", "far-drain"]);
});

test("a pair without a witness stays two, and can not tell a deaf node; with one it can", () => {
  const more = not([node, node], true).filter((scenario) => !not([node, node]).includes(scenario));
  expect(more).toEqual(["deaf", "grow"]);
  expect(not([node, node, witness], true)).toEqual(["two"]);
});

test("a drill that a lab can not have says so in one line, with what it needs", () => {
  expect(whyNot("witness", { members: [node, node], isPair: false })).toBe(
    "witness does not apply: it needs a witness, and this lab has none; make one without --no-witness",
  );
  expect(whyNot("two", { members: [node, node], isPair: false })).toBe(
    "two does not apply: it needs 3 nodes, and this lab has 2; make one with --nodes 3",
  );
});
