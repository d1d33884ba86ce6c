/**
 * Asking a node: how the lab and the drills call admin sockets. The client itself is handed in by the command line.
 */
import type { AdminMethod, AdminMethods, StatusReport } from "../../src/node/admin-model.ts";

/** Calls a method on the admin socket at `socketPath`. Throws SW_ADMIN_UNREACHABLE when nobody answers. */
export type Ask = <Method extends AdminMethod>(
  socketPath: string,
  method: Method,
  params: AdminMethods[Method]["params"],
  options?: { readonly timeoutMs?: number },
) => Promise<AdminMethods[Method]["result"]>;

const STATUS_TIMEOUT_MS = 2_000;

/** A member's status; undefined when it does not answer. */
export async function statusOf(ask: Ask, socketPath: string): Promise<StatusReport | undefined> {
  try {
    return await ask(socketPath, "status", {}, { timeoutMs: STATUS_TIMEOUT_MS });
  } catch {
    return undefined; // Not up, paused or stopping: all the same to who waits for it.
  }
}
