/**
 * Address rules: addresses that a forwarded packet may have. Owns the judgement of source and destination of a packet without a
 * flow, and of errors about one; other packets of known flows have tuples that passed. Ranges are sanity.ts, what is behind a zone compiled-policy.ts.
 */
import { type CompiledPolicy, NO_ROUTE } from "./compiled-policy.ts";
import { NO_NAT64 } from "./nat64-prefix.ts";
import {
  LOOPED,
  P_OUTER_DESTINATION,
  P_OUTER_SOURCE,
  PARSED,
  type Packet,
  REDIRECTED_CLUSTER,
} from "./packet.ts";
import { isUnroutable } from "./sanity.ts";
import { dropVerdict } from "./verdict.ts";

const DROP_BAD_SOURCE = dropVerdict("bad_source");
const DROP_BAD_DESTINATION = dropVerdict("bad_destination");
const DROP_SPOOFED = dropVerdict("spoofed");
const DROP_LAND = dropVerdict("land");

/** PARSED, or the verdict of what is wrong with the packet's addresses. */
export function judgeAddresses(policy: CompiledPolicy, packet: Packet): number {
  const { words } = packet;
  if (
    isUnroutable(words, P_OUTER_SOURCE) ||
    policy.isOwn(words, P_OUTER_SOURCE) ||
    policy.isDirectedBroadcast(words, P_OUTER_SOURCE) ||
    policy.isBogon(packet.zone, words, P_OUTER_SOURCE)
  ) {
    return isLand(packet) ? DROP_LAND : DROP_BAD_SOURCE;
  }
  // A prefix of NAT64 (RFC 6052: 64:ff9b::/96) is a destination where the policy translates it.
  const isUnroutableHere =
    isUnroutable(words, P_OUTER_DESTINATION) &&
    policy.nat.nat64.of(packet.zone, words, P_OUTER_DESTINATION) === NO_NAT64;
  if (isUnroutableHere || policy.isDirectedBroadcast(words, P_OUTER_DESTINATION)) {
    return DROP_BAD_DESTINATION;
  }
  if (isLand(packet)) return DROP_LAND;
  // Strict reverse path by zone (RFC 3704): an answer would have to leave by the zone that the packet came from.
  const back = policy.routeTo(words, P_OUTER_SOURCE);
  return back === NO_ROUTE || policy.routeZone[back] !== packet.zone ? DROP_SPOOFED : PARSED;
}

/** Whether the packet comes from an address of ours because this node or another one gave it that (hairpin): nobody else may. */
export function isTurnedBack(policy: CompiledPolicy, packet: Packet): boolean {
  if (packet.way === LOOPED) return true;
  return packet.way === REDIRECTED_CLUSTER && policy.nat.isTakenIn(packet.words, P_OUTER_SOURCE);
}

/** A packet from an address to itself (RFC 1812 section 5.3.8 knows no use of it; the "land" attack). */
function isLand(packet: Packet): boolean {
  const { words } = packet;
  for (let i = 0; i < 4; i++) {
    if (words[P_OUTER_SOURCE + i] !== words[P_OUTER_DESTINATION + i]) return false;
  }
  return true;
}
