/**
 * Lines: what the classifier matches. A rule is as many lines as its services need, in the rule's place; each line is a
 * plain conjunction: one set of values for every field, and all must hold.
 *
 *   rule 7: from a to b, services http (tcp 80, 443), dns (udp 53)   ->   line 12: tcp, port 80 or 443
 *                                                                         line 13: udp, port 53
 */
import type { PortRange, Prefix, RuleModel, ServiceModel } from "../policy-model.ts";

/** A field whose values are small integers, and the set of them that a line wants. */
export interface ValueField {
  /** Values are 0..last; what is none of them (-1: not in this packet) counts as `last`. */
  readonly last: number;
  /** undefined: any. */
  wanted(line: Line): readonly PortRange[] | undefined;
}

export interface Line {
  readonly rule: number;
  readonly model: RuleModel;
  readonly service: ServiceModel;
}

const ANY = -1;
/** Last values: one more than what is wanted ever, so that it stands for "none". A port is never none: it has no such value. */
const AFTER_BYTE = 256;
const AFTER_INTERFACE = 4096;
const AFTER_BOOLEAN = 2;
const LAST_PORT = 0xffff;

/** Value fields, in the order in which classifier.ts fills them in. */
export const VALUE_FIELDS: readonly ValueField[] = [
  { last: AFTER_BYTE, wanted: ({ model }) => one(model.fromZone) },
  { last: AFTER_BYTE, wanted: ({ model }) => one(model.toZone) },
  {
    last: AFTER_INTERFACE,
    wanted: ({ model }) => listed(model.interfaces?.map((port) => ({ from: port, to: port }))),
  },
  { last: AFTER_BYTE, wanted: ({ service }) => one(service.protocol) },
  { last: AFTER_BYTE, wanted: ({ service }) => one(service.icmpType) },
  { last: AFTER_BYTE, wanted: ({ service }) => one(service.icmpCode) },
  { last: AFTER_BYTE, wanted: ({ model }) => model.tcpFlags && flagSet(model.tcpFlags) },
  { last: AFTER_BOOLEAN, wanted: ({ model }) => (model.isTranslated === true ? one(1) : undefined) },
  { last: LAST_PORT, wanted: ({ service }) => listed(service.sourcePorts) },
  { last: LAST_PORT, wanted: ({ service }) => listed(service.destinationPorts) },
];

/** The last of them are those with many values: source and destination ports. */
export const WIDE_VALUE_FIELDS = 2;

/** Address fields, after the value fields. */
export const ADDRESS_FIELDS: readonly ((line: Line) => readonly Prefix[] | undefined)[] = [
  ({ model }) => listed(model.sources),
  ({ model }) => listed(model.destinations),
];

export function linesOf(rules: readonly RuleModel[]): Line[] {
  return rules.flatMap((model, rule) => {
    // Flags that have to be set and are not looked at never match: no line says that.
    if (model.tcpFlags !== undefined && (model.tcpFlags.value & ~model.tcpFlags.mask) !== 0) return [];
    const services = model.services === undefined || model.services.length === 0 ? [model] : model.services;
    return joined(services).map((service) => ({ rule, model, service }));
  });
}

/** Services that differ in destination ports only become one. */
function joined(services: readonly ServiceModel[]): readonly ServiceModel[] {
  if (services.length === 1) return services;
  const byRest = new Map<string, ServiceModel>();
  for (const service of services) {
    const { protocol, sourcePorts, icmpType, icmpCode, destinationPorts } = service;
    const rest = JSON.stringify([protocol, sourcePorts, icmpType, icmpCode]);
    const other = byRest.get(rest);
    const isAny = destinationPorts.length === 0 || other?.destinationPorts.length === 0;
    const ports = isAny ? [] : [...(other?.destinationPorts ?? []), ...destinationPorts];
    byRest.set(rest, { protocol, sourcePorts, icmpType, icmpCode, destinationPorts: ports });
  }
  return [...byRest.values()];
}

function one(value: number): readonly PortRange[] | undefined {
  return value === ANY ? undefined : [{ from: value, to: value }];
}

function listed<T>(values: readonly T[] | undefined): readonly T[] | undefined {
  return values === undefined || values.length === 0 ? undefined : values;
}

/** The flag bytes of which those in `mask` are exactly `value`. */
function flagSet({ mask, value }: { readonly mask: number; readonly value: number }): readonly PortRange[] {
  const ranges: PortRange[] = [];
  for (let flags = 0; flags < AFTER_BYTE; flags++) {
    if ((flags & mask) !== value) continue;
    const last = ranges.at(-1);
    if (last?.to === flags - 1) ranges[ranges.length - 1] = { from: last.from, to: flags };
    else ranges.push({ from: flags, to: flags });
  }
  return ranges;
}
