/**
 * Join token: what an operator carries from a member to a new machine. Owns its text, and how the secret in it is proven without
 * being sent.
 *
 *   sw1.<id>.<secret>.<fingerprint of the CA>.<address>:<port>
 *
 * The fingerprint tells the new machine whom to believe, the secret tells the cluster the same of it. The proof covers the TLS
 * session (RFC 5705 exporter), so nobody between the two can pass it on with a key of his own. What the cluster's log holds of a token
 * proves nothing without the cluster's secret: whoever reads the log, in a store of the site or a backup of it, cannot join with it.
 */
import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { StoreClaim } from "./store-claim.ts";

export interface JoinTicket {
  readonly id: string;
  readonly secret: Uint8Array;
  /** Of the CA's certificate: SHA-256, hex. */
  readonly fingerprint: string;
  readonly address: string;
  readonly port: number;
}

/** What the new machine asks for, and what the proof covers. */
export interface JoinClaim {
  readonly name: string;
  readonly role: "node" | "witness";
  readonly address: string;
  /** Request for a certificate, PEM. */
  readonly request: string;
  /** Where the cluster's log is in a store of the site. */
  readonly store?: StoreClaim | undefined;
}

const ID_BYTES = 8;
const SECRET_BYTES = 32;
const BINDING_BYTES = 32;
const LABEL = "EXPORTER-synwall-join-1";
const TEXT =
  /^sw1\.([0-9a-f]{16})\.([A-Za-z0-9_-]{43})\.([0-9a-f]{64})\.(\d{1,3}(?:\.\d{1,3}){3}):(\d{1,5})$/;

export function newTicket(place: Pick<JoinTicket, "fingerprint" | "address" | "port">): JoinTicket {
  return { id: randomBytes(ID_BYTES).toString("hex"), secret: randomBytes(SECRET_BYTES), ...place };
}

export function formatTicket({ id, secret, fingerprint, address, port }: JoinTicket): string {
  return ["sw1", id, Buffer.from(secret).toString("base64url"), fingerprint, `${address}:${port}`].join(".");
}

/** Undefined: it is no token, or not a whole one. */
export function parseTicket(text: string): JoinTicket | undefined {
  const [, id, secret, fingerprint, address, port] = TEXT.exec(text.trim()) ?? [];
  if (id === undefined) return undefined;
  return {
    id,
    secret: Buffer.from(secret!, "base64url"),
    fingerprint: fingerprint!,
    address: address!,
    port: Number(port),
  };
}

/** The key that proves the secret, hex; the cluster keeps it masked. */
export function ticketKey({ id, secret }: Pick<JoinTicket, "id" | "secret">): string {
  return Buffer.from(hkdfSync("sha256", secret, id, "synwall join 1", SECRET_BYTES)).toString("hex");
}

/** What the log holds in place of `key`, hex, and the key again of that. */
export function maskKey(key: string, clusterSecret: Uint8Array, id: string): string {
  const mask = Buffer.from(hkdfSync("sha256", clusterSecret, id, "synwall join mask 1", SECRET_BYTES));
  return Buffer.from(Buffer.from(key, "hex").map((byte, i) => byte ^ mask[i]!)).toString("hex");
}

/** Proof, hex, that whoever speaks on `socket` knows the secret behind `key`. */
export function proveClaim(
  key: string,
  socket: Pick<TLSSocket, "exportKeyingMaterial">,
  claim: JoinClaim,
): string {
  const binding = socket.exportKeyingMaterial(BINDING_BYTES, LABEL, Buffer.alloc(0));
  const { name, role, address, request, store } = claim;
  const place = store === undefined ? [] : [store.prefix, store.log];
  return createHmac("sha256", Buffer.from(key, "hex"))
    .update(binding)
    .update(JSON.stringify([name, role, address, request, ...place]))
    .digest("hex");
}

export function isProof(
  proof: string,
  key: string,
  socket: Pick<TLSSocket, "exportKeyingMaterial">,
  claim: JoinClaim,
): boolean {
  const [given, right] = [proof, proveClaim(key, socket, claim)].map((hex) => Buffer.from(hex, "hex"));
  return given!.length === right!.length && timingSafeEqual(given!, right!);
}
