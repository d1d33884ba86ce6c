/**
 * Sanity: addresses that no forwarded packet may carry (RFC 1812 section 5.3.7, RFC 6890; RFC 4291 section 2). Asked once per new
 * flow: packets of known flows have tuples that passed. Owns the ranges.
 */
import { isIpv4 } from "../base/address.ts";
import { isUniqueLocal } from "../packet/ipv6.ts";

/**
 * True for what is neither source nor destination of a forwarded packet.
 * IPv4: 0/8, 127/8, 169.254/16, multicast, class E and broadcast. IPv6: all but 2000::/3 and unique local addresses, so no
 * unspecified, loopback, link-local, multicast or IPv4-mapped address.
 */
export function isUnroutable(words: Int32Array, at: number): boolean {
  if (isIpv4(words, at)) {
    const address = words[at + 3]!;
    const high = address >>> 24;
    return high === 0 || high === 127 || high >= 224 || address >>> 16 === 0xa9fe;
  }
  return words[at]! >>> 29 !== 1 && !isUniqueLocal(words, at);
}
