/**
 * Fields: the kinds of value that a configuration file has, each a zod type whose error message is what the field needs
 * ("a whole number, 1 to 255"), so that every message can say the value and the fix. Owns no keys (schema.ts).
 */
import { z } from "zod";
import type { PortRange, Prefix } from "../src/dataplane/policy-model.ts";
import { parseInterfaceAddress, parseIpv4, parsePortRange, parsePrefix } from "../src/policy/address.ts";
import { PROTOCOL_NAMES, parseProtocol } from "../src/policy/protocols.ts";
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

export const tcpPort = whole(1, 65_535);

const NAME_NEED = "a name of 1 to 32 small letters, digits and dashes that begins with a letter";
export const name = z.string({ error: NAME_NEED }).regex(/^[a-z][a-z0-9-]{0,31}$/, { error: NAME_NEED });

const INTERFACE_NEED = "a kernel interface name of 1 to 15 characters, like eth1";
export const interfaceName = z
  .string({ error: INTERFACE_NEED })
  .regex(/^[^\s/:]{1,15}$/, { error: INTERFACE_NEED });

const PATH_NEED = "an absolute path, like /etc/synwall/ca.crt";
export const absolutePath = z.string({ error: PATH_NEED }).regex(/^\/[^\0\n]*$/, { error: PATH_NEED });

/** Linux keeps socket paths in 108 bytes with the final zero (unix(7)). */
const SOCKET_NEED = "an absolute path of at most 107 bytes, like /run/synwall/fw1.sock";
export const socketPath = z
  .string({ error: SOCKET_NEED })
  .regex(/^\/[^\0\n]*$/, { error: SOCKET_NEED })
  .refine((path) => Buffer.byteLength(path) <= 107, { error: SOCKET_NEED });

/** Text that `parse` understands, as what it stands for. */
function parsed<Value>(parse: (text: string) => Value | undefined, error: string) {
  return z.string({ error }).transform((text, context): Value => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.issues.push({ code: "custom", message: error, input: text });
    return z.NEVER;
  });
}

/** Text or a number that `parse` understands. */
function parsedScalar<Value>(parse: (value: string | number) => Value | undefined, error: string) {
  return z.union([z.string(), z.number()], { error }).transform((given, context): Value => {
    const value = parse(given);
    if (value !== undefined) return value;
    context.issues.push({ code: "custom", message: error, input: given });
    return z.NEVER;
  });
}

export const ipv4 = parsed<number>(parseIpv4, "an IPv4 address, like 192.0.2.1");

/** An IPv4 address kept as text. */
export const ipv4Text = z
  .string({ error: "an IPv4 address, like 192.0.2.1" })
  .refine((text) => parseIpv4(text) !== undefined, { error: "an IPv4 address, like 192.0.2.1" });

export const prefix = parsed<Prefix>(
  parsePrefix,
  "a network without host bits or an address, like 10.0.0.0/8 or 10.0.0.1",
);

export const interfaceAddress = parsed<{ address: number; prefix: Prefix }>(
  parseInterfaceAddress,
  "an address with its prefix length, like 10.10.0.1/24",
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
