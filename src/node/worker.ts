/**
 * Dataplane worker: the thread. Opens the ports, runs the dataplane core on the event loop, and nothing else: no logging, no
 * files, no sockets, so that nothing but packets and heartbeats can keep it from packets and heartbeats.
 *
 *   readable port, timer, message --> WorkerRhythm --> turn(), tick(), receive()
 */
import { write } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { AssertionError } from "../base/assert.ts";
import { SynwallError } from "../base/errors.ts";
import { exitAtOnce } from "../io/exit.ts";
import { openPorts } from "../io/open.ts";
import type { OpenedPorts } from "../io/port.ts";
import { requestRealtime } from "../io/sched.ts";
import { realEnv } from "./clock.ts";
import { DataplaneCore } from "./dataplane-core.ts";
import { EXIT_HUNG } from "./exit-status.ts";
import { heartbeatMac } from "./keys.ts";
import { watchMain } from "./main-watch.ts";
import { PRIORITY } from "./priorities.ts";
import { SuspensionWatch } from "./suspension-watch.ts";
import { WorkerBoard } from "./worker-board.ts";
import type { FromWorker, ToWorker, WorkerSetup } from "./worker-protocol.ts";
import { WorkerRhythm } from "./worker-rhythm.ts";

const STDOUT = 1;
/** pino's number of it. */
const FATAL = 60;
const LAST_WORDS_MS_MAX = 1000;

function run(): void {
  if (parentPort === null) throw new AssertionError("the dataplane worker is a thread, not a program");
  const port = parentPort;
  const setup = workerData as WorkerSetup;
  const post = (message: FromWorker): void => port.postMessage(message);
  let opened: OpenedPorts;
  try {
    opened = openPorts(setup.driver, setup.ports);
  } catch (error) {
    const code = error instanceof SynwallError ? error.code : "SW_IO_INTERFACE";
    post({ type: "failed", code, message: error instanceof Error ? error.message : String(error) });
    port.close();
    return;
  }
  const realtime =
    setup.realtime === "never"
      ? { granted: false, reason: "not asked for" }
      : requestRealtime(PRIORITY.dataplane);
  // Before anything is decided: after a suspension the lease must be out.
  const timeMs = new SuspensionWatch().nowMs;
  const core = new DataplaneCore(
    setup,
    opened.pool,
    opened.ports,
    heartbeatMac(setup.heartbeatKey),
    { ...realEnv, nowMs: timeMs },
    post,
    () => Date.now(),
  );

  const rhythm = new WorkerRhythm({
    core,
    nowMs: timeMs,
    after: (ms, callback) => {
      const timer = setTimeout(callback, ms);
      return () => clearTimeout(timer);
    },
    soon: (callback) => void setImmediate(callback),
  });
  const board = new WorkerBoard(setup.memory.board);
  const unwatchMain = watchMain({ beats: () => board.mainBeats(), nowMs: timeMs, onHung: end });
  for (const opening of opened.ports) opening.onReadable(rhythm.wake);
  rhythm.wake();
  port.on("message", (message: ToWorker) => {
    rhythm.receive(message);
    if (typeof message === "object" && message.type === "stop") {
      unwatchMain();
      rhythm.stop();
      for (const closing of opened.ports) closing.close();
      post({ type: "stopped" });
      port.close();
    }
  });
  post({
    type: "started",
    driver: opened.ports[0]?.driver ?? "",
    reason: opened.reason,
    isRealtime: realtime.granted,
    realtimeReason: realtime.reason,
    ports: opened.ports.map(({ name, driver, mode, mtuBytes }) => ({ name, driver, mode, mtuBytes })),
  });
}

/** The log is the control thread's, which hangs: the last words go where it writes. Whoever reads that may hang as well, and be its cause. */
function end(msg: string): void {
  const line = JSON.stringify({ level: FATAL, time: new Date().toISOString(), msg });
  setTimeout(() => exitAtOnce(EXIT_HUNG), LAST_WORDS_MS_MAX);
  write(STDOUT, `${line}\n`, () => exitAtOnce(EXIT_HUNG));
}

run();
