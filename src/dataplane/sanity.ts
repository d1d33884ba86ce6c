/**
 * Sanity: addresses that no forwarded packet may carry (RFC 1812 section 5.3.7, RFC 6890). Asked once per new flow: packets
 * of known flows have tuples that passed. Owns the ranges; what belongs behind which zone is compiled-policy.ts.
 */

/** True for 0/8, 127/8, 169.254/16, multicast, class E and broadcast: neither source nor destination of a forwarded packet. */
export function isUnroutable(address: number): boolean {
  const high = address >>> 24;
  return high === 0 || high === 127 || high >= 224 || address >>> 16 === 0xa9fe;
}
