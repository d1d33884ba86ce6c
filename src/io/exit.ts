/**
 * Exit: the end of a process whose threads may hang. process.exit() waits for each of them, for ever for one in a system call.
 */
import { AssertionError } from "../base/assert.ts";
import { exitNow } from "./libc.ts";

/** Ends the process at once: no thread is waited for, nothing is written. */
export function exitAtOnce(status: number): never {
  exitNow(status);
  throw new AssertionError("_exit() came back");
}
