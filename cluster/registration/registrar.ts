/**
 * Registrar: where new machines come to be members, and members come for new certificates. Runs on members that hold the CA's
 * key. Owns the listener and who gets a certificate; whether a token counts is the cluster's decision (control/).
 */
import type { Socket } from "node:net";
import type { Server, TLSSocket } from "node:tls";
import { createServer } from "node:tls";
import type { JoinToken } from "../control/model.ts";
import { openConnections } from "../transport/connections.ts";
import { listenError } from "../transport/grpc-server.ts";
import { judgeHandshake, type RefusalReason, watchRefusals } from "../transport/refusals.ts";
import { commonName, HANDSHAKE_MS_MAX, isOfAnother, TLS_FLOOR, type TlsMaterial } from "../transport/tls.ts";
import {
  type Answer,
  type Hello,
  LineReader,
  type Question,
  questionSchema,
  type Welcome,
  writeLine,
} from "./messages.ts";
import { isProof, type JoinClaim } from "./token.ts";
import { issue, type KeyAndCertificate, type Subject } from "./x509.ts";

const CONNECTIONS_MAX = 16;
/** From the first byte to the last. */
const VISIT_MS_MAX = 15_000;

export interface RegistrarOptions {
  readonly address: string;
  readonly port: number;
  readonly tls: TlsMaterial;
  /** Asked for each visitor anew: the CA may be replaced meanwhile. */
  readonly authority: KeyAndCertificate;
  /** For how long certificates are valid. */
  readonly days: number;
  readonly hello: Omit<Hello, "type" | "ca">;
  /** Wall time. */
  readonly nowMs: () => number;
  readonly token: (id: string) => JoinToken | undefined;
  /** Why nobody can be a member with that name and address, whatever the token; undefined: somebody can. */
  readonly whyNoMember: (claim: Pick<JoinClaim, "name" | "address">) => string | undefined;
  /** Has the cluster take the member in, when its turn comes and `isThere` still says so; the reason when it does not. */
  readonly join: (
    claim: Extract<Question, { type: "join" }>,
    isThere: () => boolean,
  ) => Promise<Subject | string>;
  readonly member: (name: string) => Subject | undefined;
  /** Members whose certificates need not name their ids (tls.ts). */
  readonly founders: readonly number[];
  /** What a new member is told besides its certificate. */
  readonly welcome: () => Pick<Welcome, "ca" | "secret" | "founders" | "members">;
  /** One line for the log about each who was turned away. */
  readonly onRefused: (reason: RefusalReason, why: string) => void;
  readonly onIssued: (text: string) => void;
  /** One line for the log: a visit failed by no fault of the visitor's. */
  readonly onFailed: (text: string) => void;
  /** For tests: HANDSHAKE_MS_MAX unless told. */
  readonly handshakeMsMax?: number;
}

type Refusal = { readonly reason: RefusalReason; readonly why: string };

export class Registrar {
  readonly #options: RegistrarOptions;
  readonly #server: Server;
  readonly #connections: ReadonlySet<Socket>;

