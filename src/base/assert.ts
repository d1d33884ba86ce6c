/**
 * Assertions: a broken invariant is a bug, and a bug ends the process, because failover is our error handler.
 */

/** An invariant did not hold. Never caught below the process boundary. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Throws AssertionError when `condition` is false. Not for bad input: that is a SynwallError. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}
