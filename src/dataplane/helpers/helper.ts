/**
 * Helper: the one interface of application layer gateways, and what all of them work with. Owns no protocol.
 *
 * What a helper does not understand, may not do or has no room for passes as it came and opens nothing. Only what would leave
 * the two ends with different streams is dropped: its sender repeats it.
 */
import type { Adjuster } from "./adjust.ts";
import type { ExpectationLimits, ExpectationRequest, Expectations } from "./expectations.ts";
import type { HelperContext } from "./helper-context.ts";

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
