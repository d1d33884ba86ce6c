/** The cap driver against the port suite, and what only it promises. Needs root. */
import { describePort } from "./port-suite.ts";
import { vethDriver } from "./port-worlds.ts";

describePort(vethDriver("cap"));
