/**
 * TCP flags by name (RFC 9293 section 3.1). Owns names and bits as they are in the header.
 */
export const TCP_FLAG_NAMES = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"] as const;

export type TcpFlagName = (typeof TCP_FLAG_NAMES)[number];

/** Flags that must be set and flags that must not; the others do not matter. */
export interface TcpFlagsSource {
  readonly set: readonly TcpFlagName[];
  readonly clear: readonly TcpFlagName[];
}

export function compileTcpFlags(source: TcpFlagsSource): { mask: number; value: number } {
  const value = bitsOf(source.set);
  return { mask: value | bitsOf(source.clear), value };
}

/** "syn, not ack rst". */
export function formatTcpFlags({ mask, value }: { readonly mask: number; readonly value: number }): string {
  const named = (bits: number): string =>
    TCP_FLAG_NAMES.filter((_, bit) => (bits & (1 << bit)) !== 0).join(" ");
  const clear = named(mask & ~value);
  return [named(value), clear === "" ? "" : `not ${clear}`].filter((part) => part !== "").join(", ");
}

function bitsOf(names: readonly TcpFlagName[]): number {
  return names.reduce((bits, name) => bits | (1 << TCP_FLAG_NAMES.indexOf(name)), 0);
}
