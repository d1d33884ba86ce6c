/**
 * Disk guard: the rule by which a node leaves in order while its disk fills up, and takes part again when there is room. Pure:
 * facts in, at most one command out; asked again until nothing is left to do. Owns no disk and no clock (disk-watch.ts).
 *
 *   taking part --less room than the limit, and another active node is there--> draining, drained
 *        ^                                                                           |
 *        '------------ room for the limit and a half, or no active node left --------'
 *
 * The last active node stays: with little room it still forwards, and when a write fails it ends no worse than if it had left. A
 * drain that somebody else asked for is never ended here, nor is one of a node that was disabled meanwhile: it is the operator's then.
 */
import type { Command, Member } from "../../cluster/control/model.ts";

/** Room to come back, in shares of the limit: one log file more or less must not move slots to and fro. */
const ENOUGH_LIMITS = 1.5;

export type DiskCommand = Extract<Command, { type: "setState" }>;

export class DiskGuard {
  /** This process asked for the drain that is, or may be, going on. */
  #hasGivenUp = false;
  #isShort = false;

  /** There is too little room, and there was not enough since. */
  get isShort(): boolean {
    return this.#isShort;
  }

  /** A measurement: there is room for more than the limit, or not. True: this is news. */
  measure(freeBytes: number, freeBytesMin: number): boolean {
    const isShort = freeBytes < (this.#isShort ? freeBytesMin * ENOUGH_LIMITS : freeBytesMin);
    const isNews = isShort !== this.#isShort;
    this.#isShort = isShort;
    return isNews;
  }

  /** What is to be proposed now, by the last measurement. Ask again when it was decided, or later when nobody decided. */
  next(selfId: number, members: readonly Member[]): DiskCommand | undefined {
    const { state, isDisabled = false } = members.find((member) => member.id === selfId) ?? {};
    const isOtherActive = members.some(
      (member) => member.id !== selfId && member.role === "node" && member.state === "active",
    );
    if (state !== "draining" && state !== "drained") {
      const isPart = state === "active" || state === "joining";
      this.#hasGivenUp = isPart && this.#isShort && isOtherActive;
      return this.#hasGivenUp ? { type: "setState", node: selfId, state: "draining" } : undefined;
    }
    if (isDisabled) this.#hasGivenUp = false;
    if (!this.#hasGivenUp || (this.#isShort && isOtherActive)) return undefined;
    return { type: "setState", node: selfId, state: state === "draining" ? "active" : "joining" };
  }

  /** The cluster refused to let this node give up. */
  refused(): void {
    this.#hasGivenUp = false;
  }
}
