/**
 * Checks of filter rules: names, zones, and fields that need or exclude one another.
 * Whether a rule's addresses can meet at all is rule-families.ts; single services are services.ts.
 */
import { unknownZone } from "./check-help.ts";
import { formatProtocol, PROTOCOL_TCP, PROTOCOL_UDP } from "./protocols.ts";
import { checkRuleFamilies } from "./rule-families.ts";
import { DAY_MINUTES, formatTimeOfDay } from "./schedule.ts";
import { checkService, checkServices, ownService, servicesOf } from "./services.ts";
import { checkAddressNames } from "./sets.ts";
import type { HelperName, Path, PolicyMistake, PolicySource, RuleSource } from "./source.ts";

/** Hits that no rule took are counted under this name; no rule may have it. */
export const DEFAULT_RULE_NAME = "default";

const HELPER_PROTOCOLS: Readonly<Record<HelperName, { readonly protocol: number; readonly port: number }>> = {
  ftp: { protocol: PROTOCOL_TCP, port: 21 },
  tftp: { protocol: PROTOCOL_UDP, port: 69 },
  sip: { protocol: PROTOCOL_UDP, port: 5060 },
};

export function checkRules(policy: PolicySource): PolicyMistake[] {
  const names = new Set<string>();
  return policy.rules.flatMap((rule, i) => {
    const path = ["rules", i];
    const isTaken = names.has(rule.name);
    names.add(rule.name);
    return [
      ...checkName(rule.name, isTaken, path),
      ...checkZones(policy, rule, path),
      ...checkInterfaces(policy, rule, path),
      ...checkAddressNames(policy, rule.sources, [...path, "sources"]),
      ...checkAddressNames(policy, rule.destinations, [...path, "destinations"]),
      ...checkRuleServices(policy, rule, path),
      ...checkRuleFamilies(policy, rule, path),
      ...checkTcpFlags(policy, rule, path),
      ...checkSchedule(rule, path),
      ...checkHelpers(policy, rule, path),
      ...checkAction(rule, path),
    ];
  });
}

function checkName(name: string, isTaken: boolean, path: Path): PolicyMistake[] {
  const mistakes: PolicyMistake[] = [];
  const at = [...path, "name"];
  if (name === DEFAULT_RULE_NAME) {
    mistakes.push({
      path: at,
      message: `"${DEFAULT_RULE_NAME}" names the built-in last rule that drops the rest: choose another name`,
    });
  }
  if (isTaken) {
    mistakes.push({
      path: at,
      message: `"${name}" is taken by an earlier rule: give each rule its own name`,
    });
  }
  return mistakes;
}

function checkZones(policy: PolicySource, rule: RuleSource, path: Path): PolicyMistake[] {
  return (["from", "to"] as const).flatMap((key) => {
    const zone = rule[key];
    return zone === undefined || policy.zones[zone] !== undefined
      ? []
      : [unknownZone(policy, [...path, key], zone)];
  });
}

function checkInterfaces(policy: PolicySource, rule: RuleSource, path: Path): PolicyMistake[] {
  const known = policy.interfaces ?? new Map<string, string>();
  const names = rule.interfaces ?? [];
  return names.flatMap((name, i) => {
    const at = [...path, "interfaces", i];
    const zone = known.get(name);
    if (zone === undefined) {
      return [
        { path: at, message: `no zone has an interface ${name}: use one of ${[...known.keys()].join(", ")}` },
      ];
    }
    if (names.indexOf(name) < i) return [{ path: at, message: `${name} is in the list twice: remove one` }];
    if (rule.from === undefined || rule.from === zone) return [];
    return [
      {
        path: at,
        message: `${name} is in zone ${zone}, but the rule is from zone ${rule.from}: name an interface of that zone, or remove from`,
      },
    ];
  });
}

function checkRuleServices(policy: PolicySource, rule: RuleSource, path: Path): PolicyMistake[] {
  const services = rule.services ?? [];
  if (services.length === 0) return checkService(ownService(rule), path, "destinationPorts");
  const doubled = (["protocol", "sourcePorts", "destinationPorts", "icmpType", "icmpCode"] as const).filter(
    (key) => {
      const value = rule[key];
      return Array.isArray(value) ? value.length > 0 : value !== undefined;
    },
  );
  return [
    ...checkServices(policy, services, [...path, "services"]),
    ...doubled.map((key) => ({
      path: [...path, key],
      message: "the services say that already: remove it, or write it into a service",
    })),
  ];
}

