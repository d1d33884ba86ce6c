/**
 * Link watch: gives the link tracker its facts and carries out what it wants. Asks the other nodes for their carriers only while
 * one of our own is lost. Owns the asking and its pace; the rule is link-tracker.ts.
 */
import type { CommandResult, Member } from "../../cluster/control/model.ts";
import type { Journal } from "./journal.ts";
import { type LinkCommand, LinkTracker } from "./link-tracker.ts";

const RETRY_MS = 500;

export interface LinkWatchOptions {
  readonly self: { readonly id: number; readonly name: string };
  /** Interface names of the zones; link number i + 1 is the i-th. */
  readonly zonePorts: readonly string[];
  readonly carrier: (port: number) => boolean;
  /** As committed; empty while this process is not admitted. */
  readonly members: () => readonly Member[];
  /** The links that a peer lost. Rejects when it does not answer. */
  readonly ask: (peer: number) => Promise<readonly number[]>;
  readonly propose: (command: LinkCommand) => Promise<CommandResult>;
  readonly journal: Journal;
}

export class LinkWatch {
  readonly #options: LinkWatchOptions;
  readonly #tracker = new LinkTracker();
  #isBusy = false;
  #nextMs = 0;

  constructor(options: LinkWatchOptions) {
    this.#options = options;
  }

  /** Zone links without a carrier, by number. */
  lost(): number[] {
    const { zonePorts, carrier } = this.#options;
    return [...zonePorts.keys()].filter((port) => !carrier(port)).map((port) => port + 1);
  }

  /** To be called often, and with `isNews` when a carrier changed. */
  tick(nowMs: number, isNews = false): void {
    if (this.#isBusy || (!isNews && nowMs < this.#nextMs)) return;
    this.#nextMs = nowMs + RETRY_MS;
    const lost = this.lost();
    if (lost.length === 0 && !this.#tracker.hasGivenUp) return;
    this.#isBusy = true;
    void this.#check(new Set(lost)).finally(() => {
      this.#isBusy = false;
    });
  }

  async #check(lost: ReadonlySet<number>): Promise<void> {
    const { self, members, propose } = this.#options;
    const lostByPeer = lost.size === 0 ? new Map<number, ReadonlySet<number>>() : await this.#askAll();
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

  async #askAll(): Promise<Map<number, ReadonlySet<number>>> {
    const { self, members, ask } = this.#options;
    const answers = new Map<number, ReadonlySet<number>>();
    const peers = members().filter((member) => member.id !== self.id && member.state === "active");
    await Promise.all(
      peers.map(async ({ id, role }) => {
        if (role !== "node") return;
        const links = await ask(id).catch(() => undefined);
        if (links !== undefined) answers.set(id, new Set(links));
      }),
    );
    return answers;
  }

  #note(command: LinkCommand, lost: ReadonlySet<number>): void {
    const { self, zonePorts, journal } = this.#options;
    const names = [...lost].map((link) => zonePorts[link - 1]).join(", ");
    if (command.state === "draining") {
      journal.add("drain", `${self.name} gives up its slots: no carrier on ${names}`, { node: self.id });
    } else {
      const why = lost.size === 0 ? "its carriers are back" : "no active node has more links";
      journal.add("rejoin", `${self.name} takes part again: ${why}`, { node: self.id });
    }
  }
}
