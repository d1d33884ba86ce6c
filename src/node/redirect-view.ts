/**
 * Redirect view: what the dataplane worker counts of redirects by peer, for status and metrics. Reads shared memory; owns nothing.
 */
import {
  REDIRECT_CELLS,
  REDIRECTS_IN,
  REDIRECTS_OUT,
  REDIRECTS_REFUSED,
  REDIRECTS_ZONE_OUT,
} from "../dataplane/redirect.ts";
import type { PeerRedirects } from "../metrics/snapshot.ts";

export class RedirectView {
  readonly #cells: Float64Array;

  constructor(memory: SharedArrayBuffer) {
    this.#cells = new Float64Array(memory);
  }

  of(node: number): PeerRedirects {
    const cell = (what: number): number => this.#cells[node * REDIRECT_CELLS + what]!;
    return {
      out: cell(REDIRECTS_OUT),
      in: cell(REDIRECTS_IN),
      refused: cell(REDIRECTS_REFUSED),
      zoneOut: cell(REDIRECTS_ZONE_OUT),
    };
  }
}
