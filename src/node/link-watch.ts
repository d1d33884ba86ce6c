/**
 * Link watch: gives the link tracker its facts and carries out what it wants. A zone's wire is lost without a carrier, and when it is this
 * node's fault that it and the others do not hear each other there. Asks the other nodes only while there is a reason. Owns the asking
 * and its pace; the rules are link-tracker.ts and silent-links.ts.
 */
import type { CommandResult, Member } from "../../cluster/control/model.ts";
import type { LinkHearing } from "../../cluster/liveness/model.ts";
import type { PeerReport } from "../../cluster/transport/transport.ts";
import type { Journal } from "./journal.ts";
import { type LinkCommand, LinkTracker } from "./link-tracker.ts";
import { isOurFault } from "./silent-links.ts";
import type { WorkerMirror } from "./worker-mirror.ts";
import { HEARING_LAG_MS } from "./zone-ears.ts";

const RETRY_MS = 500;
/**
 * A wire that is silent for less says nothing: switches that learn a new topology are, and so is a node that starts. And what nodes say
 * that they hear must be of after it fell silent, or one that still counts the other's last heartbeat takes itself for mute.
 */
const SILENT_MS = HEARING_LAG_MS + 200;
/** Hosts on a silent wire are asked at each look at first, then this seldom: it may stay as it is for days. */
const EAGER_MS = 3000;
const ASK_SELDOM_MS = 4000;

export interface LinkWatchOptions {
  readonly self: { readonly id: number; readonly name: string };
  /** Interface names of the zones; link number i + 1 is the i-th. */
  readonly zonePorts: readonly string[];
  readonly mirror: Pick<WorkerMirror, "carrier" | "hearing" | "hasAsked" | "isLinkUp" | "alive">;
  /** Has hosts on these links say that they are there. */
  readonly listen: (links: readonly number[]) => void;
  /** As committed; empty while this process is not admitted. */
  readonly members: () => readonly Member[];
  /** Rejects when the peer does not answer. */
  readonly ask: (peer: number) => Promise<Answer>;
  readonly propose: (command: LinkCommand) => Promise<CommandResult>;
  readonly journal: Journal;
}

type Answer = Pick<PeerReport, "lostLinks" | "hearing">;

/** A member without zones. */
export const NO_LINKS: Pick<LinkWatch, "lost" | "hearing"> = { lost: () => [], hearing: () => [] };

export class LinkWatch {
  readonly #options: LinkWatchOptions;
  readonly #tracker = new LinkTracker();
  /** Links on which some node and this one heard each other once: what a switch never let pass is no failure. */
  readonly #proven = new Set<number>();
  /** Proven links on which that is over, and since when. */
  readonly #silentSinceMs = new Map<number, number>();
  /** Those of them that are our fault, and what was heard there when that was found. */
  readonly #faulty = new Map<number, string>();
  #askedMs = Number.NEGATIVE_INFINITY;
  #isBusy = false;
  #nextMs = 0;

  constructor(options: LinkWatchOptions) {
    this.#options = options;
  }

  /** Zone links that are lost, by number. */
  lost(): number[] {
    return this.#links().filter((link) => !this.#hasCarrier(link) || this.#faulty.has(link));
  }

  /** Nothing comes through on a zone's port, although it has a carrier, and it is this node's fault. */
  isSilent(port: number): boolean {
    return this.#faulty.has(port + 1);
  }

  hearing(): readonly LinkHearing[] {
    return this.#options.mirror.hearing();
  }

  /** To be called often, and with `isNews` when a carrier changed. */
  tick(nowMs: number, isNews = false): void {
    if (this.#isBusy || (!isNews && nowMs < this.#nextMs)) return;
    this.#nextMs = nowMs + RETRY_MS;
    this.#listen(nowMs);
    this.#askHosts(nowMs);
    const suspects = [...this.#silentSinceMs].filter(([, sinceMs]) => nowMs - sinceMs >= SILENT_MS);
    if (suspects.length === 0 && this.lost().length === 0 && !this.#tracker.hasGivenUp) return;
    this.#isBusy = true;
    void this.#check(suspects.map(([link]) => link)).finally(() => {
      this.#isBusy = false;
    });
  }

  async #check(suspects: readonly number[]): Promise<void> {
    const { self, members, propose } = this.#options;
    const answers =
      suspects.length === 0 && this.lost().length === 0 ? new Map<number, Answer>() : await this.#askAll();
    for (const link of suspects) this.#judge(link, answers);
    const lost = new Set(this.lost());
    const lostByPeer = new Map([...answers].map(([id, { lostLinks }]) => [id, new Set(lostLinks)] as const));
    const command = this.#tracker.next({ selfId: self.id, members: members(), lost, lostByPeer });
    if (command === undefined) return;
    let result: CommandResult;
    try {
      result = await propose(command);
    } catch {
      return; // Nobody decided in time: the state will tell, and the next tick asks again.
    }
    if (result.ok) this.#note(command, lost);
    else if (command.state === "draining") this.#tracker.refused();
  }

