/**
 * Registration on a running member: joins the registrar to the control plane, and keeps it to the CA that the files say. Loaded
 * only where the CA's key is (open-registration.ts).
 */
import { existsSync } from "node:fs";
import type { JoinToken } from "../../cluster/control/model.ts";
import { readAuthority } from "../../cluster/registration/authority.ts";
import { PEM_CHARS_MAX, type Question } from "../../cluster/registration/messages.ts";
import { Registrar } from "../../cluster/registration/registrar.ts";
import { whyOtherStore } from "../../cluster/registration/store-claim.ts";
import { formatTicket, maskKey, newTicket, ticketKey } from "../../cluster/registration/token.ts";
import { fingerprint, type KeyAndCertificate, type Subject } from "../../cluster/registration/x509.ts";
import type { RefusalCounts } from "../../cluster/transport/refusals.ts";
import { blocksOf, type TlsMaterial } from "../../cluster/transport/tls.ts";
import { whyNoMember } from "../../config/check.ts";
import type { MemberConfig, NodeConfig } from "../../config/node-config.ts";
import { SynwallError } from "../base/errors.ts";
import type { Controller } from "./controller.ts";
import type { Log } from "./log.ts";

/** A member asks for the next one in time; see docs/members.md. */
const CERTIFICATE_DAYS = 397;

export interface RegistrationOptions {
  readonly config: NodeConfig;
  readonly tls: TlsMaterial;
  readonly controller: Controller;
  /** Name of the log in a store of the site; empty: the members keep it. */
  readonly logId: string;
  readonly refused: RefusalCounts;
  readonly log: Pick<Log, "line">;
}

export interface TokenWish {
  readonly role: "node" | "witness";
  readonly name?: string;
  readonly weight: number;
  readonly ttlMs: number;
}

type JoinQuestion = Extract<Question, { type: "join" }>;

export class Registration {
  readonly #options: RegistrationOptions;
  readonly #registrar: Registrar;
  #authority: KeyAndCertificate;
  #ca: Buffer;
  #isOpen = true;
  /** The last of the joins that wait for each other; never rejects. */
  #lastJoin: Promise<unknown> = Promise.resolve();

