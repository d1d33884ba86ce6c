/**
 * Refusal lines: says in the log who sends heartbeats or redirected frames that are not believed, and why. The packet path only
 * counts; this looks at the counts every second, so a flood of forged packets costs a line and not a line each. Owns the words.
 */
import { ENVELOPE_REFUSALS, type EnvelopeRefusal } from "../../cluster/liveness/envelope.ts";
import { formatSender } from "./heartbeat-sender.ts";

/** Between two looks. */
export const REFUSAL_LINES_MS = 1_000;

export type HeartbeatRefusals = Readonly<Record<EnvelopeRefusal, number>>;

export const REDIRECT_REFUSALS = ["unsealed", "forged", "replayed", "unproven"] as const;
export type RedirectRefusal = (typeof REDIRECT_REFUSALS)[number];

export interface RefusalSources {
  /** Heartbeats refused so far, by reason. */
  heartbeats(): HeartbeatRefusals;
  /** Who sent the last one that was refused for that reason: heartbeat-sender.ts. */
  heartbeatSender(reason: EnvelopeRefusal): number;
  /** Absent on a witness. */
  readonly redirects?: {
    byReason(): Readonly<Record<RedirectRefusal, number>>;
    /** By the peer whose address they came from. */
    byPeer(): readonly { readonly name: string; readonly refused: number }[];
  };
}

const HEARTBEAT_WORDS: Readonly<Record<EnvelopeRefusal, string>> = {
  short: "they are cut short",
  foreign: "they are of another cluster, or no heartbeats at all",
  version: "they are of a version that is not known here",
  stranger: "they are from or for somebody who is no member here, or came by another link than they say",
  forged: "they are not authenticated by this cluster's secret",
  replayed: "they were received before",
  stale: "they are of a process that has ended",
  malformed: "what they say cannot be read",
  distant: "they crossed a router: only the witness may be so far away, at most cluster.witnessHops routers",
  crowded:
    "more came by one port than are looked at: somebody on its wire makes them up, or this node stood still for seconds",
};

const REDIRECT_WORDS: Readonly<Record<RedirectRefusal, string>> = {
  unsealed: "they are in clear text, and dataplane.sealRedirects asks for sealed ones",
  forged: "they are not sealed by this cluster's secret",
  replayed: "they were received before",
  unproven: "the peer has not proven itself by heartbeats yet",
};

export class RefusalLines {
  readonly #sources: RefusalSources;
  readonly #warn: (line: string) => void;
  #heartbeats: HeartbeatRefusals;
  #reasons: Readonly<Record<RedirectRefusal, number>> | undefined;
  readonly #peers = new Map<string, number>();

  constructor(sources: RefusalSources, warn: (line: string) => void) {
    this.#sources = sources;
    this.#warn = warn;
    this.#heartbeats = sources.heartbeats();
    this.#reasons = sources.redirects?.byReason();
    for (const { name, refused } of sources.redirects?.byPeer() ?? []) this.#peers.set(name, refused);
  }

  /** Every REFUSAL_LINES_MS. */
  tick(): void {
    this.#tellHeartbeats();
    this.#tellRedirects();
  }

  #tellHeartbeats(): void {
    const now = this.#sources.heartbeats();
    for (const reason of ENVELOPE_REFUSALS) {
      if (now[reason] === this.#heartbeats[reason]) continue;
      const sender = formatSender(this.#sources.heartbeatSender(reason));
      this.#warn(`refused heartbeats of ${sender}: ${HEARTBEAT_WORDS[reason]} (${reason})`);
    }
    this.#heartbeats = now;
  }

  #tellRedirects(): void {
    const { redirects } = this.#sources;
    const before = this.#reasons;
    if (redirects === undefined || before === undefined) return;
    const now = redirects.byReason();
    this.#reasons = now;
    const reasons = REDIRECT_REFUSALS.filter((reason) => now[reason] !== before[reason]);
    const names: string[] = [];
    for (const { name, refused } of redirects.byPeer()) {
      if (refused !== (this.#peers.get(name) ?? 0)) names.push(name);
      this.#peers.set(name, refused);
    }
    if (reasons.length === 0) return;
    const why = reasons.map((reason) => `${REDIRECT_WORDS[reason]} (${reason})`).join("; ");
    this.#warn(`refused redirected frames that came as ${names.join(", ") || "a peer's"}: ${why}`);
  }
}
