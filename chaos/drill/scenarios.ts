/**
 * Scenarios: what each drill does to its victim, and what the cluster must have become before the drill is over.
 * Owns no traffic and no measuring (drill.ts).
 */
import type { SettleOptions } from "../lab/settling.ts";
import type { Scenario } from "./model.ts";
import { type Stage, waitSettledOn } from "./stage.ts";

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
  prepare(stage: Stage, victim: string): Promise<void>;
  inject(stage: Stage, victim: string, helper: string): Promise<Injection>;
}

const nothing = async (): Promise<void> => undefined;

export const SCRIPTS: Readonly<Record<Scenario, Script>> = {
  kill: {
    isVictimDownBefore: false,
    prepare: nothing,
    async inject(stage, victim) {
      const faultAtMs = await stage.kill(victim);
      return { faultAtMs, isDead: true, isGone: true, settle: { without: [victim] } };
    },
  },
  silent: {
    isVictimDownBefore: false,
    prepare: nothing,
    async inject(stage, victim) {
      const faultAtMs = await stage.cutAll(victim);
      return { faultAtMs, isDead: false, isGone: true, settle: { without: [victim] } };
    },
  },
  drain: {
    isVictimDownBefore: false,
    prepare: nothing,
    async inject(stage, victim, helper) {
      const faultAtMs = stage.nowMs();
      await stage.ask(
        helper,
        "drain",
        { node: victim, timeoutMs: MOVE_TIMEOUT_MS },
        { timeoutMs: MOVE_TIMEOUT_MS + 5_000 },
      );
      return { faultAtMs, isDead: false, isGone: false, settle: { without: [victim] } };
    },
  },
  rejoin: {
    isVictimDownBefore: true,
    async prepare(stage, victim) {
      const before = await stage.ask(victim, "status", {});
      await stage.kill(victim);
      await waitSettledOn(stage, { without: [victim], afterEpoch: before.epoch });
    },
    async inject(stage, victim) {
      const faultAtMs = await stage.start(victim);
      return { faultAtMs, isDead: false, isGone: false, settle: {} };
    },
  },
};