  #askHosts(nowMs: number): void {
    const isSeldomDue = nowMs >= this.#askedMs + ASK_SELDOM_MS;
    const open = [...this.#silentSinceMs].filter(
      ([link, sinceMs]) => !this.#faulty.has(link) && (isSeldomDue || nowMs - sinceMs < EAGER_MS),
    );
    if (open.length === 0) return;
    this.#askedMs = nowMs;
    this.#options.listen(open.map(([link]) => link));
  }

  /** Which links are silent, as of now. */
  #listen(nowMs: number): void {
    const { mirror } = this.#options;
    const alive = mirror.alive();
    const peers = this.#activePeers().filter(({ id }) => alive.has(id));
    for (const link of this.#links()) {
      const isUp = peers.some(({ id }) => mirror.isLinkUp(id, link));
      if (isUp) this.#proven.add(link);
      if (isUp || peers.length === 0 || !this.#hasCarrier(link)) {
        this.#silentSinceMs.delete(link);
        this.#faulty.delete(link);
      } else if (this.#proven.has(link) && !this.#silentSinceMs.has(link)) {
        this.#silentSinceMs.set(link, nowMs);
      }
    }
  }

  /** A verdict stays until something else is heard there: hosts that fall silent for a while are no news. */
  #judge(link: number, answers: ReadonlyMap<number, Answer>): void {
    const onLink = (hearing: readonly LinkHearing[]): LinkHearing | undefined =>
      hearing.find((each) => each.link === link);
    const ours = onLink(this.hearing());
    if (ours === undefined || !this.#silentSinceMs.has(link)) return;
    const heard = JSON.stringify(ours);
    if (this.#faulty.get(link) === heard) return;
    const peers = new Map<number, LinkHearing>();
    for (const [id, { lostLinks, hearing }] of answers) {
      const theirs = onLink(hearing);
      if (theirs !== undefined && !lostLinks.includes(link)) peers.set(id, theirs);
    }
    const { self, mirror } = this.#options;
    if (isOurFault(self.id, ours, mirror.hasAsked(link), peers)) this.#faulty.set(link, heard);
    else this.#faulty.delete(link);
  }

  async #askAll(): Promise<Map<number, Answer>> {
    const { ask } = this.#options;
    const answers = new Map<number, Answer>();
    await Promise.all(
      this.#activePeers().map(async ({ id }) => {
        const answer = await ask(id).catch(() => undefined);
        if (answer !== undefined) answers.set(id, answer);
      }),
    );
    return answers;
  }

  #activePeers(): Member[] {
    const { self, members } = this.#options;
    return members().filter(({ id, role, state }) => id !== self.id && role === "node" && state === "active");
  }

  #links(): number[] {
    return [...this.#options.zonePorts.keys()].map((port) => port + 1);
  }

  #hasCarrier(link: number): boolean {
    return this.#options.mirror.carrier(link - 1);
  }

  #note(command: LinkCommand, lost: ReadonlySet<number>): void {
    const { self, zonePorts, journal } = this.#options;
    if (command.state === "draining") {
      const names = (isCarrier: boolean): string =>
        [...lost]
          .filter((link) => this.#hasCarrier(link) === isCarrier)
          .map((link) => zonePorts[link - 1])
          .join(", ");
      const [dark, silent] = [names(false), names(true)];
      const why = [
        ...(dark === "" ? [] : [`no carrier on ${dark}`]),
        ...(silent === "" ? [] : [`nothing comes through on ${silent}, though it has a carrier`]),
      ];
      journal.add("drain", `${self.name} gives up its slots: ${why.join("; ")}`, { node: self.id });
    } else {
      const why = lost.size === 0 ? "its links are back" : "no active node has more links";
      journal.add("rejoin", `${self.name} takes part again: ${why}`, { node: self.id });
    }
  }
}
