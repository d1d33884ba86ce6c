/**
 * Probe packet: a numbered UDP datagram. Owns the bytes only.
 *
 *   | magic u32 | flow u8 | direction u8 | zero u16 | sequence u32 | pad to 32 |
 */
export const TO_SERVER = 0;
export const TO_CLIENT = 1;

const MAGIC = 0x53_57_50_31; // "SWP1"
const PACKET_BYTES = 32;

export interface Probe {
  readonly flow: number;
  readonly direction: number;
  readonly sequence: number;
}

export function encodeProbe(probe: Probe): Buffer {
  const bytes = Buffer.alloc(PACKET_BYTES);
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt8(probe.flow, 4);
  bytes.writeUInt8(probe.direction, 5);
  bytes.writeUInt32BE(probe.sequence, 8);
  return bytes;
}

/** Undefined for anything that is no probe. */
export function decodeProbe(bytes: Buffer): Probe | undefined {
  if (bytes.length !== PACKET_BYTES || bytes.readUInt32BE(0) !== MAGIC) return undefined;
  return { flow: bytes.readUInt8(4), direction: bytes.readUInt8(5), sequence: bytes.readUInt32BE(8) };
}