  /** Throws SW_TLS_INVALID when the key cannot be used. */
  constructor(options: RegistrationOptions) {
    this.#options = options;
    const { config, tls, refused, log } = options;
    const { cluster, control } = config;
    this.#authority = requireAuthority(cluster.caKey!, tls.ca);
    this.#ca = tls.ca;
    const authority = (): KeyAndCertificate => this.#authority;
    this.#registrar = new Registrar({
      address: cluster.self.address,
      port: cluster.ports.registration,
      tls,
      get authority() {
        return authority();
      },
      days: CERTIFICATE_DAYS,
      hello: {
        cluster: cluster.name,
        slots: cluster.slots,
        profile: cluster.profile,
        ...(control.etcd === undefined ? {} : { store: "etcd" }),
      },
      nowMs: () => Date.now(),
      token: (id) => this.#tokenOf(id),
      whyNoMember: (claim) => whyNoMember(claim, config.dataplane?.policy.zones ?? []),
      join: (claim, isThere) => this.#join(claim, isThere),
      founders: cluster.founders,
      member: (name) => this.#all().find((member) => member.name === name),
      welcome: () => ({
        ca: allOf(this.#ca, this.#authority.cert),
        secret: Buffer.from(cluster.secret).toString("hex"),
        founders: [...cluster.founders],
        members: this.#all().map(({ id, name, role, address, weight }) => ({
          id,
          name,
          role,
          address,
          weight,
        })),
      }),
      onRefused: (reason, why) => {
        refused[reason]++;
        log.line("warn", why);
      },
      onIssued: (text) => log.line("info", text),
      onFailed: (text) => log.line("error", text),
    });
  }

  listen(): Promise<void> {
    return this.#registrar.listen();
  }

  /** False when the CA's key was taken away: nobody is let in here any more. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Reads the CA's key again as well: it is replaced together with the files that `tls` is of. */
  setTls(tls: TlsMaterial): void {
    if (!this.#isOpen) return;
    const { config, log } = this.#options;
    const path = config.cluster.caKey!;
    if (!existsSync(path)) {
      this.close();
      log.line(
        "warn",
        `cluster.tls.caKey: ${path} is gone: this member lets nobody in until it starts with it`,
      );
      return;
    }
    this.#registrar.setTls(tls);
    this.#ca = tls.ca;
    try {
      this.#authority = requireAuthority(path, tls.ca);
    } catch (error) {
      log.line("warn", `${(error as Error).message}; certificates are signed with the key of before`);
    }
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#registrar.close();
  }

  /** Issues a token; its text is known to whoever asked, and to nobody else. */
  async issueToken({
    role,
    name,
    weight,
    ttlMs,
  }: TokenWish): Promise<{ readonly token: string; readonly expiresWallMs: number }> {
    const { cluster } = this.#options.config;
    const ticket = newTicket({
      fingerprint: fingerprint(this.#authority.cert),
      address: cluster.self.address,
      port: cluster.ports.registration,
    });
    const expiresWallMs = Date.now() + ttlMs;
    await this.#options.controller.command({
      type: "token",
      token: {
        id: ticket.id,
        key: maskKey(ticketKey(ticket), cluster.secret, ticket.id),
        role,
        weight,
        expiresWallMs,
        ...(name === undefined ? {} : { name }),
      },
    });
    return { token: formatTicket(ticket), expiresWallMs };
  }

  #tokenOf(id: string): JoinToken | undefined {
    const { controller, config } = this.#options;
    const token = controller.driver.state().tokens?.find((each) => each.id === id);
    return token && { ...token, key: maskKey(token.key, config.cluster.secret, id) };
  }

  /** One after the other: whether there is room for a machine depends on who was let in before it. */
  #join(claim: JoinQuestion, isThere: () => boolean): Promise<Subject | string> {
    const joined = this.#lastJoin.then(() =>
      isThere() ? this.#joinAlone(claim) : "it left before its turn came; the token is still unused",
    );
    this.#lastJoin = joined.catch(() => {});
    return joined;
  }

  async #joinAlone({ token, name, role, address, store }: JoinQuestion): Promise<Subject | string> {
    const { controller, config, logId } = this.#options;
    const { etcd } = config.control;
    if (etcd !== undefined) {
      const place = etcd.endpoints.join(", ");
      const why = whyOtherStore({ prefix: etcd.prefix, log: logId, place }, store);
      if (why !== undefined) return why;
    }
    const full = this.#whyFull(name, role);
    if (full !== undefined) return full;
    const aboveId = Math.max(...this.#all().map(({ id }) => id), ...config.cluster.founders);
    try {
      await controller.command({ type: "join", token, name, role, address, aboveId, atWallMs: Date.now() });
    } catch (error) {
      if (error instanceof SynwallError) return error.message;
      throw error;
    }
    const { tokens, members } = controller.driver.state();
    const usedBy = tokens?.find(({ id }) => id === token)?.usedBy;
    return members.find(({ id }) => id === usedBy) ?? "the token is not known any more: issue another one";
  }

  /** A pair stays two; who takes the place of one of them is welcome. */
  #whyFull(name: string, role: "node" | "witness"): string | undefined {
    if (!this.#options.config.cluster.isPair || role !== "node") return undefined;
    const others = this.#all().filter((member) => member.role === "node" && member.name !== name);
    if (others.length < 2) return undefined;
    return "cluster.quorum: the cluster is a pair of exactly two nodes: set it to majority on both and restart them, one after the other, then join; the token is still unused";
  }

  /** Everybody who belongs, this member included. */
  #all(): readonly MemberConfig[] {
    const { controller, config } = this.#options;
    return [config.cluster.self, ...controller.peers.present()];
  }
}

/** Throws SW_TLS_INVALID. */
function requireAuthority(path: string, ca: Buffer): KeyAndCertificate {
  const authority = readAuthority(path, ca);
  if (typeof authority !== "string") return authority;
  throw new SynwallError("SW_TLS_INVALID", `cluster.tls.caKey: ${authority}`);
}

/** The CAs that members trust, `own` first: while one is replaced, members of both must be believed by who joins. */
function allOf(ca: Buffer, own: string): string {
  let all = own;
  for (const block of blocksOf(ca)) {
    if (block !== own && all.length + block.length < PEM_CHARS_MAX) all += `\n${block}`;
  }
  return all;
}
