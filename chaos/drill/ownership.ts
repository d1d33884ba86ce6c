/**
 * Exclusive ownership, seen from outside: from all members' journals, when each decided which slot, and whether two ever
 * decided one at the same time. Pure. Journals are stamped on one clock.
 */
import type { MemberEvent } from "./model.ts";

/** A member decided a slot from `fromMs` to `toMs`. */
export interface Reign {
  readonly slot: number;
  readonly member: string;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Overlap {
  readonly slot: number;
  readonly members: readonly [string, string];
  readonly fromMs: number;
  readonly forMs: number;
}

export interface ReignInput {
  /** Events of all members, in any order. */
  readonly events: readonly MemberEvent[];
  /** Who decided each slot when the window opened. */
  readonly ownersAtStart: readonly string[];
  readonly startMs: number;
  readonly endMs: number;
  /** Members whose process ended under way, and when: they write no more events. */
  readonly deaths: readonly { readonly member: string; readonly atMs: number }[];
}

interface MemberView {
  readonly slots: Map<number, number>;
  readonly owned: Set<number>;
  isFenced: boolean;
}

/**
 * All times in which a member decided a slot. A fenced member decides nothing, though it still has its slots. What a dead member
 * noted died with it: of a slot that another gained before that death, which only a hand-over gives, it counts as having let go
 * then. So a drill that kills says nothing about hand-overs under way; the simulator does.
 */
export function reigns(input: ReignInput): Reign[] {
  const found: Reign[] = [];
  const views = new Map<string, MemberView>();
  const view = (member: string): MemberView => {
    const known = views.get(member) ?? { slots: new Map(), owned: new Set(), isFenced: false };
    views.set(member, known);
    return known;
  };
  const open = (member: string, slot: number, atMs: number): void => {
    const { slots, isFenced } = view(member);
    if (!isFenced && !slots.has(slot)) slots.set(slot, atMs);
  };
  const close = (member: string, slot: number, atMs: number): void => {
    const fromMs = view(member).slots.get(slot);
    view(member).slots.delete(slot);
    if (fromMs !== undefined && atMs > fromMs) found.push({ slot, member, fromMs, toMs: atMs });
  };
  const steps = inOrder(input);
  for (const member of new Set(input.ownersAtStart)) view(member).isFenced = wasFenced(steps, member);
  input.ownersAtStart.forEach((member, slot) => {
    if (member === "") return;
    view(member).owned.add(slot);
    open(member, slot, input.startMs);
  });
  const silent = input.deaths.filter(({ member }) => !input.events.some((event) => event.member === member));
  for (const step of steps) {
    const { owned } = view(step.member);
    switch (step.kind) {
      case "slots-gained":
        for (const slot of step.slots) {
          for (const { member, atMs } of silent) {
            if (member === step.member || step.atMs >= atMs || !view(member).owned.delete(slot)) continue;
            close(member, slot, step.atMs);
          }
          owned.add(slot);
          open(step.member, slot, step.atMs);
        }
        break;
      case "slots-lost":
        for (const slot of step.slots) {
          owned.delete(slot);
          close(step.member, slot, step.atMs);
        }
        break;
      case "fenced":
        // A loop that stalled notices the end of its lease only when it runs again; until then it decided nothing.
        for (const slot of owned) close(step.member, slot, stalledSince(input.events, step));
        view(step.member).isFenced = true;
        break;
      case "unfenced":
        view(step.member).isFenced = false;
        for (const slot of owned) open(step.member, slot, step.atMs);
        break;
      case "death":
        for (const slot of owned) close(step.member, slot, step.atMs);
        views.delete(step.member);
        break;
    }
  }
  for (const [member, { slots }] of views) {
    for (const slot of [...slots.keys()]) close(member, slot, input.endMs);
  }
  return found;
}

/** Times in which two members decided one slot, longer than `toleranceMs` (how exactly events are stamped). */
export function overlapsOf(all: readonly Reign[], toleranceMs: number): Overlap[] {
  const bySlot = new Map<number, Reign[]>();
  for (const reign of all) bySlot.set(reign.slot, [...(bySlot.get(reign.slot) ?? []), reign]);
  const overlaps: Overlap[] = [];
  for (const [slot, list] of bySlot) {
    const sorted = list.toSorted((a, b) => a.fromMs - b.fromMs);
    sorted.forEach((first, i) => {
      for (const second of sorted.slice(i + 1)) {
        const forMs = Math.min(first.toMs, second.toMs) - second.fromMs;
        if (first.member === second.member || forMs <= toleranceMs) continue;
        overlaps.push({ slot, members: [first.member, second.member], fromMs: second.fromMs, forMs });
      }
    });
  }
  return overlaps;
}

/** At the start: the first that it notes in that life is that its fence ends. It was fenced before the window opened, then. */
function wasFenced(steps: readonly Step[], member: string): boolean {
  const kinds: readonly Step["kind"][] = ["fenced", "unfenced", "started", "death"];
  const first = steps.find((step) => step.member === member && kinds.includes(step.kind));
  return first?.kind === "unfenced";
}

/** A stall and the fence that it caused are stamped within this time. */
const SAME_MOMENT_MS = 5;

/** When the stall began that ended with `fence`; the moment of the fence itself when there was none. */
function stalledSince(events: readonly MemberEvent[], fence: Step): number {
  const stall = events.find(
    ({ kind, member, atMs }) =>
      kind === "stall" && member === fence.member && Math.abs(atMs - fence.atMs) <= SAME_MOMENT_MS,
  );
  const lateMs = Number(/late by ([\d.]+) ms/.exec(stall?.text ?? "")?.[1] ?? 0);
  return stall === undefined ? fence.atMs : Math.min(fence.atMs, stall.atMs - lateMs);
}

interface Step {
  readonly member: string;
  readonly kind: MemberEvent["kind"] | "death";
  readonly slots: readonly number[];
  readonly atMs: number;
}

/**
 * Each member's events as it wrote them, not by time: a busy loop stamps late what it did early, and what it wrote last is
 * what holds. A death comes before what the member wrote in its next life; without one its steps end with it.
 */
function inOrder(input: ReignInput): Step[] {
  const within = input.events.filter(({ atMs }) => atMs >= input.startMs && atMs <= input.endMs);
  const steps: Step[] = within.toSorted((a, b) => a.order - b.order);
  for (const { member, atMs } of input.deaths) {
    const next = steps.findIndex((step) => step.member === member && step.atMs > atMs);
    steps.splice(next < 0 ? steps.length : next, 0, { member, atMs, kind: "death", slots: [] });
  }
  return steps;
}
