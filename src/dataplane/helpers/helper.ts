/**
 * Helper: the one interface of application layer gateways, and what all of them work with. Owns no protocol.
 *
 * What a helper does not understand, may not do or has no room for passes as it came and opens nothing. Only what would leave
 * the two ends with different streams is dropped: its sender repeats it.
 */

import { NONE } from "../flow-layout.ts";
import type { Adjuster } from "./adjust.ts";
import type { ExpectationLimits, ExpectationRequest } from "./expectation.ts";
import type { Expectations } from "./expectations.ts";
import { type HelperContext, SOURCE_OUT } from "./helper-context.ts";

/** The packet leaves as it came. */
export const INSPECT_PASS = 0;
/** Its payload was changed; lengths and checksums are right. */
export const INSPECT_EDITED = 1;
export const INSPECT_DROP = 2;

export interface Helper {
  /** HELPER_* bit of rules (policy-model.ts). */
  readonly bit: number;
  /** IP protocol of the flows that it looks at. */
  readonly protocol: number;
  /** Looks at the packet in `context`, once it belongs to its flow: INSPECT_*. Only called with a payload. */
  inspect(context: HelperContext): number;
}

export interface HelperCounters {
  /** A payload was rewritten. */
  edited(): void;
  /** Something was understood and not done: a limit, a foreign address, no room. */
  refused(): void;
}

export interface HelperParts {
  readonly expectations: Expectations;
  readonly request: ExpectationRequest;
  readonly adjuster: Adjuster;
  readonly counters: HelperCounters;
  readonly limits: ExpectationLimits;
  /**
   * A port of the address at `words[at..]` by which packets to it lead to the slot of the flow in `master`, and that nothing uses
   * towards anybody; `wanted` itself, or one of its parity, where possible. NONE: there is none.
   */
  allocatePort(master: number, protocol: number, words: Int32Array, at: number, wanted: number): number;
}

/** How often another port is asked for when one is taken already: neighbours behind one address choose alike. */
const PORT_TRIES = 8;
const PORT_MIN = 1024;
const PORTS = 65_536;

/**
 * Sets the request's port: the one at which the sender's `realPort` is announced to the other side. All else of the request but
 * its limits is set already. False, and counted: there is none.
 */
export function announcePort(parts: HelperParts, context: HelperContext): boolean {
  const { request, expectations, allocatePort, counters } = parts;
  const { master, protocol, realPort } = request;
  request.port = realPort;
  if (!context.isSourceTranslated) return true;
  let wanted = realPort;
  for (let i = 0; i < PORT_TRIES; i++) {
    const port = allocatePort(master, protocol, context.words, SOURCE_OUT, wanted);
    if (port === NONE) break;
    request.port = port;
    if (!expectations.isTaken(request)) return true;
    wanted = wanted + 2 < PORTS ? wanted + 2 : PORT_MIN + (wanted & 1);
  }
  counters.refused();
  return false;
}
