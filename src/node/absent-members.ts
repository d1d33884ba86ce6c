/**
 * Absent members: since when this member hears nothing of another. Owns when that was long enough for declaring it down; whether this
 * member may is the controller's.
 */
import type { Member } from "../../cluster/control/model.ts";

/** A member that nobody hears and nobody saw dying. */
const ABSENT_MS = 3000;

export class AbsentMembers {
  readonly #sinceMs = new Map<number, number>();

  /** It has `patienceMs` from now on, if that is less than one that nobody saw dying has. */
  expect(node: number, patienceMs: number, nowMs: number): void {
    this.#sinceMs.set(node, nowMs - Math.max(0, ABSENT_MS - patienceMs));
  }

  forget(): void {
    this.#sinceMs.clear();
  }

  /** Those of `members` that have been absent for long; call it again and again, with those that are heard. */
  due(members: readonly Member[], alive: ReadonlySet<number>, nowMs: number): number[] {
    const due: number[] = [];
    for (const { id, state } of members) {
      if (alive.has(id) || state === "down" || state === "removed") {
        this.#sinceMs.delete(id);
        continue;
      }
      const sinceMs = this.#sinceMs.get(id) ?? nowMs;
      this.#sinceMs.set(id, sinceMs);
      if (nowMs - sinceMs >= ABSENT_MS) due.push(id);
    }
    return due;
  }
}
