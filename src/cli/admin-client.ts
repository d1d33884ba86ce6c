/**
 * Admin client: one call to a node's admin socket. Owns the connection and its failures; shapes are in node/admin-model.ts.
 */
import { connect } from "node:net";
import { ERROR_CODES, type ErrorCode, SynwallError } from "../base/errors.ts";
import type { AdminMethod, AdminMethods } from "../node/admin-model.ts";

const ANSWER_TIMEOUT_MS = 10_000;
const ANSWER_BYTES_MAX = 256 * 1024 * 1024;

export interface AdminCallOptions {
  /** How long to wait for the answer; default 10 s. */
  readonly timeoutMs?: number;
}

/**
 * Calls `method` on the node behind `socketPath` and answers its result.
 * Throws SW_ADMIN_UNREACHABLE when nobody answers, else the code that the node answered with.
 */
export function adminCall<Method extends AdminMethod>(
  socketPath: string,
  method: Method,
  params: AdminMethods[Method]["params"],
  options: AdminCallOptions = {},
): Promise<AdminMethods[Method]["result"]> {
  const timeoutMs = options.timeoutMs ?? ANSWER_TIMEOUT_MS;
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    const chunks: Buffer[] = [];
    let bytes = 0;
    const fail = (error: SynwallError): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(() => {
      fail(
        new SynwallError(
          "SW_ADMIN_UNREACHABLE",
          `${socketPath}: no answer to ${method} within ${timeoutMs / 1000} s: look at the node's log`,
        ),
      );
    }, timeoutMs);
    socket.on("connect", () => socket.write(`${JSON.stringify({ id: 1, method, params })}\n`));
    socket.on("error", (cause: NodeJS.ErrnoException) => fail(unreachable(socketPath, cause)));
    socket.on("close", () => {
      fail(
        new SynwallError(
          "SW_ADMIN_UNREACHABLE",
          `${socketPath}: the node closed the connection without an answer: it is stopping`,
        ),
      );
    });
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (chunk.at(-1) === 0x0a) {
        clearTimeout(timer);
        socket.removeAllListeners("close");
        socket.destroy();
        settle<Method>(Buffer.concat(chunks).toString("utf8"), resolve, reject);
      } else if (bytes > ANSWER_BYTES_MAX) {
        fail(
          new SynwallError(
            "SW_ADMIN_UNREACHABLE",
            `${socketPath}: the answer is longer than ${ANSWER_BYTES_MAX} bytes: ask for less with --limit`,
          ),
        );
      }
    });
  });
}

function settle<Method extends AdminMethod>(
  line: string,
  resolve: (result: AdminMethods[Method]["result"]) => void,
  reject: (error: SynwallError) => void,
): void {
  let answer: { result?: AdminMethods[Method]["result"]; error?: { code: string; message: string } };
  try {
    answer = JSON.parse(line) as typeof answer;
  } catch (cause) {
    reject(
      new SynwallError(
        "SW_ADMIN_UNREACHABLE",
        "the socket's answer is not JSON: is it a Synwall node?",
        {},
        cause,
      ),
    );
    return;
  }
  if (answer.error !== undefined) {
    const { code, message } = answer.error;
    reject(new SynwallError(isErrorCode(code) ? code : "SW_ADMIN_BAD_REQUEST", message));
  } else {
    resolve(answer.result as AdminMethods[Method]["result"]);
  }
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code);
}

function unreachable(path: string, cause: NodeJS.ErrnoException): SynwallError {
  const why =
    cause.code === "ENOENT"
      ? "there is no such socket: start the node, or name another socket with --socket"
      : cause.code === "ECONNREFUSED"
        ? "nobody listens there: the node is not running; start it"
        : cause.code === "EACCES" || cause.code === "EPERM"
          ? "permission denied: only root may ask; use sudo"
          : `cannot connect (${cause.code ?? cause.message})`;
  return new SynwallError("SW_ADMIN_UNREACHABLE", `${path}: ${why}`, {}, cause);
}
