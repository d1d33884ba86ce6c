/**
 * Seal mode: whether frames that go to another node over the cluster link are encrypted. Owns the words, which configuration and
 * dataplane share.
 *
 *   never    what leaves goes in clear; what comes is taken either way
 *   prefer   what leaves is sealed; what comes is taken either way: for the time in which members are changed one by one
 *   always   what leaves is sealed, and nothing in clear is taken
 */
export const SEAL_MODES = ["never", "prefer", "always"] as const;
export type SealMode = (typeof SEAL_MODES)[number];
