/** The cap driver against the port suite, and what all drivers on interfaces promise. Needs root. */
import { test } from "vitest";
import { describeInterfaces } from "./port-interfaces.ts";
import { describePort, describeZonePort } from "./port-suite.ts";
import { vethDriver, vethVlanDriver, whyNoVeth } from "./port-worlds.ts";

const why = whyNoVeth();
if (why !== undefined) {
  console.warn(`cap port conformance skipped: ${why}`);
  test.skip(`cap ports: ${why}`, () => {});
} else {
  describePort(vethDriver("cap"));
  describeZonePort(vethVlanDriver("cap"), "a VLAN of a cap port");
  describeInterfaces("cap");
}
