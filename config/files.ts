/**
 * Files that a configuration points to: the cluster secret and the TLS files. Owns reading and judging them.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
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

export interface TlsPaths {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Everything that would make the TLS hand-shake fail later, found now. `nowMs` is wall time. */
export function checkTls(tls: TlsPaths, member: string, nowMs: number): FileMistake[] {
  const texts = {
    ca: readText(tls.ca, tlsPath("ca"), "SW_TLS_INVALID", "install the cluster's CA certificate there"),
    cert: readText(tls.cert, tlsPath("cert"), "SW_TLS_INVALID", "install this member's certificate there"),
    key: readText(tls.key, tlsPath("key"), "SW_TLS_INVALID", "install this member's private key there"),
  };
  const unreadable = Object.values(texts).filter((text) => typeof text !== "string");
  if (unreadable.length > 0) return unreadable;
  const { ca, cert, key } = texts as Record<keyof TlsPaths, string>;

  const authority = parseCertificate(ca, "ca", tls.ca);
  const own = parseCertificate(cert, "cert", tls.cert);
  const mistakes: FileMistake[] = [];
  for (const parsed of [authority, own]) if (!(parsed instanceof X509Certificate)) mistakes.push(parsed);
  mistakes.push(...checkKey(key, own, tls));
  if (own instanceof X509Certificate) {
    mistakes.push(...checkName(own, member, tls), ...checkDates(own, "cert", tls.cert, nowMs));
  }
  if (authority instanceof X509Certificate) {
    mistakes.push(...checkDates(authority, "ca", tls.ca, nowMs));
    if (!authority.ca)
      mistakes.push(tlsMistake("ca", `${tls.ca} is not a CA certificate: install the CA's own`));
    if (own instanceof X509Certificate && !isIssuedBy(own, ca)) {
      mistakes.push(
        tlsMistake(
          "cert",
          `${tls.cert} is not signed by ${tls.ca}: use a certificate of the cluster's own CA`,
        ),
      );
    }
  }
  return mistakes;
}

function checkKey(keyText: string, own: X509Certificate | FileMistake, tls: TlsPaths): FileMistake[] {
  const mode = statSync(tls.key).mode & 0o777;
  const mistakes: FileMistake[] = [];
  if ((mode & 0o007) !== 0) {
    mistakes.push(
      tlsMistake(
        "key",
        `${tls.key} has mode 0${mode.toString(8)}, so everybody can read it: run chmod 600 ${tls.key}`,
      ),
    );
  }
  try {
    const key = createPrivateKey(keyText);
    if (own instanceof X509Certificate && !own.checkPrivateKey(key)) {
      mistakes.push(
        tlsMistake("key", `${tls.key} does not belong to ${tls.cert}: install the key made with it`),
      );
    }
  } catch {
    mistakes.push(
      tlsMistake(
        "key",
        `${tls.key} holds no private key that can be read: install a PEM key without a password`,
      ),
    );
  }
  return mistakes;
}

function checkName(own: X509Certificate, member: string, tls: TlsPaths): FileMistake[] {
  const commonName = /^CN=(.*)$/m.exec(own.subject ?? "")?.[1] ?? "";
  if (commonName === member) return [];
  return [
    tlsMistake(
      "cert",
      `${tls.cert} is for "${commonName}", but this member is ${member}: issue one whose common name is ${member}`,
    ),
  ];
}

function checkDates(
  certificate: X509Certificate,
  key: keyof TlsPaths,
  path: string,
  nowMs: number,
): FileMistake[] {
  if (nowMs > Date.parse(certificate.validTo)) {
    return [tlsMistake(key, `${path} expired on ${certificate.validTo}: issue a new certificate`)];
  }
  if (nowMs < Date.parse(certificate.validFrom)) {
    return [
      tlsMistake(
        key,
        `${path} is valid only from ${certificate.validFrom}: check this machine's clock, or issue a new one`,
      ),
    ];
  }
  return [];
}

/** True when one of the CA file's certificates (it may hold old and new) issued `own`. */
function isIssuedBy(own: X509Certificate, caText: string): boolean {
  const blocks = caText.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  return blocks.some((block) => {
    const authority = new X509Certificate(block);
    return own.checkIssued(authority) && own.verify(authority.publicKey);
  });
}

function parseCertificate(text: string, key: keyof TlsPaths, path: string): X509Certificate | FileMistake {
  try {
    return new X509Certificate(text);
  } catch {
    return tlsMistake(key, `${path} holds no certificate that can be read: install one in PEM form`);
  }
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
    return { code, path: field, message: `cannot read ${path} (${reason(cause)}): ${fix}` };
  }
}

/** Why a file could not be read, in words. */
export function reason(cause: unknown): string {
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === "ENOENT") return "no such file";
  if (code === "EACCES" || code === "EPERM") return "permission denied";
  if (code === "EISDIR") return "it is a directory";
  return code ?? String(cause);
}

function tlsPath(key: keyof TlsPaths): readonly string[] {
  return ["cluster", "tls", key];
}

function tlsMistake(key: keyof TlsPaths, message: string): FileMistake {
  return { code: "SW_TLS_INVALID", path: tlsPath(key), message };
}

/** Raises what was found: all lines of the first kind of mistake. */
export function raise(code: ErrorCode, lines: readonly string[]): never {
  throw new SynwallError(code, lines.join("\n"), { mistakes: lines });
}
