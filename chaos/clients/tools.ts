/**
 * Tools of the client checks: where setup.sh put the servers that it unpacked, and which tools are missing.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { SynwallError } from "../../src/base/errors.ts";
import { checkoutDirectory } from "../lab/processes.ts";

const CACHE = join(checkoutDirectory(), "node_modules", ".cache", "synwall");
const SEARCHED = [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/sbin"];

export const SERVER_FILES = {
  sshd: join(CACHE, "servers/usr/sbin/sshd"),
  vsftpd: join(CACHE, "servers/usr/sbin/vsftpd"),
  tftpd: join(CACHE, "servers/usr/sbin/in.tftpd"),
  caddy: join(CACHE, "servers/usr/bin/caddy"),
} as const;

/** Folder of the libcurl that speaks HTTP/3; undefined when there is none. */
export function http3Folder(): string | undefined {
  const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
  const folder = join(CACHE, `http3/usr/lib/${machine}-linux-gnu`);
  return existsSync(join(folder, "libcurl-gnutls.so.4")) ? folder : undefined;
}

/** Throws SW_LAB_FAILED when one of `commands` or of the servers is not there. */
export function requireTools(commands: readonly string[], files: readonly string[] = []): void {
  const isThere = (command: string): boolean => SEARCHED.some((folder) => existsSync(join(folder, command)));
  const missing = [
    ...commands.filter((each) => !isThere(each)),
    ...files.filter((each) => !existsSync(each)),
  ];
  if (missing.length === 0) return;
  throw new SynwallError(
    "SW_LAB_FAILED",
    `not there: ${missing.join(", ")}: run scripts/setup.sh --for-tests`,
  );
}
