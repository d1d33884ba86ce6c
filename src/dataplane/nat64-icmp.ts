/**
 * NAT64, ICMP errors: which error of one family says what an error of the other said (RFC 7915 sections 4.2 and 5.2). Owns the
 * tables and no bytes: nat64.ts writes what these answer. A type and a code travel as one number, type << 8 | code.
 */
import * as icmp from "../packet/icmp.ts";
import * as icmpv6 from "../packet/icmpv6.ts";
import { IPV4_BYTES } from "../packet/ipv4.ts";
import { IPV6_BYTES, IPV6_MTU_MIN } from "../packet/ipv6.ts";

/** The other family has no word for it: such an error is dropped. */
export const UNTRANSLATABLE = -1;
/** What the header grows by on the way from IPv4 to IPv6. */
export const GROWTH_BYTES = IPV6_BYTES - IPV4_BYTES;
/** IPv4 packets up to this leave without DF: routers may cut them, since no IPv6 host can be told less (section 5.1). */
export const FRAGMENTABLE_BYTES_MAX = IPV6_MTU_MIN - GROWTH_BYTES;

const NO_ROUTE = (icmpv6.ICMPV6_UNREACHABLE << 8) | icmpv6.CODE_V6_NO_ROUTE;
const PROHIBITED = (icmpv6.ICMPV6_UNREACHABLE << 8) | icmpv6.CODE_V6_PROHIBITED;
const PORT = (icmpv6.ICMPV6_UNREACHABLE << 8) | icmpv6.CODE_V6_PORT;
const TOO_BIG = icmpv6.ICMPV6_TOO_BIG << 8;
const HEADER_FIELD = icmpv6.ICMPV6_PARAMETER_PROBLEM << 8;
const NEXT_HEADER = HEADER_FIELD | 1;

/** By code of an ICMP "unreachable". */
const UNREACHABLE_TO_V6 = Int16Array.of(
  ...[NO_ROUTE, NO_ROUTE, NEXT_HEADER, PORT, TOO_BIG, NO_ROUTE, NO_ROUTE, NO_ROUTE],
  ...[NO_ROUTE, PROHIBITED, PROHIBITED, NO_ROUTE, NO_ROUTE, PROHIBITED, UNTRANSLATABLE, PROHIBITED],
);
/** By code of an ICMPv6 "unreachable": host unreachable, host prohibited, port unreachable. */
const UNREACHABLE_TO_V4 = Int16Array.of(0x301, 0x30a, 0x301, 0x301, 0x303);
/** By byte of the IPv4 header: the byte of the IPv6 header that says the same (section 4.2, figure 3). */
const POINTER_TO_V6 = Int8Array.of(0, 1, 4, 4, -1, -1, -1, -1, 7, 6, -1, -1, 8, 8, 8, 8, 24, 24, 24, 24);
/** By byte of the IPv6 header, up to the addresses (section 5.2, figure 6). */
const POINTER_TO_V4 = Int8Array.of(0, 1, -1, -1, 2, 2, 9, 8);
const POINTER_SOURCE = 12;
const POINTER_DESTINATION = 16;
/** Likely path MTUs, for routers that do not tell theirs (RFC 1191 section 7.1). */
const PLATEAUS = Int32Array.of(32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68);

/** The ICMPv6 type and code of an ICMP error's, or UNTRANSLATABLE. */
export function errorToV6(type: number, code: number): number {
  switch (type) {
    case icmp.ICMP_UNREACHABLE:
      return code < UNREACHABLE_TO_V6.length ? UNREACHABLE_TO_V6[code]! : UNTRANSLATABLE;
    case icmp.ICMP_TIME_EXCEEDED:
      return (icmpv6.ICMPV6_TIME_EXCEEDED << 8) | code;
    case icmp.ICMP_PARAMETER_PROBLEM:
      // Code 1 misses an option, which IPv6 never had; 2 is a bad length.
      return code === 0 || code === 2 ? HEADER_FIELD : UNTRANSLATABLE;
    default:
      return UNTRANSLATABLE;
  }
}

/** The ICMP type and code of an ICMPv6 error's, or UNTRANSLATABLE. */
export function errorToV4(type: number, code: number): number {
  switch (type) {
    case icmpv6.ICMPV6_UNREACHABLE:
      return code < UNREACHABLE_TO_V4.length ? UNREACHABLE_TO_V4[code]! : UNTRANSLATABLE;
    case icmpv6.ICMPV6_TOO_BIG:
      return (icmp.ICMP_UNREACHABLE << 8) | icmp.CODE_FRAGMENTATION_NEEDED;
    case icmpv6.ICMPV6_TIME_EXCEEDED:
      return (icmp.ICMP_TIME_EXCEEDED << 8) | code;
    case icmpv6.ICMPV6_PARAMETER_PROBLEM:
      if (code === 0) return icmp.ICMP_PARAMETER_PROBLEM << 8;
      // An unknown next header is a protocol that is not there; an unknown option has no counterpart.
      return code === 1 ? (icmp.ICMP_UNREACHABLE << 8) | 2 : UNTRANSLATABLE;
    default:
      return UNTRANSLATABLE;
  }
}

/** The pointer of a parameter problem, or UNTRANSLATABLE. */
export function pointerToV6(pointer: number): number {
  return pointer < POINTER_TO_V6.length ? POINTER_TO_V6[pointer]! : UNTRANSLATABLE;
}

/** The same the other way; `pointer` is unsigned. */
export function pointerToV4(pointer: number): number {
  if (pointer < POINTER_TO_V4.length) return POINTER_TO_V4[pointer]!;
  if (pointer < 24) return POINTER_SOURCE;
  return pointer < IPV6_BYTES ? POINTER_DESTINATION : UNTRANSLATABLE;
}

/**
 * The MTU that "fragmentation needed" tells an IPv6 host: what the router told and both our links bear, in IPv6 bytes. Never
 * below 1280 (section 4.2): what is smaller leaves without DF, and routers may cut it. `quotedBytes` is the embedded datagram's length.
 */
export function mtuToV6(told: number, quotedBytes: number, mtu6: number, mtu4: number): number {
  const mtu = told === 0 ? plateauBelow(quotedBytes) : told;
  return Math.max(IPV6_MTU_MIN, Math.min(mtu + GROWTH_BYTES, mtu6, mtu4 + GROWTH_BYTES));
}

/** The MTU that "packet too big" tells an IPv4 host; `shrinkBytes`: what its packets lose in headers. */
export function mtuToV4(told: number, shrinkBytes: number, mtu6: number, mtu4: number): number {
  // RFC 8201 section 4: nobody may be told less than 1280.
  const mtu = Math.max(IPV6_MTU_MIN, Math.min(told, mtu6));
  return Math.min(mtu - shrinkBytes, mtu4);
}

function plateauBelow(bytes: number): number {
  for (let i = 0; i < PLATEAUS.length; i++) if (PLATEAUS[i]! < bytes) return PLATEAUS[i]!;
  return PLATEAUS[PLATEAUS.length - 1]!;
}
