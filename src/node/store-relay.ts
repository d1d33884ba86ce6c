/**
 * Store relay: between the dataplane worker, which holds the lease and asks for fences, and the store's voice in the control thread.
 * Owns which fences wait: the store's word about one is there only when the takeover is committed.
 */
import type { StoreVoice } from "../../cluster/control/control-driver.ts";
import type { FenceAsk, FenceReply } from "../../cluster/takeover/messages.ts";
import type { FromWorker } from "./worker-protocol.ts";

export type StoreQuestion = Extract<FromWorker, { type: "storeLease" | "storeFence" }>;

export interface StoreRelayOptions {
  /** Absent: no store votes, and nobody asks. */
  readonly vote: StoreVoice | undefined;
  readonly answer: (answer: number | FenceReply) => void;
}

export class StoreRelay {
  readonly #options: StoreRelayOptions;
  /** By node: the latest ask that could not be answered. */
  readonly #waiting = new Map<number, FenceAsk>();

  constructor(options: StoreRelayOptions) {
    this.#options = options;
  }

  ask(question: StoreQuestion): void {
    const { vote, answer } = this.#options;
    if (vote === undefined) return;
    if (question.type === "storeFence") {
      this.#waiting.set(question.ask.node, question.ask);
      this.stateChanged();
      return;
    }
    void vote.lease(question).then((isGiven) => {
      if (isGiven) answer(question.seq);
    });
  }

  /** The worker was told of another state. */
  stateChanged(): void {
    const { vote, answer } = this.#options;
    for (const [node, { ask, epoch }] of this.#waiting) {
      const state = vote?.fence(node, epoch);
      if (state === undefined) continue;
      this.#waiting.delete(node);
      answer({ ask, node, ...state });
    }
  }
}
