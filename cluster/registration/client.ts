/**
 * Registration client: a new machine that joins with a token, or a member that asks for another certificate. Owns whom it
 * believes: a registrar whose certificate is signed by the CA that the token names, or that the member has.
 */
import { X509Certificate } from "node:crypto";
import { connect, type TLSSocket } from "node:tls";
import { SynwallError } from "../../src/base/errors.ts";
import type { TlsMaterial } from "../transport/tls.ts";
import {
  type Answer,
  answerSchema,
  type Hello,
  helloSchema,
  LineReader,
  type Question,
  type Welcome,
  writeLine,
} from "./messages.ts";
import type { StoreClaim } from "./store-claim.ts";
import { type JoinClaim, type JoinTicket, proveClaim, ticketKey } from "./token.ts";
import { fingerprint } from "./x509.ts";

const ANSWER_MS_MAX = 10_000;

/**
 * `check`: throws when the cluster that says hello is not the one that is meant; `findStore`: what this machine finds where it would
 * keep the log, asked after that. The token is unused when either throws.
 */
export async function joinCluster(
  ticket: JoinTicket,
  machine: Omit<JoinClaim, "store">,
  check: (hello: Hello) => void,
  findStore?: () => Promise<StoreClaim>,
): Promise<Welcome> {
  const answer = await ask(ticket, {}, async (socket, hello) => {
    if (fingerprint(hello.ca) !== ticket.fingerprint) {
      throw refused(ticket, "its CA is not the one that the token names: somebody else answers there");
    }
    const untrue = whyUntrue(socket, hello.ca);
    if (untrue !== undefined) throw refused(ticket, untrue);
    check(hello);
    const claim = findStore === undefined ? machine : { ...machine, store: await findStore() };
    const proof = proveClaim(ticketKey(ticket), socket, claim);
    return { type: "join", token: ticket.id, ...claim, proof };
  });
  if (answer.type === "welcome") return answer;
  throw refused(ticket, "its answer is not to the question");
}

/** A certificate for the key of `request`, by the certificate that the member has now. */
export async function renewCertificate(
  place: Pick<JoinTicket, "address" | "port">,
  tls: TlsMaterial,
  request: string,
): Promise<{ readonly cert: string; readonly ca: string }> {
  const answer = await ask(place, tls, async (socket, hello) => {
    if (!socket.authorized) {
      throw refused(
        place,
        `its certificate is not of this cluster's CA (${String(socket.authorizationError)})`,
      );
    }
    // A CA that is being replaced: whoever signs must be among those that this member has.
    const own = fingerprint(hello.ca);
    if (
      !tls.ca
        .toString()
        .split(/(?=-----BEGIN)/)
        .filter((one) => one.includes("BEGIN"))
        .some((one) => fingerprint(one) === own)
    ) {
      throw refused(place, "its CA is not among those of cluster.tls.ca");
    }
    return { type: "renew", request };
  });
  if (answer.type === "renewed") return answer;
  throw refused(place, "its answer is not to the question");
}

async function ask(
  place: Pick<JoinTicket, "address" | "port">,
  tls: Partial<TlsMaterial>,
  question: (socket: TLSSocket, hello: Hello) => Promise<Question>,
): Promise<Answer> {
  const socket = await dial(place, tls);
  const deadline = setTimeout(() => socket.destroy(), ANSWER_MS_MAX);
  try {
    const lines = new LineReader(socket);
    const hello = await lines.next(helloSchema);
    if (hello === undefined) throw refused(place, "it does not say hello as a registrar does");
    writeLine(socket, await question(socket, hello));
    const answer = await lines.next(answerSchema);
    if (answer === undefined) throw refused(place, "it ended without an answer");
    if (answer.type === "refused") throw refused(place, answer.reason);
    return answer;
  } finally {
    clearTimeout(deadline);
    socket.destroy();
  }
}

function dial(
  { address, port }: Pick<JoinTicket, "address" | "port">,
  tls: Partial<TlsMaterial>,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...tls,
      host: address,
      port,
      minVersion: "TLSv1.3",
      // Judged after the hello, by the CA that is known, whatever name the registrar has.
      rejectUnauthorized: false,
      timeout: ANSWER_MS_MAX,
    });
    const fail = (cause: Error): void => {
      socket.destroy();
      reject(
        new SynwallError(
          "SW_REGISTRATION_FAILED",
          `${address}:${port}: cannot reach the registrar: ${cause.message}; is that node running, and does it have cluster.tls.caKey?`,
          {},
          cause,
        ),
      );
    };
    socket.once("error", fail);
    socket.once("timeout", () => fail(new Error("it does not answer")));
    socket.once("secureConnect", () => {
      socket.off("error", fail);
      socket.setTimeout(0);
      socket.on("error", () => {});
      resolve(socket);
    });
  });
}

/** Why the other end's certificate is not one of this CA; undefined when it is. */
function whyUntrue(socket: TLSSocket, caPem: string): string | undefined {
  const certificate = socket.getPeerX509Certificate();
  const ca = new X509Certificate(caPem);
  if (certificate === undefined || !ca.ca) return "it shows no certificate of a CA";
  if (!certificate.checkIssued(ca) || !certificate.verify(ca.publicKey)) {
    return "its certificate is not signed by the CA that the token names";
  }
  const nowMs = Date.now();
  if (nowMs > Date.parse(certificate.validTo) || nowMs < Date.parse(certificate.validFrom)) {
    return `its certificate is valid from ${certificate.validFrom} to ${certificate.validTo}: check both clocks`;
  }
  return undefined;
}

function refused({ address, port }: Pick<JoinTicket, "address" | "port">, why: string): SynwallError {
  return new SynwallError("SW_REGISTRATION_FAILED", `${address}:${port}: ${why}`);
}
