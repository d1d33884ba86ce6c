/**
 * Model of the client checks: what a check is, what it is given, and what comes out. The report is plain JSON-safe data.
 * Owns no client (checks/) and no order (suite.ts).
 */
import type { LabFeatures } from "../lab/features.ts";
import type { HostProcess, Outcome, RunInHost } from "./hosts.ts";

export type Family = 4 | 6;
/** What happens to the cluster while the clients work. */
export const DURINGS = ["nothing", "kill"] as const;
export type During = (typeof DURINGS)[number];

/** `not-yet`: it failed, or was not tried, and what it needs is switched off in this lab. Never counted as passed. */
export type Verdict = "pass" | "fail" | "not-yet";

export interface Finding {
  readonly check: string;
  readonly family: Family;
  readonly during: During;
  readonly verdict: Verdict;
  /** One line: what was seen. */
  readonly detail: string;
  readonly tookMs: number;
}

export interface ClientReport {
  readonly lab: string;
  readonly profile: string;
  readonly driver: string;
  readonly features: LabFeatures;
  /** Nodes that were killed, in order. */
  readonly victims: readonly string[];
  readonly findings: readonly Finding[];
  readonly passed: number;
  readonly failed: number;
  readonly notYet: number;
}

/** Something that a client saw and should not have: the check fails with this line. */
export class CheckFailure extends Error {}

export interface Check {
  readonly name: string;
  /** What is done and expected, in a few words. */
  readonly what: string;
  /** Without this feature a failure is no surprise. */
  readonly needs?: keyof LabFeatures;
  /** Absent: both. */
  readonly families?: readonly Family[];
  /** Does it and answers what it saw. Throws CheckFailure. */
  run(place: Place): Promise<string>;
}

/** Addresses of one family, as a client sees them. */
export interface Addresses {
  /** The client's own. */
  readonly source: string;
  readonly server: string;
  readonly hop: string;
  readonly far: string;
  /** Another address of the same host, about whose path nobody else learns anything. */
  readonly farOther: string;
  /** What the first hop of a path may call itself. */
  readonly gateways: readonly string[];
  /** Root of the web server on the inside, as the outside asks for it. */
  readonly insideUrl: string;
  /** What the outside may see of the client. */
  readonly seenAs: readonly string[];
}

/** Files that the servers hold. */
export interface Blob {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Where one check runs. */
export interface Place {
  readonly family: Family;
  readonly during: During;
  readonly at: Addresses;
  /** How long a transfer must last: beyond the fault when there is one. */
  readonly seconds: number;
  /** A file that takes so long at `bytesPerSecond`. */
  readonly blob: Blob;
  /** A file that takes no time. */
  readonly small: Blob;
  readonly bytesPerSecond: number;
  /** What a datagram service may lose, as time without answers. */
  readonly silenceMsMax: number;
  /** An empty folder for this check alone. */
  readonly directory: string;
  /** Certificate of the web server. */
  readonly caFile: string;
  readonly sshKeyFile: string;
  readonly run: RunInHost;
  start(host: string, command: readonly string[]): HostProcess;
  /** A port that no other check listens on. */
  nextPort(): number;
  /** Waits until something listens on `port` of `host`. Throws CheckFailure. */
  listening(host: string, port: number): Promise<void>;
  /** Says that what is under way stands; answers when the fault has happened, at once when there is none. */
  struck(): Promise<void>;
  pause(ms: number): Promise<void>;
}

/** The last line that a failed command said. */
export function lastWords({ out, err, status, signal, isTimeout }: Outcome): string {
  const said = err.trim() === "" ? out : err;
  const last = said.trim().split("\n").at(-1)?.trim() ?? "";
  const end = isTimeout ? "time ran out" : `status ${signal ?? status}`;
  return last === "" ? end : `${end}: ${last.slice(0, 160)}`;
}
