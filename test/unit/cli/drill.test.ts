import { expect, test } from "vitest";
import { SCENARIO_TEXT } from "../../../chaos/drill/model.ts";
import { run } from "./admin.ts";

test("drill list has every scenario, what it does, and what all means, without a lab", async () => {
  const { status, out } = await run("drill", "list");
  expect(status).toBe(0);
  for (const [scenario, text] of Object.entries(SCENARIO_TEXT)) {
    expect(out).toMatch(new RegExp(`^ {2}${scenario} +`, "m"));
    expect(out).toContain(text);
  }
  expect(out).toMatch(/^ {2}all +each of them that applies to the lab/m);
});
