/**
 * Succession: to whom this member hands leadership, and when. A member that ends, or was just drained, should not lead; nor should one
 * that a peer turns away because it joined while that peer was away. Such a peer hears no leader that it does not know, and so never
 * hears of it: an older member has to bring it up to date. Owns that; who leads else is Raft's business.
 */
import type { ControlDriver } from "../../cluster/control/control-driver.ts";
import type { ClusterState, Command } from "../../cluster/control/model.ts";
import type { Timers } from "../../cluster/control/timers.ts";
import type { Journal } from "./journal.ts";

/** A transfer takes a round trip; who stops does not wait longer than this for it. */
const HAND_OVER_MS_MAX = 500;

export interface SuccessionOptions {
  readonly self: { readonly id: number; readonly name: string };
  readonly driver: Pick<ControlDriver, "state" | "status" | "transferLeader">;
  readonly alive: () => ReadonlySet<number>;
  readonly timers: Pick<Timers, "after" | "afterInput">;
  readonly journal: Pick<Journal, "add">;
  readonly nameOf: (id: number) => string;
}

export class Succession {
  readonly #options: SuccessionOptions;
  readonly #watchers = new Set<() => void>();

  constructor(options: SuccessionOptions) {
    this.#options = options;
  }

  /**
   * Hands leadership over when this member has it and an active node can take it, so that nobody waits for an election when
   * this process ends. Resolves when another leads, or when that takes too long.
   */
  handOver(): Promise<void> {
    return this.#handTo(this.#heir(), "");
  }

  /** `peer` turned this member away as one that it does not know. */
  turnedAway(peer: number): void {
    const { self, driver, nameOf } = this.#options;
    if (this.#watchers.size > 0) return;
    const isMember = driver.state().members.some(({ id, state }) => id === peer && state !== "removed");
    // Each hands over to an older one than itself at most: that ends.
    const elder = isMember ? this.#heir((id) => id < self.id && id !== peer) : undefined;
    void this.#handTo(elder, `, as ${nameOf(peer)} was away when ${self.name} joined`);
  }

  /** Somebody leads, or nobody (0). */
  observeLead(lead: number): void {
    if (lead === 0 || lead === this.#options.self.id) return;
    for (const done of this.#watchers) done();
  }

  /** A node that was just drained is about to be stopped: it should not lead then. */
  observe({ members }: ClusterState, command: Command | undefined): void {
    const { self, timers } = this.#options;
    if (command?.type !== "setState" || command.node !== self.id) return;
    if (members.find((member) => member.id === self.id)?.state !== "drained") return;
    // Not from within the driver's own turn.
    timers.afterInput(() => void this.handOver());
  }

  #handTo(heir: number | undefined, why: string): Promise<void> {
    const { self, driver, timers, journal, nameOf } = this.#options;
    if (heir === undefined || driver.status().lead !== self.id) return Promise.resolve();
    journal.add("leader", `${self.name} hands leadership to ${nameOf(heir)}${why}`, { node: heir });
    return new Promise((resolve) => {
      const done = (): void => {
        callOff();
        this.#watchers.delete(done);
        resolve();
      };
      const callOff = timers.after(HAND_OVER_MS_MAX, done);
      this.#watchers.add(done);
      driver.transferLeader(heir);
    });
  }

  #heir(isRight: (id: number) => boolean = () => true): number | undefined {
    const { self, driver, alive } = this.#options;
    const heard = alive();
    return driver
      .state()
      .members.find(
        ({ id, role, state }) =>
          id !== self.id && role === "node" && state === "active" && heard.has(id) && isRight(id),
      )?.id;
  }
}
