/**
 * Main: runs a member until it is told to stop. Owns signals, the process's priority and its exit; failure to start leaves
 * nothing behind and throws the one error that the command line prints.
 */
import { isSupervised } from "../../config/environment.ts";
import type { NodeConfig } from "../../config/node-config.ts";
import { type ErrorCode, SynwallError } from "../base/errors.ts";
import { exitAtOnce } from "../io/exit.ts";
import { requestRealtime } from "../io/sched.ts";
import { EXIT_FAILED, EXIT_HUNG, EXIT_RESTART, EXIT_WRONG } from "./exit-status.ts";
import { createLog, type Log } from "./log.ts";
import { hurryProcess, PRIORITY } from "./priorities.ts";
import type { RestartWay } from "./processes.ts";

/** Found again at each start. */
const FOR_GOOD: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "SW_CLUSTER_DIFFERS",
  "SW_STORAGE_LOST",
  "SW_STORE_LOST",
  "SW_MEMBER_REMOVED",
]);
/** Stopping in order takes milliseconds; a stop that hangs must not keep the machine. */
const STOP_MS_MAX = 5000;

interface Member {
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Runs a forwarding node; resolves when it was stopped by SIGTERM or SIGINT. Throws SynwallError when it cannot start. */
export async function runNode(config: NodeConfig): Promise<void> {
  hurryProcess(config.dataplane?.realtime);
  const { Node } = await import("./node.ts");
  return run(config, (log, onFatal, restart) => new Node(config, log, onFatal, restart));
}

/** Runs a witness; as runNode(). Each loads its own: a witness has no memory for a dataplane. */
export async function runWitness(config: NodeConfig): Promise<void> {
  hurryProcess(config.dataplane?.realtime);
  const { Witness } = await import("./witness.ts");
  return run(config, (log, onFatal, restart) => new Witness(config, log, onFatal, restart));
}

async function run(
  config: NodeConfig,
  make: (log: Log, onFatal: (error: unknown) => void, restart: RestartWay) => Member,
): Promise<void> {
  const log = createLog(config.logLevel, config.cluster.self.name);
  if (config.dataplane?.realtime !== "never") {
    log.line("info", `control thread: ${requestRealtime(PRIORITY.control).reason}`);
  }
  // Not in order: what is broken must not decide anything any more. The kernel closes lifeline and ports.
  const end = (status: number): never => {
    log.flush();
    return exitAtOnce(status);
  };
  const fail = (error: unknown): void => {
    log.line("fatal", lastWords(error));
    end(exitStatus(error));
  };
  const stop = (then: () => void): void => {
    setTimeout(() => end(EXIT_FAILED), STOP_MS_MAX).unref();
    void member.stop().then(then, fail);
  };
  const member = make(log, fail, { isSupervised: isSupervised(), end: () => stop(() => end(EXIT_RESTART)) });
  await member.start();
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);
  await new Promise<void>((resolve) => {
    process.once("SIGTERM", () => stop(resolve));
    process.once("SIGINT", () => stop(resolve));
  });
}

/** One line for what an operator must do, a stack for what is a bug. */
function lastWords(error: unknown): string {
  if (error instanceof SynwallError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function exitStatus(error: unknown): number {
  if (!(error instanceof SynwallError)) return EXIT_FAILED;
  if (error.code === "SW_DATAPLANE_HUNG") return EXIT_HUNG;
  return FOR_GOOD.has(error.code) ? EXIT_WRONG : EXIT_FAILED;
}
