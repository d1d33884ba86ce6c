/**
 * Fields: the kinds of value that a configuration file has, each a zod type whose error message is what the field needs
 * ("a whole number, 1 to 255"), so that every message can say the value and the fix. Owns no keys (schema.ts).
 */
import { z } from "zod";
import type { Address } from "../src/base/address.ts";
import type { PortRange, Prefix } from "../src/dataplane/policy-model.ts";
import {
  contains,
  formatAddress,
  formatPrefix,
  type InterfaceAddress,
  MAPPED_PREFIX,
  parseAddress,
  parseInterfaceAddress,
  parseInterfaceAddress6,
  parseIpv4,
  parseIpv6,
  parseNetwork,
  parsePortRange,
} from "../src/policy/address.ts";
import { parseIcmpType } from "../src/policy/icmp-types.ts";
import { PROTOCOL_NAMES, parseProtocol } from "../src/policy/protocols.ts";
import { parseDays, parseTimeOfDay } from "../src/policy/schedule.ts";
import { parseDurationMs } from "./duration.ts";

/** A mapping with exactly these keys; the message for anything else lists them. */
export function mapping<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.strictObject(shape, { error: `a mapping with the keys ${Object.keys(shape).join(", ")}` });
}

export function listOf<Item extends z.ZodType>(item: Item, max: number) {
  const error = `a list of at most ${max} entries, like [a, b]`;
  return z.array(item, { error }).max(max, { error });
}

/** A list that must not be empty. */
export function someOf<Item extends z.ZodType>(item: Item, max: number) {
  const error = `a list of 1 to ${max} entries, like [a, b]`;
  return z.array(item, { error }).min(1, { error }).max(max, { error });
}

/** One entry, or a list of them: always a list afterwards. */
export function oneOrMore<Item extends z.ZodType>(item: Item, max: number) {
  return z
    .union([item, someOf(item, max)])
    .transform((given) => (Array.isArray(given) ? given : [given]) as z.output<Item>[]);
}

export function oneOf<const Values extends readonly [string, ...string[]]>(...values: Values) {
  return z.enum(values, { error: `one of ${values.join(", ")}` });
}

