/**
 * TLS: reads the cluster's CA file and a member's certificate and key, and finds everything that would make a hand-shake fail
 * later, so that `synwall check` and a start judge alike. Owns no sockets, and no places in a configuration (config/files.ts).
 *
 * Identity rule: a member is who its certificate's common name says, if a CA of the cluster signed it. The CA file may hold
 * several: while a CA is replaced, members trust the old and the new one.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
// Loaded before any certificate is read: Node.js 20 otherwise meets its own module half made, and no TLS server can be created.
import "node:tls";
import type { PeerCertificate } from "node:tls";
import { SynwallError } from "../../src/base/errors.ts";
import { findPair } from "./key-pair.ts";

export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** PEM as it was read and checked; `ca` may hold several certificates, which Node.js' TLS takes as they are. */
export interface TlsMaterial {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** What is wrong with one of the files, in one line that names the file and the fix. */
export interface TlsMistake {
  readonly field: keyof TlsFiles;
  readonly message: string;
}

export interface JudgedTls {
  /** Absent when a file could not be read. Not to be used when there are mistakes. */
  readonly material?: TlsMaterial;
  readonly mistakes: readonly TlsMistake[];
}

/** No version below it, on any port of a member: both ends are Synwall's. */
export const TLS_FLOOR = { minVersion: "TLSv1.3" } as const;
/** Whoever connects and does not get through the handshake in that time is turned away: its place is for others. */
export const HANDSHAKE_MS_MAX = 5_000;

const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

const FIXES: Readonly<Record<keyof TlsFiles, string>> = {
  ca: "install the cluster's CA certificate there",
  cert: "install this member's certificate there",
  key: "install this member's private key there",
};

/** Throws SW_TLS_INVALID with the first mistake. `nowMs`: wall time in milliseconds, for the dates of validity. */
export function loadTls(
  files: TlsFiles,
  memberName: string,
  nowMs = Date.now(),
  joinedAs?: number,
): TlsMaterial {
  const { material, mistakes } = judgeTls(files, memberName, nowMs, joinedAs);
  const [first] = mistakes;
  if (material !== undefined && first === undefined) return material;
  const { field, message } = first!;
  throw new SynwallError("SW_TLS_INVALID", `cluster.tls.${field}: ${message}`, { field, path: files[field] });
}

/**
 * Reads and judges the files of the member called `member`. `nowMs` is wall time, for the dates of validity; `joinedAs` the id of
 * a member that joined, which its certificate must name.
 */
export function judgeTls(files: TlsFiles, member: string, nowMs: number, joinedAs?: number): JudgedTls {
  const unreadable: TlsMistake[] = [];
  const read = (field: keyof TlsFiles): Buffer | undefined => {
    try {
      return readFileSync(files[field]);
    } catch (cause) {
      const message = `cannot read ${files[field]} (${whyUnreadable(cause)}): ${FIXES[field]}`;
      unreadable.push({ field, message });
      return undefined;
    }
  };
  const ca = read("ca");
  // Of a rotation that was cut short, the halves that fit; a start finishes it (key-pair.ts).
  const pair = findPair(files, readIfAny);
  const cert = pair === undefined ? read("cert") : Buffer.from(pair.cert);
  const key = pair === undefined ? read("key") : Buffer.from(pair.key);
  if (ca === undefined || cert === undefined || key === undefined) return { mistakes: unreadable };
  const material = { ca, cert, key };
  return {
    material,
    mistakes: [...judgeMode(files.key), ...judgeMaterial(material, files, member, nowMs, joinedAs)],
  };
}

/** Judges what need not lie in its files yet. `names`: what to call each of the three in a message. */
export function judgeMaterial(
  { ca, cert, key }: TlsMaterial,
  names: TlsFiles,
  member: string,
  nowMs: number,
  joinedAs?: number,
): TlsMistake[] {
  const mistakes: TlsMistake[] = [];
  const authorities = parseAll(ca);
  const own = parse(cert);
  if (authorities === undefined) mistakes.push(noCertificate("ca", names.ca));
  if (own === undefined) mistakes.push(noCertificate("cert", names.cert));
  mistakes.push(...judgeKey(key, own, names));
  if (own !== undefined) {
    mistakes.push(...judgeName(own, member, names, joinedAs), ...judgeDates(own, "cert", names.cert, nowMs));
  }
  if (authorities !== undefined) mistakes.push(...judgeAuthorities(authorities, own, names, nowMs));
  return mistakes;
}

function readIfAny(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/** Why a file could not be read, in words. */
export function whyUnreadable(cause: unknown): string {
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === "ENOENT") return "no such file";
  if (code === "EACCES" || code === "EPERM") return "permission denied";
  if (code === "EISDIR") return "it is a directory";
  return code ?? String(cause);
}

/** The name that a certificate proves; "" when it has none. */
export function commonName(certificate: Pick<PeerCertificate, "subject"> | undefined): string {
  const name: unknown = certificate?.subject?.CN;
  return typeof name === "string" ? name : "";
}

const MEMBER_URI = "urn:synwall:member:";

/** How a certificate names the member's id. */
export function memberUri(id: number): string {
  return `${MEMBER_URI}${id}`;
}

/**
 * The certificate is not that of the member with this id, but a predecessor's of the same name: it names another id, or none. Those of
 * other tools name none, and count for members that the cluster was begun with, which have no predecessors; whoever joined has one
 * that names its id. `founders`: their ids; absent: all members are.
 */
export function isOfAnother(
  id: number,
  certificate: Pick<PeerCertificate, "subjectaltname"> | undefined,
  founders?: readonly number[],
): boolean {
  const uris = (certificate?.subjectaltname ?? "")
    .split(", ")
    .filter((one) => one.startsWith(`URI:${MEMBER_URI}`));
  if (uris.length === 0) return founders !== undefined && !founders.includes(id);
  return !uris.includes(`URI:${memberUri(id)}`);
}

/** For TLS clients: the server must be this member, whatever address it has. `founders`: as isOfAnother(). */
export function checkIs(
  { id, name: wanted }: { readonly id: number; readonly name: string },
  founders?: readonly number[],
): (host: string, certificate: PeerCertificate) => Error | undefined {
  return (_host, certificate) => {
    const name = commonName(certificate);
    if (name === wanted && !isOfAnother(id, certificate, founders)) return undefined;
    const what = name === wanted ? `an earlier ${wanted}` : `"${name}"`;
    return Object.assign(new Error(`the certificate is for ${what}, not "${wanted}"`), {
      code: "ERR_TLS_CERT_ALTNAME_INVALID",
    });
  };
}

function judgeAuthorities(
  authorities: readonly X509Certificate[],
  own: X509Certificate | undefined,
  files: TlsFiles,
  nowMs: number,
): TlsMistake[] {
  if (authorities.some((authority) => !authority.ca)) {
    const one = authorities.length === 1 ? "is not a CA certificate" : "holds a certificate that is no CA's";
    return [{ field: "ca", message: `${files.ca} ${one}: install the CA's own` }];
  }
  if (own === undefined) return [];
  const issuer = issuerOf(own, authorities);
  // Of several CAs, one that has expired and is not ours harms nobody: it is on its way out.
  if (issuer !== undefined) return judgeDates(issuer, "ca", files.ca, nowMs);
  const message = `${files.cert} is not signed by ${files.ca}: use a certificate of the cluster's own CA`;
  return [{ field: "cert", message }];
}

/** Of those that signed it (a CA that was prolonged is there twice, with one key) the one that ends last. */
export function issuerOf(
  own: X509Certificate,
  authorities: readonly X509Certificate[],
): X509Certificate | undefined {
  return authorities
    .filter((authority) => own.checkIssued(authority) && own.verify(authority.publicKey))
    .toSorted((a, b) => Date.parse(b.validTo) - Date.parse(a.validTo))[0];
}

function judgeMode(path: string): TlsMistake[] {
  const mode = statSync(path).mode & 0o777;
  if ((mode & 0o007) === 0) return [];
  const message = `${path} has mode 0${mode.toString(8)}, so everybody can read it: run chmod 600 ${path}`;
  return [{ field: "key", message }];
}

function judgeKey(pem: Buffer, own: X509Certificate | undefined, files: TlsFiles): TlsMistake[] {
  const mistakes: TlsMistake[] = [];
  const add = (message: string): unknown => mistakes.push({ field: "key", message });
  try {
    const key = createPrivateKey(pem);
    if (own !== undefined && !own.checkPrivateKey(key)) {
      add(`${files.key} does not belong to ${files.cert}: install the key made with it`);
    }
  } catch {
    add(`${files.key} holds no private key that can be read: install a PEM key without a password`);
  }
  return mistakes;
}

function judgeName(
  own: X509Certificate,
  member: string,
  files: TlsFiles,
  joinedAs: number | undefined,
): TlsMistake[] {
  const certificate = own.toLegacyObject();
  const name = commonName(certificate);
  if (name === member && joinedAs !== undefined && isOfAnother(joinedAs, certificate, [])) {
    const message = `${files.cert} does not name the id that ${member} joined with: issue one with the subject alternative name URI:${memberUri(joinedAs)}`;
    return [{ field: "cert", message }];
  }
  if (name === member) return [];
  const fix = `issue one whose common name is ${member}`;
  return [{ field: "cert", message: `${files.cert} is for "${name}", but this member is ${member}: ${fix}` }];
}

function judgeDates(
  certificate: X509Certificate,
  field: keyof TlsFiles,
  path: string,
  nowMs: number,
): TlsMistake[] {
  const { validFrom, validTo } = certificate;
  if (nowMs > Date.parse(validTo)) {
    return [{ field, message: `${path} expired on ${validTo}: issue a new certificate` }];
  }
  if (nowMs < Date.parse(validFrom)) {
    const fix = "check this machine's clock, or issue a new one";
    return [{ field, message: `${path} is valid only from ${validFrom}: ${fix}` }];
  }
  return [];
}

function noCertificate(field: "ca" | "cert", path: string): TlsMistake {
  return { field, message: `${path} holds no certificate that can be read: install one in PEM form` };
}

/** Every certificate of a PEM file; undefined when there is none or one cannot be read. */
/** The certificates of a PEM file, each as it stands there. */
export function blocksOf(pem: Buffer): readonly string[] {
  return pem.toString("latin1").match(PEM_BLOCK) ?? [];
}

/** Undefined: there is none, or one that cannot be read. */
export function parseAll(pem: Buffer): X509Certificate[] | undefined {
  const blocks = blocksOf(pem);
  const parsed = blocks.map((block) => parse(block)).filter((one) => one !== undefined);
  return parsed.length === 0 || parsed.length < blocks.length ? undefined : parsed;
}

function parse(pem: Buffer | string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}
