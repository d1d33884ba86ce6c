/**
 * Through a fault: how one command of a check is carried across what happens to the cluster, and the common ways to judge it.
 */
import type { HostProcess, Outcome } from "../hosts.ts";
import { CheckFailure, lastWords, type Place } from "../model.ts";

/** From the start of a transfer until it is surely under way. */
const GET_GOING_MS = 2_000;
/** Beyond its own length: connecting, a stall, the end. */
const PATIENCE_MS = 20_000;

/** The command's end. With a fault: it must be under way before and end by itself after it. */
export async function throughFault(place: Place, running: HostProcess): Promise<Outcome> {
  const limitMs = place.seconds * 1000 + PATIENCE_MS;
  if (place.during === "nothing") return running.within(limitMs);
  await place.pause(GET_GOING_MS);
  if (running.hasEnded) return running.ended; // It failed, or was too quick: its judge sees which.
  await place.struck();
  if (running.hasEnded) throw new CheckFailure(`ended before the fault: ${lastWords(await running.ended)}`);
  return running.within(limitMs);
}

/** Throws CheckFailure with the command's last words unless it ended well. */
export function expectSuccess(outcome: Outcome, what: string): Outcome {
  if (outcome.status !== 0) throw new CheckFailure(`${what}: ${lastWords(outcome)}`);
  return outcome;
}

/** Answers where `expected` is found in what was said, or fails with what was said instead. */
export function expectMatch(text: string, expected: RegExp, what: string): RegExpExecArray {
  const match = expected.exec(text);
  if (match === null) throw new CheckFailure(`${what}: ${text.trim().split("\n").at(-1) ?? "nothing"}`);
  return match;
}

/** An address as URLs write it. */
export function inUrl(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** First line of an error, short enough for a table. */
export function lastError(error: string): string {
  return error.split("\n")[0]!.slice(0, 160);
}
