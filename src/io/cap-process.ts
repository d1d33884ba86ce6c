/**
 * The worker's side of the capture helper (cap-helper.ts): starts it, waits for its word, learns of its end, starts it
 * again. Owns the memory file, the doorbells and the lifeline; does not own frames (cap.ts).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { assert } from "../base/assert.ts";
import type { CapHelperPort, CapHelperTask } from "./cap-helper.ts";
import { createCapMemory, mapDrops, PORTS_MAX, txDropsAt } from "./cap-memory.ts";
import {
  closeFd,
  describeErrno,
  errno,
  eventfd,
  poll,
  readFd,
  socketpair,
  watchReadable,
  writeFd,
} from "./libc.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const EFD_NONBLOCK_CLOEXEC = 0o2004000;
const POLLIN = 1;
/** Loading TypeScript and libpcap on a busy machine. */
const START_MS_MAX = 20_000;
const RESTART_MS = 100;
/** When the next helper ends as well: each time twice as late, up to this. */
const RESTART_MS_MAX = 3200;
const ANSWER_BYTES = 4096;

export class CapProcess {
  readonly memoryFd: number;
  readonly rxDoorbells: readonly number[];
  /** False from the helper's end until the next one has said `ok`. */
  isUp = false;
  readonly #ports: readonly CapHelperPort[];
  readonly #drops: Int32Array;
  readonly #txDoorbell: number;
  readonly #closedPorts = new Set<number>();
  readonly #one = Buffer.alloc(8);
  /** Asked before a restart: libpcap refuses an interface that is down. */
  readonly #mayRestart: () => boolean;
  readonly #endListeners: (() => void)[] = [];
  #child: ChildProcess | undefined;
  #lifeline = -1;
  #watch: { close(): void } | undefined;
  #restart: ReturnType<typeof setTimeout> | undefined;
  #restartMs = RESTART_MS;
  #isClosed = false;

  /** Starts the helper and waits for its word: blocks. Throws an Error with the helper's own reason. */
  constructor(ports: readonly CapHelperPort[], mayRestart: () => boolean) {
    this.#ports = ports;
    this.#mayRestart = mayRestart;
    this.#one.writeBigUInt64LE(1n);
    assert(ports.length <= PORTS_MAX, `one capture helper serves ${PORTS_MAX} ports at most`);
    this.memoryFd = createCapMemory(ports.length);
    this.#drops = mapDrops(this.memoryFd);
    this.#txDoorbell = eventfd(0, EFD_NONBLOCK_CLOEXEC);
    this.rxDoorbells = ports.map(() => eventfd(0, EFD_NONBLOCK_CLOEXEC));
    try {
      this.#spawn();
      const answer = this.#waitForAnswer();
      if (answer !== "ok") throw new Error(answer);
      this.isUp = true;
    } catch (error) {
      this.close();
      throw error;
    }
    this.#watch = watchReadable(this.#lifeline, this.#onLifeline, this.#onLifeline);
  }

  /** Calls `listener` when the helper ended, before the next one starts: nobody else touches the rings then. */
  onEnd(listener: () => void): void {
    this.#endListeners.push(listener);
  }

  /** Wakes the helper up: something is to be sent. */
  ringTx(): void {
    writeFd(this.#txDoorbell, this.#one, 8);
  }

  ringRx(port: number): void {
    writeFd(this.rxDoorbells[port]!, this.#one, 8);
  }

  /** Frames that the helper dropped because they fit no chunk. */
  tooLong(port: number): number {
    return Atomics.load(this.#drops, port) >>> 0;
  }

  /** Frames that the kernel did not take. */
  refusedTx(port: number): number {
    return Atomics.load(this.#drops, txDropsAt(port)) >>> 0;
  }

  /** Ends one port's capture; the last one ends the helper. */
  closePort(port: number): void {
    this.#closedPorts.add(port);
    if (this.#closedPorts.size === this.#ports.length) this.close();
    else if (this.isUp) writeFd(this.#lifeline, Uint8Array.of(port), 1);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#endChild();
    clearTimeout(this.#restart);
    for (const fd of [this.memoryFd, this.#txDoorbell, ...this.rxDoorbells]) closeFd(fd);
  }

  #endChild(): void {
    this.isUp = false;
    this.#watch?.close();
    this.#watch = undefined;
    if (this.#lifeline >= 0) closeFd(this.#lifeline);
    this.#lifeline = -1;
    this.#child?.kill("SIGKILL");
    this.#child = undefined;
  }

  #spawn(): void {
    const ends = Buffer.alloc(8);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) !== 0) {
      throw new Error(`making the helper's lifeline failed with ${describeErrno(errno())}`);
    }
    this.#lifeline = ends.readInt32LE(0);
    const theirs = ends.readInt32LE(4);
    const isSource = import.meta.url.endsWith(".ts");
    const script = fileURLToPath(new URL(`./cap-helper.${isSource ? "ts" : "js"}`, import.meta.url));
    const task: CapHelperTask = { ports: this.#ports };
    const loader = isSource ? ["--import", "tsx"] : [];
    try {
      this.#child = spawn(process.execPath, [...loader, script, JSON.stringify(task)], {
        // Where --import looks for its package.
        cwd: fileURLToPath(new URL(".", import.meta.url)),
        // libpcap warns about interfaces without an address there, which is how zones are meant to be.
        stdio: ["ignore", "ignore", "ignore", theirs, this.memoryFd, this.#txDoorbell, ...this.rxDoorbells],
      });
      // Its end shows on the lifeline.
      this.#child.on("error", () => {});
      this.#child.unref();
    } finally {
      closeFd(theirs);
    }
  }

  #waitForAnswer(): string {
    const waiting = Buffer.alloc(8);
    waiting.writeInt32LE(this.#lifeline, 0);
    waiting.writeInt16LE(POLLIN, 4);
    const deadlineMs = performance.now() + START_MS_MAX;
    // A signal, such as another helper's end, cuts the waiting short.
    while (poll(waiting, 1, Math.max(0, Math.ceil(deadlineMs - performance.now()))) <= 0) {
      if (performance.now() >= deadlineMs) return `the capture helper did not start in ${START_MS_MAX} ms`;
    }
    return (
      this.#readAnswer() ?? "the capture helper ended at once; is the package cap built (npm rebuild cap)?"
    );
  }

  #readAnswer(): string | undefined {
    const answer = Buffer.alloc(ANSWER_BYTES);
    const count = readFd(this.#lifeline, answer, answer.length);
    return count > 0 ? answer.toString("utf8", 0, count).trim() : undefined;
  }

  /** The helper said `ok` after a restart, said why it cannot, or ended. */
  readonly #onLifeline = (): void => {
    if (this.#readAnswer() === "ok") {
      this.isUp = true;
      this.#restartMs = RESTART_MS;
      for (const port of this.#closedPorts) writeFd(this.#lifeline, Uint8Array.of(port), 1);
      return;
    }
    this.#endChild();
    for (const listener of this.#endListeners) listener();
    this.#restart = setTimeout(this.#onRestart, this.#restartMs);
    this.#restartMs = Math.min(RESTART_MS_MAX, this.#restartMs * 2);
  };

  readonly #onRestart = (): void => {
    if (this.#isClosed) return;
    if (!this.#mayRestart()) {
      this.#restart = setTimeout(this.#onRestart, RESTART_MS);
      return;
    }
    this.#spawn();
    this.#watch = watchReadable(this.#lifeline, this.#onLifeline, this.#onLifeline);
  };
}
