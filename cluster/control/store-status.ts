/**
 * Store status: what a member knows of the store that keeps the log, where the site runs one.
 */
export interface StoreStatus {
  /** Where it is, for people. */
  readonly place: string;
  readonly isConnected: boolean;
  /** Why it is not the store that this member knows; empty: it is. */
  readonly refusal: string;
}
