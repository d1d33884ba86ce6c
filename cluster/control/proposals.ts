/**
 * Proposals: those of this node that wait for their entry to be applied. A proposal is offered to Raft again when a leader
 * appears and every RETRY_TICKS after that; its id makes a second entry harmless, so nothing is lost over elections and
 * nothing is applied twice.
 * Owns waiting, retrying and giving up; driver.ts owns Raft.
 */
import { SynwallError } from "../../src/base/errors.ts";
import type { CommandResult } from "./model.ts";

/** Ticks until a proposal without an answer is offered again: its message to the leader may be lost. */
const RETRY_TICKS = 10;
/** Proposals of one node that may wait at a time. */
export const PROPOSALS_MAX = 256;

interface Waiting {
  readonly data: Uint8Array;
  readonly what: string;
  readonly deadlineMs: number;
  readonly resolve: (result: CommandResult) => void;
  readonly reject: (error: SynwallError) => void;
  ticksUntilRetry: number;
}

export class Proposals {
  readonly #waiting = new Map<string, Waiting>();

  get size(): number {
    return this.#waiting.size;
  }

  add(id: string, data: Uint8Array, what: string, deadlineMs: number): Promise<CommandResult> {
    if (this.#waiting.size >= PROPOSALS_MAX) {
      const message = `Cannot propose ${what}: ${PROPOSALS_MAX} proposals wait already`;
      return Promise.reject(new SynwallError("SW_CONTROL_REFUSED", message));
    }
    const earlier = this.#waiting.get(id);
    return new Promise((resolve, reject) => {
      const before = earlier?.resolve;
      const rejectBefore = earlier?.reject;
      this.#waiting.set(id, {
        data,
        what,
        deadlineMs,
        // Who asks again with the same id gets both answers.
        resolve: (result) => {
          before?.(result);
          resolve(result);
        },
        reject: (error) => {
          rejectBefore?.(error);
          reject(error);
        },
        ticksUntilRetry: 0,
      });
    });
  }

  settle(id: string, result: CommandResult): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    waiting.resolve(result);
  }

  /**
   * Offers each proposal that is due; `offer` answers false when there is nobody to take it. `isCertain`: what was taken
   * cannot get lost until retryAll().
   */
  offer(isCertain: boolean, offer: (data: Uint8Array) => boolean): void {
    for (const waiting of this.#waiting.values()) {
      if (waiting.ticksUntilRetry > 0) continue;
      if (!offer(waiting.data)) return;
      waiting.ticksUntilRetry = isCertain ? Number.POSITIVE_INFINITY : RETRY_TICKS;
    }
  }

  /** Another leader: what the old one was told may be lost. */
  retryAll(): void {
    for (const waiting of this.#waiting.values()) waiting.ticksUntilRetry = 0;
  }

  tick(nowMs: number): void {
    for (const [id, waiting] of this.#waiting) {
      if (waiting.ticksUntilRetry > 0) waiting.ticksUntilRetry--;
      if (nowMs < waiting.deadlineMs) continue;
      this.#waiting.delete(id);
      const message = `Cannot tell whether ${waiting.what} was decided: no majority answered in time`;
      waiting.reject(new SynwallError("SW_CONTROL_TIMEOUT", message));
    }
  }

  failAll(why: string): void {
    for (const waiting of this.#waiting.values()) {
      waiting.reject(
        new SynwallError("SW_CONTROL_TIMEOUT", `Cannot tell whether ${waiting.what} was decided: ${why}`),
      );
    }
    this.#waiting.clear();
  }
}
