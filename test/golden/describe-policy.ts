/**
 * A compiled policy in words, one line for each part: for golden transcripts.
 */
import {
  COMMIT_ASYNC,
  COMMIT_SYNC,
  HELPER_FTP,
  HELPER_SIP,
  HELPER_TFTP,
  type PolicyModel,
  type Prefix,
  type RuleModel,
  type ServiceModel,
  type TimeoutsMs,
  type ZoneModel,
} from "../../src/dataplane/policy-model.ts";
import { formatAddress, formatPortRange, formatPrefix } from "../../src/policy/address.ts";
import { formatProtocol } from "../../src/policy/protocols.ts";
import { formatSchedule } from "../../src/policy/schedule.ts";
import { formatTcpFlags } from "../../src/policy/tcp-flags.ts";
import { DEFAULT_TIMEOUTS_MS } from "../../src/policy/timeouts.ts";

type ZoneName = (id: number) => string;

export function describePolicy(policy: PolicyModel): string {
  const zone: ZoneName = (id) => (id < 0 ? "any" : policy.zones[id]!.name);
  return [
    `affinity ${policy.affinity}, sync deadline ${policy.syncDeadlineMs} ms`,
    ...policy.zones.flatMap(zoneLines),
    ...policy.routes.map((r) => {
      const hops = r.via === 0 ? "on-link" : `via ${[r.via, ...(r.more ?? [])].map(formatAddress).join(" ")}`;
      return `route ${formatPrefix(r.to)} -> ${zone(r.zone)} ${hops}`;
    }),
    ...natLines(policy, zone),
    ...policy.answered.map((a, i) => `answered ${i}: ${formatAddress(a.address)} in ${zone(a.zone)}`),
    ...policy.rules.map((rule) => ruleLine(rule, zone)),
    ...limitLines(policy),
    ...changedTimeouts(policy.timeoutsMs),
    "",
  ].join("\n");
}

function zoneLines(z: ZoneModel): string[] {
  const { ipv6, bogons = [], mssMax } = z;
  const lines = [
    z.gateway === 0
      ? `zone ${z.id} ${z.name}: no IPv4, trust ${z.trust}, ports ${z.ports.join(" ")}`
      : `zone ${z.id} ${z.name}: ${formatAddress(z.gateway)} in ${formatPrefix(z.prefix)}, trust ${z.trust}, ports ${z.ports.join(" ")}`,
  ];
  if (ipv6 !== undefined) {
    const { gateway, prefix, linkLocal, advertise } = ipv6;
    lines.push(
      `  IPv6 ${formatAddress(gateway)} in ${formatPrefix(prefix)}, link-local ${formatAddress(linkLocal)}`,
    );
    if (advertise !== undefined) {
      const { dns, ...fields } = advertise;
      const texts = Object.entries(fields).map(([key, value]) => `${key} ${value}`);
      lines.push(
        `  advertises ${[...texts, ...dns.map((address) => `dns ${formatAddress(address)}`)].join(", ")}`,
      );
    }
  }
  if (bogons.length > 0) lines.push(`  bogons ${prefixes(bogons)}`);
  if (mssMax !== undefined) lines.push(`  MSS at most ${mssMax}`);
  return lines;
}

function natLines(policy: PolicyModel, zone: ZoneName): string[] {
  return [
    ...policy.snat.map((s) =>
      [
        `snat ${zone(s.fromZone)} -> ${zone(s.toZone)} ${prefixes(s.sources) || "any"}: ${s.pool.map(formatAddress).join(" ")}`,
        ...(s.ports === undefined ? [] : [`ports ${formatPortRange(s.ports)}`]),
        ...(s.isEndpointIndependent === true ? ["endpoint-independent mapping"] : []),
        ...(s.isFilteringIndependent === true ? ["endpoint-independent filtering"] : []),
      ].join(", "),
    ),
    ...policy.dnat.map(
      (d) =>
        `dnat ${zone(d.zone)} ${formatProtocol(d.protocol)} ${formatAddress(d.address)} ${formatPortRange(d.ports)} -> ${[d.to, ...(d.more ?? [])].map(formatAddress).join(" ")} from ${d.toPort} on`,
    ),
    ...(policy.statics ?? []).map(
      (s) =>
        `${s.isChecksumNeutral ? "nptv6" : "static"} ${zone(s.innerZone)} ${formatPrefix(s.inner)} <-> ${zone(s.outerZone)} ${formatPrefix(s.outer)}`,
    ),
    ...(policy.nat64 ?? []).map(
      (n) =>
        `nat64 ${zone(n.fromZone)} ${formatPrefix(n.prefix)} -> ${zone(n.toZone)} ${n.pool.map(formatAddress).join(" ")}`,
    ),
  ];
}

