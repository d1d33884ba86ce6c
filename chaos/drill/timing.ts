/**
 * Timing: when a takeover was noticed, steered, decided and active, from the members' journals. Pure.
 */
import type { DrillMeasurement, MemberEvent } from "./model.ts";

export interface TimingInput {
  readonly events: readonly MemberEvent[];
  readonly victim: { readonly id: number; readonly name: string };
  readonly faultAtMs: number;
  readonly epochBefore: number;
}

export type Timing = Pick<DrillMeasurement, "detectMs" | "steerMs" | "decideMs" | "activateMs">;

/**
 *   detect    the first other member judges the victim dead
 *   steer     the first other node draws the victim's packets to itself
 *   decide    the first other member knows the new epoch
 *   activate  the last of the slots that the others gained by that epoch is theirs to decide
 */
export function timingOf({ events, victim, faultAtMs, epochBefore }: TimingInput): Timing {
  const others = events.filter(({ member, atMs }) => member !== victim.name && atMs >= faultAtMs);
  const first = (matches: (event: MemberEvent) => boolean): number | null => {
    const times = others.filter(matches).map(({ atMs }) => atMs);
    return times.length === 0 ? null : Math.min(...times) - faultAtMs;
  };
  const decided = others
    .filter(({ kind, epoch }) => kind === "epoch-committed" && epoch > epochBefore)
    .toSorted((a, b) => a.atMs - b.atMs)[0];
  const gained = others.filter(({ kind, epoch }) => kind === "slots-gained" && epoch === decided?.epoch);
  return {
    detectMs: first(({ kind, node }) => kind === "peer-down" && node === victim.id),
    steerMs: first(({ kind }) => kind === "steered"),
    decideMs: decided === undefined ? null : decided.atMs - faultAtMs,
    activateMs: gained.length === 0 ? null : Math.max(...gained.map(({ atMs }) => atMs)) - faultAtMs,
  };
}