function checkTcpFlags(policy: PolicySource, rule: RuleSource, path: Path): PolicyMistake[] {
  const flags = rule.tcpFlags;
  if (flags === undefined) return [];
  const at = [...path, "tcpFlags"];
  if (flags.set.length === 0 && flags.clear.length === 0) {
    return [{ path: at, message: "names no flag: write { set: [syn], clear: [ack] }, or remove it" }];
  }
  const both = flags.set.find((name) => flags.clear.includes(name));
  if (both !== undefined) {
    return [{ path: at, message: `${both} cannot be both set and clear: take it out of one` }];
  }
  const other = servicesOf(policy, rule).find((service) => service.protocol !== PROTOCOL_TCP);
  if (other === undefined) return [];
  const what =
    other.protocol === undefined
      ? "the rule is for all protocols"
      : `${formatProtocol(other.protocol)} has none`;
  return [{ path: at, message: `only tcp has flags, and ${what}: add protocol: tcp` }];
}

function checkSchedule(rule: RuleSource, path: Path): PolicyMistake[] {
  const schedule = rule.schedule;
  if (schedule === undefined) return [];
  const at = [...path, "schedule"];
  const { days, from, to } = schedule;
  if (days.length === 0 && from === undefined && to === undefined) {
    return [{ path: at, message: "names no days and no times: add some, or remove it" }];
  }
  if (from === DAY_MINUTES) {
    return [{ path: [...at, "from"], message: "24:00 ends a day and begins none: write 00:00" }];
  }
  const begin = from ?? 0;
  const end = to ?? DAY_MINUTES;
  if (begin !== end && end !== 0) return [];
  return [
    {
      path: [...at, "to"],
      message: `${formatTimeOfDay(begin)} to ${formatTimeOfDay(end)} is no time at all: write a later end, up to 24:00`,
    },
  ];
}

function checkHelpers(policy: PolicySource, rule: RuleSource, path: Path): PolicyMistake[] {
  const helpers = rule.helpers ?? [];
  if (helpers.length === 0) return [];
  const at = [...path, "helpers"];
  if (rule.action !== "accept") {
    return [{ path: at, message: `a rule that does not accept has no connections to help: remove helpers` }];
  }
  if (helpers.includes("tftp") && helpers.includes("sip")) {
    return [
      {
        path: at,
        message: "tftp and sip are both UDP, so a packet would not tell which it is: make a rule for each",
      },
    ];
  }
  const services = servicesOf(policy, rule);
  return helpers.flatMap((name, i) => {
    const { protocol, port } = HELPER_PROTOCOLS[name];
    if (helpers.indexOf(name) < i)
      return [{ path: [...at, i], message: `${name} is in the list twice: remove one` }];
    const watched = services.filter(
      (service) => service.protocol === undefined || service.protocol === protocol,
    );
    if (watched.length > 0 && watched.every((service) => service.ports.length > 0)) return [];
    const text = formatProtocol(protocol);
    return [
      {
        path: [...at, i],
        message: `${name} reads all ${text} that the rule accepts, so the rule must name the servers' ports: add protocol: ${text} and destinationPorts, like [${port}]`,
      },
    ];
  });
}

function checkAction(rule: RuleSource, path: Path): PolicyMistake[] {
  const mistakes: PolicyMistake[] = [];
  if (rule.commit !== undefined && rule.action !== "accept") {
    mistakes.push({
      path: [...path, "commit"],
      message: `a ${rule.action === "drop" ? "dropped" : "rejected"} packet makes no flow to commit: remove commit`,
    });
  }
  if (rule.rate !== undefined && rule.action === "drop") {
    mistakes.push({
      path: [...path, "rate"],
      message:
        "what is beyond a rate is dropped, and this rule drops all: remove rate, or write action: accept",
    });
  }
  return mistakes;
}