function ruleLine(rule: RuleModel, zone: ZoneName): string {
  const action = ["drop", "accept", "reject"][rule.action]!;
  const helpers = rule.helpers ?? 0;
  const parts = [
    `rule ${rule.id} ${rule.name}: ${action} ${zone(rule.fromZone)} -> ${zone(rule.toZone)}`,
    ...(rule.interfaces === undefined ? [] : [`in by ${rule.interfaces.join(" ")}`]),
    ...serviceParts(rule),
    ...(rule.services ?? []).map((service) => `[${serviceParts(service).join(" ")}]`),
    ...(rule.sources.length > 0 ? [`from ${prefixes(rule.sources)}`] : []),
    ...(rule.destinations.length > 0 ? [`to ${prefixes(rule.destinations)}`] : []),
    ...(rule.tcpFlags === undefined ? [] : [formatTcpFlags(rule.tcpFlags)]),
    ...(rule.schedule === undefined ? [] : [formatSchedule(rule.schedule)]),
    ...(rule.isTranslated === true ? ["translated"] : []),
    ...(rule.rate === undefined ? [] : [`${rule.rate.perSecond}/s, burst ${rule.rate.burst}`]),
    ...((helpers & HELPER_FTP) === 0 ? [] : ["ftp"]),
    ...((helpers & HELPER_TFTP) === 0 ? [] : ["tftp"]),
    ...((helpers & HELPER_SIP) === 0 ? [] : ["sip"]),
    rule.commit === COMMIT_SYNC
      ? "commit sync"
      : rule.commit === COMMIT_ASYNC
        ? "commit async"
        : "default commit",
    ...(rule.log ? ["logged"] : []),
    ...(rule.owner === undefined ? [] : [`owner ${rule.owner}`]),
    ...(rule.comment === undefined ? [] : [`"${rule.comment}"`]),
  ];
  return parts.join(", ");
}

function serviceParts(service: ServiceModel): string[] {
  const parts: string[] = [];
  if (service.protocol >= 0) parts.push(formatProtocol(service.protocol));
  if (service.sourcePorts.length > 0)
    parts.push(`from ports ${service.sourcePorts.map(formatPortRange).join(" ")}`);
  if (service.destinationPorts.length > 0)
    parts.push(`to ports ${service.destinationPorts.map(formatPortRange).join(" ")}`);
  if (service.icmpType >= 0)
    parts.push(`type ${service.icmpType}${service.icmpCode >= 0 ? ` code ${service.icmpCode}` : ""}`);
  return parts;
}

function limitLines({ protection, fragments }: PolicyModel): string[] {
  const lines: string[] = [];
  if (protection !== undefined) {
    const { allow, ...limits } = protection;
    const texts = Object.entries(limits).map(([key, value]) => `${key} ${value}`);
    lines.push(`protection ${texts.join(", ")}${allow.length > 0 ? `, allow ${prefixes(allow)}` : ""}`);
  }
  if (fragments !== undefined) {
    lines.push(
      `fragments ${Object.entries(fragments)
        .map(([key, value]) => `${key} ${value}`)
        .join(", ")}`,
    );
  }
  return lines;
}

function prefixes(all: readonly Prefix[]): string {
  return all.map(formatPrefix).join(" ");
}

function changedTimeouts(timeouts: TimeoutsMs): string[] {
  return (Object.keys(timeouts) as (keyof TimeoutsMs)[])
    .filter((name) => timeouts[name] !== DEFAULT_TIMEOUTS_MS[name])
    .map((name) => `timeout ${name} ${timeouts[name]} ms`);
}
