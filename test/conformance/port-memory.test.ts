/** The memory driver against the port suite. */
import { describePort } from "./port-suite.ts";
import { memoryDriver } from "./port-worlds.ts";

describePort(memoryDriver);