export function whole(min: number, max: number) {
  const error = `a whole number, ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

/** A whole number that is a power of two. */
export function powerOfTwo(min: number, max: number) {
  const error = `a power of two, ${min} to ${max}`;
  return z
    .int({ error })
    .min(min, { error })
    .max(max, { error })
    .refine((n) => (n & (n - 1)) === 0, { error });
}

export const flag = z.boolean({ error: "true or false" });

const ENDPOINT_NEED = "a URL like https://192.0.2.9:2379";
export const tcpPort = whole(1, 65_535);

const NAME_NEED = "a name of 1 to 32 small letters, digits and dashes that begins with a letter";
const NAME = /^[a-z][a-z0-9-]{0,31}$/;
export const name = z.string({ error: NAME_NEED }).regex(NAME, { error: NAME_NEED });

const INTERFACE_NEED = "a kernel interface name of 1 to 15 characters, like eth1";
export const interfaceName = z
  .string({ error: INTERFACE_NEED })
  .regex(/^[^\s/:]{1,15}$/, { error: INTERFACE_NEED });

const LABEL_NEED = "an interface as dataplane.interfaces has it, like eth1, or eth1.100 for its VLAN 100";
export const interfaceLabel = z.string({ error: LABEL_NEED }).regex(/^[^\s/:]{1,20}$/, { error: LABEL_NEED });

const PATH_NEED = "an absolute path, like /etc/synwall/ca.crt";
export const absolutePath = z.string({ error: PATH_NEED }).regex(/^\/[^\0\n]*$/, { error: PATH_NEED });

/** Linux keeps socket paths in 108 bytes with the final zero (unix(7)). */
const SOCKET_NEED = "an absolute path of at most 107 bytes, like /run/synwall/fw1.sock";
export const socketPath = z
  .string({ error: SOCKET_NEED })
  .regex(/^\/[^\0\n]*$/, { error: SOCKET_NEED })
  .refine((path) => Buffer.byteLength(path) <= 107, { error: SOCKET_NEED });

/** What a value needs instead of the general need, when that can be said better. */
class Need {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

function orNeed<Given, Value>(
  parse: (given: Given) => Value | Need | undefined,
  given: Given,
  context: z.RefinementCtx,
  error: string,
): Value {
  const value = parse(given);
  if (!(value === undefined || value instanceof Need)) return value as Value;
  const message = value instanceof Need ? value.text : error;
  context.issues.push({ code: "custom", message, input: given });
  return z.NEVER;
}

/** Text that `parse` understands, as what it stands for. */
function parsed<Value>(parse: (text: string) => Value | Need | undefined, error: string) {
  return z.string({ error }).transform((text, context): Value => orNeed(parse, text, context, error));
}

/** Text or a number that `parse` understands. */
function parsedScalar<Value>(parse: (value: string | number) => Value | Need | undefined, error: string) {
  return z
    .union([z.string(), z.number()], { error })
    .transform((given, context): Value => orNeed(parse, given, context, error));
}

/** What is wrong with an IPv6 address in ways that deserve their own words. */
function needOfIpv6(text: string): Need | undefined {
  if (!text.includes(":")) return undefined;
  if (text.includes("%")) return new Need("an address without a zone id: the zone says on which link it is");
  const address = parseIpv6(text.split("/")[0]!);
  if (address === undefined || !contains(MAPPED_PREFIX, address)) return undefined;
  return new Need(`it as IPv4: ${formatAddress(Number(address & 0xffff_ffffn))}`);
}

const IPV4_NEED = "an IPv4 address, like 192.0.2.1";

/** An IPv4 address kept as text. */
export const ipv4Text = z
  .string({ error: IPV4_NEED })
  .refine((text) => parseIpv4(text) !== undefined, { error: IPV4_NEED });

export const ipv6 = parsed<bigint>(
  (text) => needOfIpv6(text) ?? parseIpv6(text),
  "an IPv6 address, like 2001:db8::1",
);

/** An address of either family. */
export const address = parsed<Address>(
  (text) => needOfIpv6(text) ?? parseAddress(text),
  "an IPv4 address, like 192.0.2.1, or an IPv6 address, like 2001:db8::1",
);

const NETWORK_NEED = "a network without host bits or an address, like 10.0.0.0/8, 10.0.0.1 or 2001:db8::/32";

function parsePlainPrefix(text: string): Prefix | Need | undefined {
  const need = needOfIpv6(text);
  if (need !== undefined) return need;
  const parsed = parseNetwork(text);
  if (parsed === undefined || parsed.address === parsed.prefix.address) return parsed?.prefix;
  return new Need(`a network without host bits, ${formatPrefix(parsed.prefix)}, or the address alone`);
}

export const prefix = parsed<Prefix>(parsePlainPrefix, NETWORK_NEED);

/** A network, or the name of an address set. No address looks like a name: IPv4 begins with a digit, IPv6 has a colon. */
export const addressEntry = parsed<Prefix | string>(
  (text) => (NAME.test(text) ? text : parsePlainPrefix(text)),
  `${NETWORK_NEED}, or the name of an address set`,
);

export const interfaceAddress = parsed<InterfaceAddress<number>>(
  (text) =>
    text.includes(":")
      ? new Need("an IPv4 address here, and the IPv6 address as gateway6")
      : parseInterfaceAddress(text),
  "an address with its prefix length, like 10.10.0.1/24",
);

export const interfaceAddress6 = parsed<InterfaceAddress<bigint>>(
  (text) => needOfIpv6(text) ?? parseInterfaceAddress6(text),
  "an IPv6 address with its prefix length, like 2001:db8:10::1/64",
);

export const portRange = parsedScalar<PortRange>(parsePortRange, "a port or a range, like 80 or 8000-8010");

export const protocol = parsedScalar<number>(
  parseProtocol,
  `a protocol: ${PROTOCOL_NAMES.join(", ")} or its number, 0 to 255`,
);

export const durationMs = parsed<number>(
  parseDurationMs,
  "a duration with its unit, like 5ms, 90s, 5m, 2h (at most 30d)",
);

/** A duration between two bounds, in milliseconds. */
export function durationBetween(minMs: number, maxMs: number, example: string) {
  const error = `a duration of ${minMs / 1000}s to ${maxMs / 1000}s, like ${example}`;
  return parsed<number>((text) => {
    const ms = parseDurationMs(text);
    return ms !== undefined && ms >= minMs && ms <= maxMs ? ms : undefined;
  }, error);
}

export const icmpType = parsedScalar<string | number>(
  parseIcmpType,
  "an ICMP type: 0 to 255, or a name like echo-request or packet-too-big",
);

export const days = parsed<number>(parseDays, "a day or some days, like mon or mon-fri");

export const timeOfDay = parsed<number>(parseTimeOfDay, "a time of the day in UTC, like 08:30");

const PER_SECOND: Readonly<Record<string, number>> = { s: 1, m: 1 / 60, h: 1 / 3600 };

/** "100/s", "30/m" or "5/h", as a number a second. */
export const ratePerSecond = parsed<number>((text) => {
  const match = /^([1-9]\d{0,6})\/([smh])$/.exec(text);
  return match === null ? undefined : Number(match[1]) * PER_SECOND[match[2]!]!;
}, "a rate, like 100/s, 30/m or 5/h");

/** One line of the operator's own words. */
/** Of an etcd member: a scheme, a host and a port, nothing behind them. */
export const etcdEndpoint = z.string({ error: ENDPOINT_NEED }).refine(
  (text) => {
    const match = /^https?:\/\/(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):(\d{1,5})$/.exec(text);
    return match !== null && Number(match[2]) >= 1 && Number(match[2]) <= 65_535;
  },
  { error: ENDPOINT_NEED },
);

const KEY_PREFIX_NEED = "a prefix of keys, like /synwall: it begins with a slash and does not end with one";
export const keyPrefix = z
  .string({ error: KEY_PREFIX_NEED })
  .regex(/^(\/[A-Za-z0-9._-]+)+$/, { error: KEY_PREFIX_NEED });

export function words(max: number) {
  const error = `one line of 1 to ${max} characters`;
  return z
    .string({ error })
    .regex(/^[^\p{Cc}]+$/u, { error })
    .max(max, { error });
}
