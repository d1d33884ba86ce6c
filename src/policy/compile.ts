/**
 * Policy compiler: the operator's checked policy becomes the model that the engine runs on. Pure.
 * Expects a policy in which check.ts found no mistake. Ids are positions: zones in name order, rules in file order.
 */
import { assert } from "../base/assert.ts";
import {
  ACTION_ACCEPT,
  ACTION_DROP,
  ACTION_REJECT,
  COMMIT_ASYNC,
  COMMIT_DEFAULT,
  COMMIT_SYNC,
  HELPER_FTP,
  HELPER_SIP,
  HELPER_TFTP,
  type PolicyModel,
  type RouteModel,
  type RuleModel,
  type ZoneIpv6Model,
  type ZoneModel,
} from "../dataplane/policy-model.ts";
import { compileAdvertise } from "./advertise.ts";
import { answeredAddresses } from "./answered.ts";
import { linkLocalOf } from "./check-zones.ts";
import { compileDnat, compileNat64, compileSnat, compileStatics } from "./compile-nat.ts";
import { compileFragments, compileProtection } from "./protection.ts";
import { compileSchedule } from "./schedule.ts";
import { ANY_SERVICE, compileService, ownService, servicesOf } from "./services.ts";
import { expandAddresses } from "./sets.ts";
import type { HelperName, PolicySource, RouteSource, RuleSource, ZoneSource } from "./source.ts";
import { compileTcpFlags } from "./tcp-flags.ts";
import { compileTimeouts } from "./timeouts.ts";

const ANY = -1;
/** The burst of a rule's rate when none is given: a second's worth, and never so few that a page would not load. */
const RATE_BURST_MIN = 5;

const ACTIONS = { accept: ACTION_ACCEPT, drop: ACTION_DROP, reject: ACTION_REJECT } as const;
const COMMITS = { sync: COMMIT_SYNC, async: COMMIT_ASYNC } as const;
const HELPERS: Readonly<Record<HelperName, number>> = { ftp: HELPER_FTP, tftp: HELPER_TFTP, sip: HELPER_SIP };

/**
 * Compiles a policy. `portsOf` gives the port indices of a zone's interfaces, `portOf` that of an interface by its label.
 * Zone ids follow the order of names, not of the file, so that members whose files list zones differently still mean the
 * same by a zone id on the wire.
 */
export function compilePolicy(
  source: PolicySource,
  portsOf: (zone: string) => readonly number[],
  portOf: (label: string) => number = () => ANY,
): PolicyModel {
  const names = zoneNames(source);
  const zoneId = (name: string): number => {
    const id = names.indexOf(name);
    assert(id >= 0, `policy names zone ${name}, which does not exist: it was not checked`);
    return id;
  };
  const statics = compileStatics(source, zoneId);
  const nat64 = compileNat64(source, zoneId);
  const protection = compileProtection(source);
  const fragments = compileFragments(source);
  return {
    zones: names.map((name, id) => compileZone(source, name, id, portsOf(name))),
    routes: source.routes.map((route) => compileRoute(route, zoneId(route.zone))),
    snat: compileSnat(source, zoneId),
    dnat: compileDnat(source, zoneId),
    rules: source.rules.map((rule, id) => compileRule(source, rule, id, zoneId, portOf)),
    ...(statics.length === 0 ? {} : { statics }),
    ...(nat64.length === 0 ? {} : { nat64 }),
    ...(protection === undefined ? {} : { protection }),
    ...(fragments === undefined ? {} : { fragments }),
    affinity: source.affinity,
    timeoutsMs: compileTimeouts(source.timeouts),
    syncDeadlineMs: source.syncDeadlineMs,
    answered: answeredAddresses(source, zoneId),
  };
}

/** Zone names in the order of their ids. */
export function zoneNames(source: Pick<PolicySource, "zones">): string[] {
  return Object.keys(source.zones).sort();
}

function compileZone(source: PolicySource, name: string, id: number, ports: readonly number[]): ZoneModel {
  const zone = source.zones[name]!;
  const ipv6 = compileIpv6(zone);
  const bogons = expandAddresses(source, zone.bogons ?? []);
  return {
    id,
    name,
    trust: zone.trust,
    gateway: zone.gateway?.address ?? 0,
    prefix: zone.gateway?.prefix ?? { address: 0, bits: 32 },
    ...(ipv6 === undefined ? {} : { ipv6 }),
    ports,
    ...(bogons.length === 0 ? {} : { bogons }),
    ...(zone.mssMax === undefined ? {} : { mssMax: zone.mssMax }),
  };
}

function compileIpv6(zone: ZoneSource): ZoneIpv6Model | undefined {
  if (zone.gateway6 === undefined) return undefined;
  const { address, prefix } = zone.gateway6;
  return {
    gateway: address,
    prefix,
    linkLocal: linkLocalOf(zone),
    ...(zone.advertise === undefined ? {} : { advertise: compileAdvertise(zone.advertise, prefix.bits) }),
  };
}

function compileRoute(route: RouteSource, zone: number): RouteModel {
  const [via = 0, ...more] = route.via ?? [];
  return { to: route.to, zone, via, ...(more.length === 0 ? {} : { more }) };
}

function compileRule(
  source: PolicySource,
  rule: RuleSource,
  id: number,
  zoneId: (name: string) => number,
  portOf: (label: string) => number,
): RuleModel {
  const hasServices = rule.services !== undefined && rule.services.length > 0;
  return {
    id,
    name: rule.name,
    fromZone: rule.from === undefined ? ANY : zoneId(rule.from),
    toZone: rule.to === undefined ? ANY : zoneId(rule.to),
    sources: expandAddresses(source, rule.sources),
    destinations: expandAddresses(source, rule.destinations),
    ...(hasServices ? ANY_SERVICE : compileService(ownService(rule))),
    ...(hasServices ? { services: servicesOf(source, rule).map(compileService) } : {}),
    ...(rule.interfaces === undefined || rule.interfaces.length === 0
      ? {}
      : { interfaces: rule.interfaces.map(portOf).sort((a, b) => a - b) }),
    ...(rule.tcpFlags === undefined ? {} : { tcpFlags: compileTcpFlags(rule.tcpFlags) }),
    ...(rule.schedule === undefined ? {} : { schedule: compileSchedule(rule.schedule) }),
    ...(rule.rate === undefined ? {} : { rate: compileRate(rule.rate) }),
    ...(rule.helpers === undefined || rule.helpers.length === 0
      ? {}
      : { helpers: rule.helpers.reduce((bits, name) => bits | HELPERS[name], 0) }),
    ...(rule.translated === true ? { isTranslated: true } : {}),
    action: ACTIONS[rule.action],
    commit: rule.commit === undefined ? COMMIT_DEFAULT : COMMITS[rule.commit],
    log: rule.log,
    ...(rule.comment === undefined ? {} : { comment: rule.comment }),
    ...(rule.owner === undefined ? {} : { owner: rule.owner }),
  };
}

function compileRate({ perSecond, burst }: NonNullable<RuleSource["rate"]>): {
  perSecond: number;
  burst: number;
} {
  return { perSecond, burst: burst ?? Math.max(RATE_BURST_MIN, Math.ceil(perSecond)) };
}
