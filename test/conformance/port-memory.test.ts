/** The memory driver against the port suite. */
import { describePort, describeZonePort } from "./port-suite.ts";
import { memoryDriver, memoryVlanDriver } from "./port-worlds.ts";

describePort(memoryDriver);
describeZonePort(memoryVlanDriver, "a VLAN of a memory port");
