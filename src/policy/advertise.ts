/**
 * Router advertisements of a zone: defaults and limits (RFC 4861 section 6.2.1, RFC 8319), and what does not go together.
 */
import type { RouterAdvertisementModel } from "../dataplane/policy-model.ts";
import { formatAddress } from "./address.ts";
import { notAHost } from "./check-help.ts";
import type { AdvertiseSource, Path, PolicyMistake, ZoneSource } from "./source.ts";

const SECOND_MS = 1000;
const DAY_MS = 86_400 * SECOND_MS;
/** MaxRtrAdvInterval. */
const INTERVAL_DEFAULT_MS = 600 * SECOND_MS;
export const INTERVAL_MIN_MS = 4 * SECOND_MS;
export const INTERVAL_MAX_MS = 1800 * SECOND_MS;
/** AdvDefaultLifetime is three intervals, at most this. */
export const LIFETIME_MAX_MS = 9000 * SECOND_MS;
const LIFETIME_INTERVALS = 3;
/** AdvValidLifetime, AdvPreferredLifetime. */
const VALID_DEFAULT_MS = 30 * DAY_MS;
const PREFERRED_DEFAULT_MS = 7 * DAY_MS;
/** Hosts make addresses only in networks of this length (RFC 4862 section 5.5.3 with 64-bit interface identifiers). */
const SLAAC_BITS = 64;

export function compileAdvertise(source: AdvertiseSource, prefixBits: number): RouterAdvertisementModel {
  const intervalMs = source.intervalMs ?? INTERVAL_DEFAULT_MS;
  const validMs = source.validMs ?? VALID_DEFAULT_MS;
  return {
    intervalMs,
    lifetimeSeconds: seconds(source.lifetimeMs ?? LIFETIME_INTERVALS * intervalMs),
    isManaged: source.managed ?? false,
    isOtherConfig: source.otherConfig ?? false,
    isAutonomous: source.autonomous ?? prefixBits === SLAAC_BITS,
    prefixValidSeconds: seconds(validMs),
    prefixPreferredSeconds: seconds(source.preferredMs ?? Math.min(PREFERRED_DEFAULT_MS, validMs)),
    dns: source.dns ?? [],
  };
}

export function checkAdvertise(zone: ZoneSource, path: Path): PolicyMistake[] {
  const source = zone.advertise;
  if (source === undefined) return [];
  if (zone.gateway6 === undefined) {
    return [{ path, message: "only IPv6 has router advertisements: add gateway6 to the zone, or remove it" }];
  }
  const mistakes: PolicyMistake[] = [];
  const { bits } = zone.gateway6.prefix;
  const model = compileAdvertise(source, bits);
  if (model.lifetimeSeconds * SECOND_MS < model.intervalMs) {
    mistakes.push({
      path: [...path, "lifetime"],
      message: `${model.lifetimeSeconds}s is shorter than the interval of ${seconds(model.intervalMs)}s, so hosts would lose their router in between: raise lifetime or lower interval`,
    });
  }
  if (model.prefixPreferredSeconds > model.prefixValidSeconds) {
    mistakes.push({
      path: [...path, "preferred"],
      message: `${model.prefixPreferredSeconds}s is longer than valid, ${model.prefixValidSeconds}s: lower preferred or raise valid`,
    });
  }
  if (source.autonomous === true && bits !== SLAAC_BITS) {
    mistakes.push({
      path: [...path, "autonomous"],
      message: `hosts make addresses in a network of /${SLAAC_BITS} only, and this one is a /${bits}: give gateway6 the length ${SLAAC_BITS}, or remove autonomous`,
    });
  }
  model.dns.forEach((address, i) => {
    const at = [...path, "dns", i];
    if (model.dns.indexOf(address) < i) {
      mistakes.push({ path: at, message: `${formatAddress(address)} is in the list twice: remove one` });
    }
    mistakes.push(...notAHost(at, address));
  });
  return mistakes;
}

function seconds(ms: number): number {
  return Math.round(ms / SECOND_MS);
}
