/**
 * Certificate watch: knows until when this member's certificate and its CA hold, gets a new certificate in time where a member has the
 * CA's key, and says so when that cannot be. Owns when; how a certificate is had is certificates.ts. Connections outlive a certificate,
 * so a cluster that lets it run out stands until the first link flaps, and then loses all of them at once.
 */
import { X509Certificate } from "node:crypto";
import { issuerOf, parseAll, type TlsMaterial } from "../../cluster/transport/tls.ts";
import type { Certificates } from "./certificates.ts";
import type { Log } from "./log.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Between two looks; the first is an hour after the start, when the registrar is up as well. */
export const CERTIFICATE_WATCH_MS = HOUR_MS;
/** A certificate is renewed when no more than this part of its life is left. */
const RENEW_PART = 1 / 3;
/** Between two attempts. */
const RETRY_MS = DAY_MS;
/** With so little left, or this part of a short life, `status` asks for an operator. */
const ALERT_MS = 30 * DAY_MS;
const ALERT_PART = 1 / 6;

export interface CertificateWatchOptions {
  readonly member: string;
  readonly certificates: Pick<Certificates, "tls" | "rotate">;
  readonly wallMs: () => number;
  readonly log: Pick<Log, "line">;
}

interface Validity {
  readonly fromMs: number;
  readonly untilMs: number;
}

export class CertificateWatch {
  readonly #options: CertificateWatchOptions;
  #of: TlsMaterial | undefined;
  #own: Validity = { fromMs: 0, untilMs: 0 };
  #ca: Validity = { fromMs: 0, untilMs: 0 };
  #isBusy = false;
  #triedMs = Number.NEGATIVE_INFINITY;
  #failure = "";

  constructor(options: CertificateWatchOptions) {
    this.#options = options;
  }

  /** Wall time: the member's own certificate holds until then. */
  get untilMs(): number {
    this.#read();
    return this.#own.untilMs;
  }

  /** Of the CA that signed it. */
  get caUntilMs(): number {
    this.#read();
    return this.#ca.untilMs;
  }

  /** To be called every CERTIFICATE_WATCH_MS. */
  async tick(): Promise<void> {
    const { wallMs, certificates, log } = this.#options;
    const nowMs = wallMs();
    if (this.#isBusy || !this.#isDue(nowMs)) return;
    this.#isBusy = true;
    this.#triedMs = nowMs;
    try {
      const { validTo, from } = await certificates.rotate();
      this.#failure = "";
      log.line("info", `this member's certificate was renewed by ${from}: it holds until ${validTo}`);
    } catch (error) {
      this.#failure = oneLine(error instanceof Error ? error.message : String(error));
      log.line(
        isNearEnd(this.#own, nowMs) ? "warn" : "info",
        `this member's certificate ends ${day(this.untilMs)} and could not be renewed, which is tried again each day: ${this.#failure}`,
      );
    } finally {
      this.#isBusy = false;
    }
  }

  /** What `status` says to an operator. */
  alerts(): string[] {
    const { member, wallMs } = this.#options;
    const nowMs = wallMs();
    const lines: string[] = [];
    const own = this.#read();
    const ca = this.#ca;
    if (isNearEnd(ca, nowMs)) {
      lines.push(
        `the cluster's CA ${ends(ca.untilMs, nowMs)}: from then on no member can connect to another anew; replace it (docs/members.md, "Change")`,
      );
    }
    if (isNearEnd(own, nowMs) && own.untilMs < ca.untilMs) {
      const why = this.#failure === "" ? "" : ` (it could not be renewed: ${this.#failure})`;
      lines.push(
        `the certificate of ${member} ${ends(own.untilMs, nowMs)}${why}: connections that stand stay, none can be made anew, and it does not start again; run 'synwall cluster rotate' on it, or replace its files and run 'synwall cluster rotate --reload'`,
      );
    }
    return lines;
  }

  /** One that ends with its CA cannot be had for longer. */
  #isDue(nowMs: number): boolean {
    const { fromMs, untilMs } = this.#read();
    const isLate = untilMs - nowMs < (untilMs - fromMs) * RENEW_PART;
    return isLate && untilMs < this.#ca.untilMs && Math.abs(nowMs - this.#triedMs) >= RETRY_MS;
  }

  #read(): Validity {
    const tls = this.#options.certificates.tls;
    if (tls !== this.#of) {
      const own = new X509Certificate(tls.cert);
      this.#own = validity(own);
      // The files were judged: one of them signed it.
      this.#ca = validity(issuerOf(own, parseAll(tls.ca)!)!);
      this.#of = tls;
    }
    return this.#own;
  }
}

function validity({ validFrom, validTo }: X509Certificate): Validity {
  return { fromMs: Date.parse(validFrom), untilMs: Date.parse(validTo) };
}

/** Each registrar that was asked has a line of its own. */
function oneLine(text: string): string {
  return text.replaceAll(":\n", ": ").replaceAll("\n", "; ");
}

function isNearEnd({ fromMs, untilMs }: Validity, nowMs: number): boolean {
  return untilMs - nowMs < Math.min(ALERT_MS, (untilMs - fromMs) * ALERT_PART);
}

function ends(untilMs: number, nowMs: number): string {
  const days = Math.floor((untilMs - nowMs) / DAY_MS);
  if (untilMs <= nowMs) return `ended ${day(untilMs)}`;
  return `ends ${day(untilMs)}, in ${days} day${days === 1 ? "" : "s"}`;
}

function day(ms: number): string {
  return `on ${new Date(ms).toISOString().slice(0, 10)}`;
}
