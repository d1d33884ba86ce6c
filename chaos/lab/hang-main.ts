/**
 * Hang: a process that makes one thread of another one stand still, as an endless loop or a call that never returns would, for some
 * milliseconds or until that process ends (ptrace(2): PTRACE_SEIZE, so that the thread goes on when this one dies). It is stopped where it
 * waits, so that it holds no lock that others need. Prints the time (CLOCK_MONOTONIC, ms) from which the thread stood.
 *
 *   node hang-main.js <thread id> <milliseconds>
 */
import { readFileSync } from "node:fs";
import koffi from "koffi";
import { nowMs } from "../../src/node/clock.ts";

const PTRACE_DETACH = 17;
const PTRACE_SEIZE = 0x4206;
const PTRACE_INTERRUPT = 0x4207;
/** Threads too, and no waiting: a poll sees to that. */
const WALL_NOHANG = 0x4000_0001;
const POLL_MS = 5;
/** A thread that never waits for so long cannot be stopped where it waits. */
const BUSY_MS_MAX = 5_000;
/** epoll_wait and epoll_pwait on x86-64 and arm64. */
const WAITS = new Set(["232", "281", "22"]);

const libc = koffi.load(null);
const ptrace = libc.func("long ptrace(int request, int thread, void *address, void *data)");
const waitpid = libc.func("int waitpid(int thread, void *status, int options)");

const [thread, holdMs] = process.argv.slice(2).map(Number) as [number, number];
const status = Buffer.alloc(4);
const hasChanged = (): boolean => waitpid(thread, status, WALL_NOHANG) === thread;
const hasEnded = (): boolean => (status.readInt32LE() & 0xff) !== 0x7f;

check(ptrace(PTRACE_SEIZE, thread, null, null), "seize");
await until(isWaiting, BUSY_MS_MAX);
check(ptrace(PTRACE_INTERRUPT, thread, null, null), "stop");
await until(hasChanged, BUSY_MS_MAX);
process.stdout.write(`${nowMs()}\n`);
if (!hasEnded()) await until(() => hasChanged() && hasEnded(), holdMs);
// A process that ended has nothing to be let go.
ptrace(PTRACE_DETACH, thread, null, null);

function isWaiting(): boolean {
  return WAITS.has(readFileSync(`/proc/${thread}/syscall`, "utf8").split(" ")[0]!);
}

/** Looks until it is so, or time is up. */
async function until(isSo: () => boolean, msMax: number): Promise<void> {
  const endMs = nowMs() + msMax;
  while (!isSo() && nowMs() < endMs) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}

function check(answer: number, what: string): void {
  if (answer !== -1) return;
  process.stderr.write(`cannot ${what} thread ${thread}: needs root, and no other tracer\n`);
  process.exit(1);
}
