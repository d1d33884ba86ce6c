/**
 * TLS material: reads and checks the cluster's CA and this member's certificate and key before anything listens, so that a
 * mistake is one line that names the file and the fix. Owns no sockets.
 *
 * Identity rule: a member is who its certificate's common name says, if the cluster's CA signed it.
 */

import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { PeerCertificate } from "node:tls";
import { SynwallError } from "../../src/base/errors.ts";

export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface TlsMaterial {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Throws SW_TLS_INVALID. `nowMs`: wall time in milliseconds, for the dates of validity. */
export function loadTls(files: TlsFiles, memberName: string, nowMs = Date.now()): TlsMaterial {
  const material = { ca: read(files.ca, "ca"), cert: read(files.cert, "cert"), key: read(files.key, "key") };
  const ca = parse(material.ca, files.ca, "ca");
  const cert = parse(material.cert, files.cert, "cert");
  const key = privateKey(material.key, files.key);
  if (!ca.ca) fail("ca", files.ca, "is no CA certificate: name the certificate that signed the members'");
  if (!cert.checkIssued(ca) || !cert.verify(ca.publicKey)) {
    fail("cert", files.cert, `was not signed by ${files.ca}: sign it with the cluster's CA`);
  }
  if (!cert.checkPrivateKey(key)) {
    fail("key", files.key, `does not belong to ${files.cert}: name the key that it was made with`);
  }
  const name = commonName(cert.toLegacyObject());
  if (name !== memberName) {
    fail(
      "cert",
      files.cert,
      `is for "${name}", this member is "${memberName}": make one with CN=${memberName}`,
    );
  }
  for (const [field, path, certificate] of [
    ["ca", files.ca, ca],
    ["cert", files.cert, cert],
  ] as const) {
    if (nowMs > Date.parse(certificate.validTo))
      fail(field, path, `expired on ${certificate.validTo}: renew it`);
    if (nowMs < Date.parse(certificate.validFrom)) {
      fail(field, path, `is not valid before ${certificate.validFrom}: check this machine's clock`);
    }
  }
  return material;
}

/** The name that a certificate proves; "" when it has none. */
export function commonName(certificate: Pick<PeerCertificate, "subject"> | undefined): string {
  const name: unknown = certificate?.subject?.CN;
  return typeof name === "string" ? name : "";
}

/** For TLS clients: the server must be `memberName`, whatever address it has. */
export function checkIs(
  memberName: string,
): (host: string, certificate: PeerCertificate) => Error | undefined {
  return (_host, certificate) => {
    const name = commonName(certificate);
    return name === memberName
      ? undefined
      : Object.assign(new Error(`the certificate is for "${name}", not "${memberName}"`), {
          code: "ERR_TLS_CERT_ALTNAME_INVALID",
        });
  };
}

function read(path: string, field: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const why =
      code === "ENOENT" ? "does not exist: create it or correct the path" : `cannot be read (${code})`;
    return fail(field, path, why, error);
  }
}

function parse(pem: Buffer, path: string, field: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    return fail(field, path, "is not a PEM certificate", error);
  }
}

function privateKey(pem: Buffer, path: string): ReturnType<typeof createPrivateKey> {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    return fail("key", path, "is not an unencrypted PEM private key", error);
  }
}

function fail(field: string, path: string, why: string, cause?: unknown): never {
  throw new SynwallError("SW_TLS_INVALID", `cluster.tls.${field}: ${path} ${why}`, { field, path }, cause);
}
