/**
 * Files that a configuration points to: the cluster secret, the TLS files and the CA's key. Owns reading the secret, and where in the
 * configuration a mistake in a file belongs; what makes TLS files right is cluster/transport/tls.ts.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { readAuthority } from "../cluster/registration/authority.ts";
import { judgeTls, type TlsFiles, whyUnreadable } from "../cluster/transport/tls.ts";
import { type ErrorCode, SynwallError } from "../src/base/errors.ts";
import type { Mistake } from "./mistakes.ts";

/** A mistake in a file that the configuration names, with the code under which it is raised. */
export interface FileMistake extends Mistake {
  readonly code: ErrorCode;
}

export const SECRET_BYTES = 32;

/** Reads the cluster secret: 64 hex digits, readable by its owner alone. */
export function readSecret(path: string): Uint8Array | FileMistake {
  const field = ["cluster", "secretFile"];
  const text = readText(path, field, "SW_CONFIG_UNREADABLE", `openssl rand -hex ${SECRET_BYTES}`);
  if (typeof text !== "string") return text;
  const mode = statSync(path).mode & 0o777;
  if ((mode & 0o077) !== 0) {
    return {
      code: "SW_CONFIG_INVALID",
      path: field,
      message: `${path} has mode 0${mode.toString(8)}, so others can read it: run chmod 600 ${path}`,
    };
  }
  const hex = text.trim();
  if (!/^[0-9a-fA-F]{64}$/.test(hex)) {
    return {
      code: "SW_CONFIG_INVALID",
      path: field,
      message: `${path} does not hold ${SECRET_BYTES} bytes in hex: make one with openssl rand -hex ${SECRET_BYTES} and copy it to all members`,
    };
  }
  return Uint8Array.from(Buffer.from(hex, "hex"));
}

/** Everything that would make the TLS hand-shake fail later, found now. `nowMs` is wall time; `joinedAs` as judgeTls(). */
export function checkTls(tls: TlsFiles, member: string, nowMs: number, joinedAs?: number): FileMistake[] {
  return judgeTls(tls, member, nowMs, joinedAs).mistakes.map(({ field, message }) => ({
    code: "SW_TLS_INVALID",
    path: ["cluster", "tls", field],
    message,
  }));
}

/** The CA's key, where it is: a member without it lets nobody in, and that is no mistake. */
export function checkCaKey({
  ca,
  caKey,
}: {
  readonly ca: string;
  readonly caKey?: string | undefined;
}): FileMistake[] {
  if (caKey === undefined || !existsSync(caKey)) return [];
  let authorities: Buffer;
  try {
    authorities = readFileSync(ca);
  } catch {
    return []; // That is told of the CA's own file.
  }
  const authority = readAuthority(caKey, authorities);
  if (typeof authority !== "string") return [];
  return [{ code: "SW_TLS_INVALID", path: ["cluster", "tls", "caKey"], message: authority }];
}

function readText(
  path: string,
  field: readonly string[],
  code: ErrorCode,
  fix: string,
): string | FileMistake {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    return { code, path: field, message: `cannot read ${path} (${whyUnreadable(cause)}): ${fix}` };
  }
}

/** Raises what was found: all lines of the first kind of mistake. */
export function raise(code: ErrorCode, lines: readonly string[]): never {
  throw new SynwallError(code, lines.join("\n"), { mistakes: lines });
}
