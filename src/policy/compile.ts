/**
 * Policy compiler: the operator's checked policy becomes the model that the engine runs on. Pure.
 * Expects a policy in which check.ts found no mistake. Ids are positions: zones in name order, rules in file order.
 */
import { assert } from "../base/assert.ts";
import {
  ACTION_ACCEPT,
  ACTION_DROP,
  COMMIT_ASYNC,
  COMMIT_DEFAULT,
  COMMIT_SYNC,
  type DnatModel,
  type PolicyModel,
  type RuleModel,
  type SnatModel,
  type TimeoutsMs,
  type ZoneModel,
} from "../dataplane/policy-model.ts";
import type { PolicySource, RuleSource } from "./source.ts";
import { DEFAULT_TIMEOUTS_MS, TIMEOUT_NAMES } from "./timeouts.ts";

const ANY = -1;

/**
 * Compiles a policy. `portsOf` gives the port indices of a zone's interfaces. Zone ids follow the order of names, not of
 * the file, so that members whose files list zones differently still mean the same by a zone id on the wire.
 */
export function compilePolicy(
  source: PolicySource,
  portsOf: (zone: string) => readonly number[],
): PolicyModel {
  const names = zoneNames(source);
  const zoneId = (name: string): number => {
    const id = names.indexOf(name);
    assert(id >= 0, `policy names zone ${name}, which does not exist: it was not checked`);
    return id;
  };
  const zones = names.map((name, id): ZoneModel => {
    const zone = source.zones[name]!;
    return {
      id,
      name,
      trust: zone.trust,
      gateway: zone.gateway.address,
      prefix: zone.gateway.prefix,
      ports: portsOf(name),
    };
  });
  const snat = source.nat.snat.map(
    (entry): SnatModel => ({
      fromZone: zoneId(entry.from),
      toZone: zoneId(entry.to),
      sources: entry.sources,
      pool: entry.pool,
    }),
  );
  const dnat = source.nat.dnat.map(
    (entry): DnatModel => ({
      zone: zoneId(entry.zone),
      address: entry.address,
      protocol: entry.protocol,
      ports: entry.ports,
      to: entry.to,
      toPort: entry.toPort ?? entry.ports.from,
    }),
  );
  return {
    zones,
    routes: source.routes.map((route) => ({ to: route.to, zone: zoneId(route.zone), via: route.via ?? 0 })),
    snat,
    dnat,
    rules: source.rules.map((rule, id) => compileRule(rule, id, zoneId)),
    affinity: source.affinity,
    timeoutsMs: compileTimeouts(source.timeouts),
    syncDeadlineMs: source.syncDeadlineMs,
    answered: answeredAddresses(snat, dnat),
  };
}

/** Zone names in the order of their ids. */
export function zoneNames(source: Pick<PolicySource, "zones">): string[] {
  return Object.keys(source.zones).sort();
}

function compileRule(rule: RuleSource, id: number, zoneId: (name: string) => number): RuleModel {
  return {
    id,
    name: rule.name,
    fromZone: rule.from === undefined ? ANY : zoneId(rule.from),
    toZone: rule.to === undefined ? ANY : zoneId(rule.to),
    sources: rule.sources,
    destinations: rule.destinations,
    protocol: rule.protocol ?? ANY,
    sourcePorts: rule.sourcePorts,
    destinationPorts: rule.destinationPorts,
    icmpType: rule.icmpType ?? ANY,
    icmpCode: rule.icmpCode ?? ANY,
    ...(rule.translated === true ? { isTranslated: true } : {}),
    action: rule.action === "accept" ? ACTION_ACCEPT : ACTION_DROP,
    commit: rule.commit === undefined ? COMMIT_DEFAULT : rule.commit === "sync" ? COMMIT_SYNC : COMMIT_ASYNC,
    log: rule.log,
  };
}

function compileTimeouts(given: PolicySource["timeouts"]): TimeoutsMs {
  const timeouts: Record<keyof TimeoutsMs, number> = { ...DEFAULT_TIMEOUTS_MS };
  for (const name of TIMEOUT_NAMES) timeouts[name] = given[name] ?? timeouts[name];
  return timeouts;
}

/** Pool and DNAT addresses, each once per zone, sorted by address: position i lives in slot i modulo slots. */
function answeredAddresses(snat: readonly SnatModel[], dnat: readonly DnatModel[]): PolicyModel["answered"] {
  const all = [
    ...snat.flatMap((entry) => entry.pool.map((address) => ({ zone: entry.toZone, address }))),
    ...dnat.map((entry) => ({ zone: entry.zone, address: entry.address })),
  ].sort((a, b) => a.address - b.address || a.zone - b.zone);
  return all.filter((entry, i) => {
    const before = all[i - 1];
    return before === undefined || before.address !== entry.address || before.zone !== entry.zone;
  });
}
