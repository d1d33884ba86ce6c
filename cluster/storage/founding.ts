/**
 * Founding: what a log was begun with, written at the head of each of its segments. Owns what may never change for a log; the
 * bytes are wal-record.ts.
 *
 * Voters: two members whose logs count different voters can both have a majority ({1, 2, 3} has {2, 3}, and {1, 2, 3, 4, 5} has
 * {1, 4, 5}), so a member whose configuration lists others does not start.
 * Slots: the state machine begins with them, today's configuration or not; control/driver.ts compares what came of it.
 * Log: names the log. A member that comes up with another one has forgotten what it voted (control/machine.ts).
 */
import { SynwallError } from "../../src/base/errors.ts";

export interface Founding {
  /** Ids of the voters, in any order. */
  readonly voters: readonly number[];
  readonly slots: number;
  /** Random; empty in a log that is older than these names. */
  readonly log: string;
}

/** Throws SW_CLUSTER_DIFFERS. `where`: the log. */
export function requireSameVoters(where: string, found: readonly number[], wanted: readonly number[]): void {
  const [had, has] = [ids(found), ids(wanted)];
  if (had === has) return;
  throw new SynwallError(
    "SW_CLUSTER_DIFFERS",
    `cluster.members: ${where} was begun with members ${had}, the configuration has ${has}: list ${had} again, whoever joined or left since; the log tells who belongs today`,
  );
}

function ids(voters: readonly number[]): string {
  return [...voters].sort((a, b) => a - b).join(", ");
}
