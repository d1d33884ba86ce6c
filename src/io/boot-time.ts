/**
 * Boot time: CLOCK_BOOTTIME, which goes on while the machine is suspended, unlike every clock that Node.js reads.
 */
import { clockGettime } from "./libc.ts";

const CLOCK_BOOTTIME = 7;

/** struct timespec: seconds (64 bits), nanoseconds (64 bits), little-endian. */
const timespec = new Uint8Array(16);
const words = new Uint32Array(timespec.buffer);

/** Milliseconds since the machine started; NaN where the clock is not known. Allocates nothing. */
export function bootTimeMs(): number {
  if (clockGettime(CLOCK_BOOTTIME, timespec) !== 0) return Number.NaN;
  return (words[1]! * 0x1_0000_0000 + words[0]!) * 1e3 + words[2]! / 1e6;
}
