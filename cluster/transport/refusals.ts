/**
 * Refusals: why a connection of somebody who wants to talk to this member is turned away, as words for metrics and the log.
 * Owns the words, how a failed TLS handshake is judged, and what is watched of a listener.
 */
import type { Socket } from "node:net";
import type { Server, TLSSocket } from "node:tls";

export const REFUSAL_REASONS = [
  "certificate", // none, or not of the cluster's CA
  "expired", // or not valid yet
  "stranger", // a right certificate of nobody who is a member here, or a message in another's name
  "tls", // no TLS at all, or none that is understood
  "malformed", // what it sent cannot be read
  "limit", // too many connections
] as const;
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

/** Numbers that only grow. */
export type RefusalCounts = Record<RefusalReason, number>;

export function zeroRefusals(): RefusalCounts {
  return Object.fromEntries(REFUSAL_REASONS.map((reason) => [reason, 0])) as RefusalCounts;
}

/** Sums of two. */
export function addRefusals(a: Readonly<RefusalCounts>, b: Readonly<RefusalCounts>): RefusalCounts {
  return Object.fromEntries(
    REFUSAL_REASONS.map((reason) => [reason, a[reason] + b[reason]]),
  ) as RefusalCounts;
}

/**
 * Calls back for each connection to `server` that ended in a refusal before it was one, and ends it: after a handshake that takes too
 * long Node.js only tells, and the connection would keep its place for good. `why` is for the log.
 */
export function watchRefusals(
  server: Server,
  onRefused: (reason: RefusalReason, address: string, why: string) => void,
): void {
  // A socket that was refused has no address any more; what was read while it had one is kept.
  server.on("connection", (raw: Socket) => void raw.remoteAddress);
  server.on("tlsClientError", (error, socket: TLSSocket & { readonly _parent?: Socket }) => {
    const failure = { error, authorizationError: socket.authorizationError };
    const reason = judgeHandshake(failure);
    const address = socket._parent?.remoteAddress ?? "an unknown address";
    if (reason !== undefined) onRefused(reason, address, describeHandshake(failure));
    socket.destroy();
  });
  server.on("drop", (dropped) => {
    onRefused("limit", dropped?.remoteAddress ?? "an unknown address", "too many connections are open");
  });
}

/** What went wrong in a handshake, by Node.js: a verdict on the certificate, or the error that ended it. */
export interface HandshakeFailure {
  readonly error: Error;
  /** Of a server's socket whose client was not believed. */
  readonly authorizationError?: unknown;
}

/** Undefined: nobody was refused; the connection broke or was given up, as when the peer's process ends. */
export function judgeHandshake({ error, authorizationError }: HandshakeFailure): RefusalReason | undefined {
  const code =
    typeof authorizationError === "string"
      ? authorizationError
      : ((error as NodeJS.ErrnoException).code ?? "");
  if (/CERT_HAS_EXPIRED|CERT_NOT_YET_VALID|CERTIFICATE_EXPIRED/.test(code)) return "expired";
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return "stranger";
  if (code === "ERR_TLS_HANDSHAKE_TIMEOUT") return "tls";
  // OpenSSL's verdicts on a certificate (X509_V_ERR_*), and its alerts about one.
  if (/CERT|SELF_SIGNED|LEAF_SIGNATURE|UNKNOWN_CA/.test(code)) return "certificate";
  if (typeof authorizationError === "string") return "certificate";
  return code.startsWith("ERR_SSL_") ? "tls" : undefined;
}

/** In words of one line, for the log: OpenSSL's own hold an address in memory and the place in its source. */
export function describeHandshake({ error, authorizationError }: HandshakeFailure): string {
  if (typeof authorizationError === "string") return authorizationError;
  return (error as Error & { readonly reason?: string }).reason ?? error.message.trim();
}
