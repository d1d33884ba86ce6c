/**
 * Exit status: what a command's end tells scripts. 0 done; 1 the cluster refused, or a drill failed; 2 the command, the
 * configuration or the start was wrong. Bugs are not caught: Node.js prints them and ends with its own status.
 */
import type { ErrorCode } from "../base/errors.ts";

export const EXIT_OK = 0;
export const EXIT_REFUSED = 1;
export const EXIT_WRONG = 2;

const REFUSED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "SW_CONTROL_REFUSED",
  "SW_CONTROL_TIMEOUT",
  "SW_DRILL_FAILED",
  "SW_UPGRADE_STOPPED",
]);

export function exitStatusOf(code: ErrorCode): number {
  return REFUSED.has(code) ? EXIT_REFUSED : EXIT_WRONG;
}
