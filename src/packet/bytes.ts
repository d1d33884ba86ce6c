/**
 * Big-endian reads and writes at an offset (network byte order). Owns no bounds: whoever reads has checked the length.
 * 32-bit values are signed here: a signed 32-bit integer is never boxed on its way through functions, so the packet path
 * allocates nothing. Only whoever shows or orders an address makes it unsigned (`>>> 0`).
 */

export function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

export function i32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

export function setU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function setI32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}