  constructor(options: RegistrarOptions) {
    this.#options = options;
    // A new machine has no certificate yet; that of a member is looked at when it asks for another one.
    this.#server = createServer({
      ...options.tls,
      ...TLS_FLOOR,
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: options.handshakeMsMax ?? HANDSHAKE_MS_MAX,
    });
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#connections = openConnections(this.#server);
    this.#server.on("secureConnection", (socket) => {
      // Whatever a visitor brings about must not end the member.
      this.#serve(socket).catch((error: unknown) => {
        socket.destroy();
        options.onFailed(`a registration failed: ${error instanceof Error ? error.message : String(error)}`);
      });
    });
    watchRefusals(this.#server, (reason, address, why) =>
      options.onRefused(reason, `refused a registration of ${address}: ${why}`),
    );
  }

  /** Rejects with SW_PORT_TAKEN. */
  listen(): Promise<void> {
    const { address, port } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once("error", (error) =>
        reject(listenError("cluster.ports.registration", `${address}:${port}`, error)),
      );
      this.#server.listen({ host: address, port }, () => resolve());
    });
  }

  setTls(tls: TlsMaterial): void {
    this.#server.setSecureContext({ ...tls, ...TLS_FLOOR });
  }

  close(): void {
    this.#server.close();
    for (const connection of this.#connections) connection.destroy();
  }

  async #serve(socket: TLSSocket): Promise<void> {
    const { hello, authority, onRefused } = this.#options;
    const deadline = setTimeout(() => socket.destroy(), VISIT_MS_MAX);
    socket.once("close", () => clearTimeout(deadline));
    const address = socket.remoteAddress ?? "an unknown address";
    const lines = new LineReader(socket);
    writeLine(socket, { type: "hello", ...hello, ca: authority.cert });
    const question = await lines.next(questionSchema);
    const answer =
      question === undefined
        ? { reason: "malformed" as const, why: "it asked for nothing that can be understood" }
        : await (question.type === "join"
            ? this.#join(socket, question)
            : this.#renew(socket, question.request));
    if ("why" in answer) {
      onRefused(answer.reason, `refused a registration of ${address}: ${answer.why}`);
      writeLine(socket, { type: "refused", reason: answer.why });
    } else {
      writeLine(socket, answer);
    }
    socket.end();
  }

  async #join(socket: TLSSocket, question: Extract<Question, { type: "join" }>): Promise<Answer | Refusal> {
    const { token, whyNoMember, join, welcome, onIssued } = this.#options;
    const { name } = question;
    const known = token(question.token);
    // The same words for both: a guess must not learn which tokens there are.
    if (known === undefined || !isProof(question.proof, known.key, socket, question)) {
      return { reason: "certificate", why: "the token is not known here, or is not the one that was issued" };
    }
    const unfit = whyNoMember(question);
    if (unfit !== undefined) return { reason: "malformed", why: `${unfit}; the token is still unused` };
    // Before the token is used up.
    const probe = { id: 255, name, address: question.address };
    if ((await this.#issue(question.request, probe)) === undefined) return malformedRequest();
    const subject = await join(question, () => !socket.destroyed);
    if (typeof subject === "string") return { reason: "stranger", why: subject };
    const cert = await this.#issue(question.request, subject);
    if (cert === undefined) return malformedRequest();
    onIssued(`${name} joined as member ${subject.id}, with token ${question.token}`);
    return { type: "welcome", id: subject.id, cert, ...welcome() };
  }

  async #renew(socket: TLSSocket, request: string): Promise<Answer | Refusal> {
    const { member, founders, authority, onIssued } = this.#options;
    const certificate = socket.getPeerCertificate();
    const name = commonName(certificate);
    // A session without a certificate counts as authorized when it is resumed.
    if (!socket.authorized || name === "") {
      const { authorizationError } = socket;
      const why = name === "" ? "it has no certificate" : String(authorizationError);
      const reason = judgeHandshake({ error: new Error(why), authorizationError }) ?? "certificate";
      return { reason, why: `only a member gets another certificate: ${why}` };
    }
    const subject = member(name);
    if (subject === undefined || isOfAnother(subject.id, certificate, founders)) {
      return { reason: "stranger", why: `its certificate is for "${name}", which is no member` };
    }
    const cert = await this.#issue(request, subject);
    if (cert === undefined) return malformedRequest();
    onIssued(`${name} has a new certificate`);
    return { type: "renewed", cert, ca: authority.cert };
  }

  #issue(request: string, subject: Subject): Promise<string | undefined> {
    const { authority, days, nowMs } = this.#options;
    return issue(authority, request, subject, { days, nowMs: nowMs() });
  }
}

function malformedRequest(): Refusal {
  return { reason: "malformed", why: "its request for a certificate cannot be read, or is not its own" };
}
