import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { z } from "zod";
import { STATE_SCHEMAS, STATE_VERSION } from "../../../../cluster/control/codec.ts";

/** Whoever changes what is written into the log raises STATE_VERSION, and puts the new sum beside it here. */
const SUMS: Readonly<Record<number, string>> = {
  2: "2cfa012c5f484647",
  // The same schemas: what is refused is another matter.
  3: "2cfa012c5f484647",
  // And again: the step back.
  4: "2cfa012c5f484647",
};

test("the schemas of the replicated state are those of their version", () => {
  const schemas = Object.entries(STATE_SCHEMAS).map(([name, schema]) => [name, z.toJSONSchema(schema)]);
  const sum = createHash("sha256").update(JSON.stringify(schemas)).digest("hex").slice(0, 16);
  expect(sum).toBe(SUMS[STATE_VERSION]);
});
