/**
 * Address: an IP address of either family, as a value and as words. Owns both forms and nothing about networks.
 *
 * As a value (policy, reports): an IPv4 address is a number, unsigned and in host order; an IPv6 address is a bigint.
 * As words (whatever a packet meets): four signed 32-bit words in network order, anywhere in an Int32Array. An IPv4 address
 * is IPv4-mapped (RFC 4291 section 2.5.5.2), so one table holds both families; no IPv6 packet may carry a mapped address.
 *
 *   IPv4   | 0 | 0 | 0x0000ffff | address |
 *   IPv6   | w0 | w1 | w2 | w3 |
 */

/** number: IPv4. bigint: IPv6. */
export type Address = number | bigint;

/** Bits of an address of the same family. */
export function widthOf(address: Address): number {
  return typeof address === "number" ? 32 : 128;
}

/** Words of one address. */
export const ADDRESS_WORDS = 4;
/** Word 2 of an IPv4 address. */
export const MAPPED = 0xffff;

/** Whether the words hold an IPv4 address. */
export function isIpv4(words: Int32Array, at: number): boolean {
  return words[at + 2] === MAPPED && words[at + 1] === 0 && words[at] === 0;
}

/** Writes an IPv4 address as words. */
export function setIpv4(words: Int32Array, at: number, address: number): void {
  words[at] = 0;
  words[at + 1] = 0;
  words[at + 2] = MAPPED;
  words[at + 3] = address;
}

export function copyAddress(to: Int32Array, toAt: number, from: Int32Array, fromAt: number): void {
  to[toAt] = from[fromAt]!;
  to[toAt + 1] = from[fromAt + 1]!;
  to[toAt + 2] = from[fromAt + 2]!;
  to[toAt + 3] = from[fromAt + 3]!;
}

export function isSameAddress(a: Int32Array, aAt: number, b: Int32Array, bAt: number): boolean {
  return (
    a[aAt + 3] === b[bAt + 3] && a[aAt + 2] === b[bAt + 2] && a[aAt + 1] === b[bAt + 1] && a[aAt] === b[bAt]
  );
}

/** The unspecified address: :: (an unset one). */
export function isUnspecified(words: Int32Array, at: number): boolean {
  return (words[at]! | words[at + 1]! | words[at + 2]! | words[at + 3]!) === 0;
}

/** Negative, 0 or positive: the order of addresses as numbers of 128 bits. */
export function compareAddress(a: Int32Array, aAt: number, b: Int32Array, bAt: number): number {
  for (let i = 0; i < ADDRESS_WORDS; i++) {
    const x = a[aAt + i]! ^ 0x80000000;
    const y = b[bAt + i]! ^ 0x80000000;
    if (x !== y) return x < y ? -1 : 1;
  }
  return 0;
}

/** Writes an address as words. Not for the packet path. */
export function writeAddress(words: Int32Array, at: number, address: Address): void {
  if (typeof address === "number") {
    setIpv4(words, at, address | 0);
    return;
  }
  for (let i = 0; i < ADDRESS_WORDS; i++) {
    words[at + i] = Number(BigInt.asIntN(32, address >> BigInt(96 - 32 * i)));
  }
}

/** The words of an address. Not for the packet path. */
export function addressWords(address: Address): Int32Array {
  const words = new Int32Array(ADDRESS_WORDS);
  writeAddress(words, 0, address);
  return words;
}

/** The words of all addresses of a list, one behind the other. Not for the packet path. */
export function listWords(addresses: readonly Address[]): Int32Array {
  const words = new Int32Array(addresses.length * ADDRESS_WORDS);
  for (const [i, address] of addresses.entries()) writeAddress(words, i * ADDRESS_WORDS, address);
  return words;
}

/** The value of words. Not for the packet path. */
export function readAddress(words: Int32Array, at: number): Address {
  if (isIpv4(words, at)) return words[at + 3]! >>> 0;
  let address = 0n;
  for (let i = 0; i < ADDRESS_WORDS; i++) address = (address << 32n) | BigInt(words[at + i]! >>> 0);
  return address;
}

/** An address as 128 bits, IPv4 ones mapped: for sorting and arithmetic over both families. */
export function mappedValue(address: Address): bigint {
  return typeof address === "number" ? 0xffff_0000_0000n | BigInt(address >>> 0) : address;
}
