/**
 * Authority: the CA's key and which of the cluster's CA certificates it belongs to, read and judged, so that `synwall check`, a start and
 * a rotation judge alike. Signs nothing (x509.ts).
 */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { blocksOf, whyUnreadable } from "../transport/tls.ts";
import type { KeyAndCertificate } from "./x509.ts";

/** How a CA of this kind signs (WebCrypto). */
export interface Signing {
  readonly name: string;
  readonly hash: string;
  readonly namedCurve?: string;
}

const OF_CURVE: Readonly<Record<string, Signing>> = {
  prime256v1: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  secp384r1: { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" },
  secp521r1: { name: "ECDSA", namedCurve: "P-521", hash: "SHA-512" },
};
const RSA: Signing = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };

/** Undefined: no certificate can be signed with a key of this kind. */
export function signingOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): Signing | undefined {
  if (asymmetricKeyType === "rsa") return RSA;
  return OF_CURVE[asymmetricKeyDetails?.namedCurve ?? ""];
}

/** The CA whose key is at `path`, or why it cannot be used, in one line with the fix. `ca`: the cluster's, one or more. */
export function readAuthority(path: string, ca: Buffer): KeyAndCertificate | string {
  let key: string;
  let mode: number;
  try {
    key = readFileSync(path, "utf8");
    mode = statSync(path).mode;
  } catch (cause) {
    return `cannot read ${path} (${whyUnreadable(cause)}): install the CA's key there, or remove the line`;
  }
  if ((mode & 0o077) !== 0) return `${path} can be read by others: run chmod 600 ${path}`;
  let secret: KeyObject;
  try {
    secret = createPrivateKey(key);
  } catch {
    return `${path} holds no key that can be read: install a PEM key without a password`;
  }
  if (signingOf(secret) === undefined) {
    return `${path} is a key of the kind ${secret.asymmetricKeyType}: use a CA with a key of EC P-256, P-384, P-521 or RSA`;
  }
  // Of a CA that was prolonged, the one that ends last.
  const [cert] = blocksOf(ca)
    .filter((block) => isOf(block, secret))
    .toSorted((a, b) => endOf(b) - endOf(a));
  if (cert !== undefined) return { key, cert };
  return `${path} belongs to no certificate in cluster.tls.ca: install the cluster's own, or remove it`;
}

function endOf(certificate: string): number {
  return Date.parse(new X509Certificate(certificate).validTo);
}

function isOf(certificate: string, secret: KeyObject): boolean {
  try {
    return new X509Certificate(certificate).checkPrivateKey(secret);
  } catch {
    return false; // What is wrong with the CA's file is told where that is judged.
  }
}
