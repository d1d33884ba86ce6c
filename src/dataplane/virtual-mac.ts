/**
 * Virtual MACs: one per zone and slot, locally administered (IEEE 802c), the same on every node.
 *
 *   02:53:57:<zone>:<slot high>:<slot low>        53:57 = "SW"
 */
import { setU16, u16 } from "../packet/bytes.ts";

const PREFIX_HIGH = 0x0253;
const PREFIX_LOW = 0x57;

/** Writes the virtual MAC of a zone's slot to six bytes of `out` at `at`. */
export function virtualMac(zone: number, slot: number, out: Uint8Array, at = 0): void {
  setU16(out, at, PREFIX_HIGH);
  out[at + 2] = PREFIX_LOW;
  out[at + 3] = zone;
  setU16(out, at + 4, slot);
}

/** Slot of the virtual MAC of `zone` at `at`, or -1 when it is another address. */
export function virtualSlot(zone: number, bytes: Uint8Array, at: number): number {
  if (u16(bytes, at) !== PREFIX_HIGH || bytes[at + 2] !== PREFIX_LOW || bytes[at + 3] !== zone) return -1;
  return u16(bytes, at + 4);
}
