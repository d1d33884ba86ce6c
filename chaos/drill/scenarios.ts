/**
 * Scenarios: what each drill does to its victim, and what the cluster must have become before the drill is over.
 * Owns no traffic and no measuring (drill.ts).
 */

import { nowMs } from "../../src/node/clock.ts";
import { cutMember, killMember, startAgain } from "../lab/faults.ts";
import { type Lab, type SettleOptions, waitSettled } from "../lab/lab.ts";
import type { Scenario } from "./model.ts";

const MOVE_TIMEOUT_MS = 30_000;

export interface Injection {
  /** CLOCK_MONOTONIC, right before the fault. */
  readonly faultAtMs: number;
  /** The victim's process ended. */
  readonly isDead: boolean;
  /** The victim is dead or cut off: nothing can be replicated to it. */
  readonly isGone: boolean;
  /** What the rest must reach. */
  readonly settle: SettleOptions;
}

interface Script {
  /** The fault is the victim's return. */
  readonly isVictimDownBefore: boolean;
  /** Before traffic starts. */
  prepare(lab: Lab, victim: string): Promise<void>;
  inject(lab: Lab, victim: string, helper: string): Promise<Injection>;
}

const nothing = async (): Promise<void> => undefined;

export const SCRIPTS: Readonly<Record<Scenario, Script>> = {
  kill: {
    isVictimDownBefore: false,
    prepare: nothing,
    async inject(lab, victim) {
      const faultAtMs = await killMember(lab, victim);
      return { faultAtMs, isDead: true, isGone: true, settle: { without: [victim] } };
    },
  },
  silent: {
    isVictimDownBefore: false,
    prepare: nothing,
    async inject(lab, victim) {
      const faultAtMs = await cutMember(lab, victim, "all");
      return { faultAtMs, isDead: false, isGone: true, settle: { without: [victim] } };
    },
  },
  drain: {
    isVictimDownBefore: false,
    prepare: nothing,
    async inject(lab, victim, helper) {
      const faultAtMs = nowMs();
      await lab.context.ask(
        lab.paths.socket(helper),
        "drain",
        { node: victim, timeoutMs: MOVE_TIMEOUT_MS },
        { timeoutMs: MOVE_TIMEOUT_MS + 5_000 },
      );
      return { faultAtMs, isDead: false, isGone: false, settle: { without: [victim] } };
    },
  },
  rejoin: {
    isVictimDownBefore: true,
    async prepare(lab, victim) {
      const before = await lab.context.ask(lab.paths.socket(victim), "status", {});
      await killMember(lab, victim);
      await waitSettled(lab, { without: [victim], afterEpoch: before.epoch });
    },
    async inject(lab, victim) {
      const faultAtMs = await startAgain(lab, victim);
      return { faultAtMs, isDead: false, isGone: false, settle: {} };
    },
  },
};
