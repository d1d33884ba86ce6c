/**
 * Socket: which node a command talks to. Owns the order: --socket, then SYNWALL_SOCKET, then the only one of this machine.
 */
import { basename } from "node:path";
import { socketFromEnvironment, socketsOfThisMachine } from "../../config/environment.ts";
import { SynwallError } from "../base/errors.ts";

/** Path of the admin socket to use. Throws SW_ADMIN_UNREACHABLE when it is not clear which. */
export function chooseSocket(
  given: string | undefined,
  fromEnvironment: string | undefined = socketFromEnvironment(),
  found: readonly string[] = socketsOfThisMachine(),
): string {
  const named = given ?? fromEnvironment;
  if (named !== undefined) return named;
  const [only, ...others] = found;
  if (only !== undefined && others.length === 0) return only;
  throw new SynwallError(
    "SW_ADMIN_UNREACHABLE",
    only === undefined
      ? "no admin socket in /run/synwall: start a node here, or name its socket with --socket"
      : `several nodes run here (${found.map((path) => basename(path, ".sock")).join(", ")}): name one's socket with --socket`,
  );
}
