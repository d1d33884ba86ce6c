/**
 * Descriptors: gives the calling thread a file descriptor table of its own. When a process is killed, the kernel closes a
 * shared table only after it took the whole address space down (10 ms for every 100 MiB, and more on a busy machine); a table
 * that belongs to one thread goes with that thread, at once.
 */
import { describeErrno, errno, unshare } from "./libc.ts";

const CLONE_FILES = 0x400;

/** Call it before the thread opens anything; needs no rights. Answers why not, or undefined. */
export function ownDescriptorTable(): string | undefined {
  if (process.platform !== "linux") return `descriptor tables cannot be separated on ${process.platform}`;
  return unshare(CLONE_FILES) === 0
    ? undefined
    : `unshare(CLONE_FILES) failed with ${describeErrno(errno())}`;
}
