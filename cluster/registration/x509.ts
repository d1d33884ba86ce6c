/**
 * X.509: makes the cluster's CA, key pairs with requests, and members' certificates. The only user of @peculiar/x509; who may
 * have a certificate is the registrar's business, what makes one right transport/tls.ts'.
 *
 * A member's certificate says who it is: common name and DNS name its name, an IP address its own, and a URI its id, so that
 * the certificate of a removed member is not taken for that of its successor of the same name.
 */
// @peculiar/x509 needs it to be there first.
import "reflect-metadata";
import { createHash, createPrivateKey, webcrypto, X509Certificate } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { memberUri } from "../transport/tls.ts";
import { type Signing, signingOf } from "./authority.ts";

x509.cryptoProvider.set(webcrypto);

const KEY = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNING = { name: "ECDSA", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;
const AUTHORITY_DAYS = 3650;
/** Clocks of machines differ: a certificate is valid a little before it is issued. */
const BACKDATE_MS = 5 * 60_000;
const SERIAL_BYTES = 16;

export interface KeyAndCertificate {
  /** PEM. */
  readonly key: string;
  readonly cert: string;
}

export interface Subject {
  readonly id: number;
  readonly name: string;
  /** Dotted IPv4. */
  readonly address: string;
}

/** A new CA for the cluster called `cluster`. `nowMs`: wall time. */
export async function makeAuthority(cluster: string, nowMs: number): Promise<KeyAndCertificate> {
  const keys = await webcrypto.subtle.generateKey(KEY, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: [{ CN: [`synwall ${cluster} CA`] }],
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(nowMs + AUTHORITY_DAYS * DAY_MS),
    signingAlgorithm: SIGNING,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { key: await privatePem(keys.privateKey), cert: certificate.toString("pem") };
}

/** A new key pair, which stays here, and a request for a certificate, which travels. */
export async function makeRequest(name: string): Promise<{ readonly key: string; readonly request: string }> {
  const keys = await webcrypto.subtle.generateKey(KEY, true, ["sign", "verify"]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [name] }],
    keys,
    signingAlgorithm: SIGNING,
  });
  return { key: await privatePem(keys.privateKey), request: request.toString("pem") };
}

/**
 * A certificate for the key of `request`. What else the request says does not count: `subject` does. Undefined when the request
 * cannot be read or was not signed by the key in it, or when no certificate can say what `subject` says.
 */
export async function issue(
  authority: KeyAndCertificate,
  request: string,
  subject: Subject,
  { days, nowMs }: { readonly days: number; readonly nowMs: number },
): Promise<string | undefined> {
  // What is wrong with these is no fault of the request: it throws.
  const issuer = new x509.X509Certificate(authority.cert);
  const { signingKey, signingAlgorithm } = await importKey(authority.key);
  try {
    const asked = new x509.Pkcs10CertificateRequest(request);
    if (!(await asked.verify())) return undefined;
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial(),
      // As a bare string it would be taken for DER when it begins with #.
      subject: new x509.Name([{ CN: [{ utf8String: subject.name }] }]),
      issuer: issuer.subjectName,
      notBefore: new Date(nowMs - BACKDATE_MS),
      // None outlives its CA.
      notAfter: new Date(Math.min(nowMs + days * DAY_MS, issuer.notAfter.getTime())),
      publicKey: asked.publicKey,
      signingKey,
      signingAlgorithm,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([
          x509.ExtendedKeyUsage.serverAuth,
          x509.ExtendedKeyUsage.clientAuth,
        ]),
        new x509.SubjectAlternativeNameExtension([
          { type: "dns", value: subject.name },
          { type: "ip", value: subject.address },
          { type: "url", value: memberUri(subject.id) },
        ]),
        await x509.AuthorityKeyIdentifierExtension.create(issuer),
      ],
    });
    return certificate.toString("pem");
  } catch {
    return undefined;
  }
}

/** SHA-256 over the certificate itself, hex. Of several in one file, the first. */
export function fingerprint(pem: string | Buffer): string {
  return createHash("sha256").update(new X509Certificate(pem).raw).digest("hex");
}

async function privatePem(key: webcrypto.CryptoKey): Promise<string> {
  const der = await webcrypto.subtle.exportKey("pkcs8", key);
  return createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" })
    .export({ format: "pem", type: "pkcs8" })
    .toString();
}

/** Also of keys that openssl made, which are not always PKCS#8, and of a site's own CA. Throws when nothing can be signed with it. */
async function importKey(
  pem: string,
): Promise<{ readonly signingKey: webcrypto.CryptoKey; readonly signingAlgorithm: Signing }> {
  const key = createPrivateKey(pem);
  const signingAlgorithm = signingOf(key);
  if (signingAlgorithm === undefined) throw new Error(`a CA cannot have a key of ${key.asymmetricKeyType}`);
  const der = key.export({ format: "der", type: "pkcs8" });
  const signingKey = await webcrypto.subtle.importKey("pkcs8", der, signingAlgorithm, false, ["sign"]);
  return { signingKey, signingAlgorithm };
}

function serial(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(SERIAL_BYTES));
  // Positive, and not shorter than it looks (RFC 5280 section 4.1.2.2).
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}
