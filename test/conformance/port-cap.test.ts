/** The cap driver against the port suite, and what all drivers on interfaces promise. Needs root. */
import { test } from "vitest";
import { describeInterfaces } from "./port-interfaces.ts";
import { describePort } from "./port-suite.ts";
import { vethDriver, whyNoVeth } from "./port-worlds.ts";

const why = whyNoVeth();
if (why !== undefined) {
  console.warn(`cap port conformance skipped: ${why}`);
  test.skip(`cap ports: ${why}`, () => {});
} else {
  describePort(vethDriver("cap"));
  describeInterfaces("cap");
}
