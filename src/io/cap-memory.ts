/**
 * Memory between a worker and its capture helper: one memory file with two rings a port. Both processes map it and see
 * the same records.
 *
 *   | frames dropped | rx ring 0 | tx ring 0 | rx ring 1 | tx ring 1 | ...      each on its own pages
 *
 *   record:  | frame length u32 LE | frame ... |
 */
import { RecordRing, type RingMemory } from "../base/ring.ts";
import {
  describeErrno,
  errno,
  ftruncate,
  MAP_SHARED,
  map,
  memfdCreate,
  munmap,
  type Pointer,
} from "./libc.ts";
import { FRAME_BYTES_MAX } from "./port.ts";

export const FRAME_AT = 4;
export const PORTS_MAX = 64;
const RECORD_BYTES = FRAME_AT + FRAME_BYTES_MAX;
const RX_RECORDS = 2048;
const TX_RECORDS = 1024;
/** Beyond the header of a RecordRing, whatever its size: one page. */
const HEADER_ROOM_BYTES = 4096;
const PAGE_BYTES = 4096;
const MFD_CLOEXEC = 1;

const DROPS_BYTES = PAGE_BYTES;
const RX_BYTES = pages(HEADER_ROOM_BYTES + RX_RECORDS * RECORD_BYTES);
const TX_BYTES = pages(HEADER_ROOM_BYTES + TX_RECORDS * RECORD_BYTES);

/** One port's rings, in this process. */
export interface CapRings {
  readonly rx: RecordRing;
  readonly tx: RecordRing;
  /** After this neither ring may be touched. */
  unmap(): void;
}

/** A new memory file for `ports` ports. */
export function createCapMemory(ports: number): number {
  const fd = memfdCreate("synwall-cap", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, DROPS_BYTES + ports * (RX_BYTES + TX_BYTES)) !== 0) {
    throw new Error(`making memory for captured frames failed with ${describeErrno(errno())}`);
  }
  return fd;
}

/** Frames dropped by the helper: too long to hand over, by port; and not sent, at txDropsAt(port). */
export function mapDrops(fd: number): Int32Array {
  return new Int32Array(mapOrFail(fd, 0, DROPS_BYTES).memory);
}

export function txDropsAt(port: number): number {
  return PORTS_MAX + port;
}

export function mapRings(fd: number, port: number): CapRings {
  const at = DROPS_BYTES + port * (RX_BYTES + TX_BYTES);
  const rx = mapOrFail(fd, at, RX_BYTES);
  const tx = mapOrFail(fd, at + RX_BYTES, TX_BYTES);
  return {
    rx: new RecordRing(asRing(rx.memory, RX_RECORDS)),
    tx: new RecordRing(asRing(tx.memory, TX_RECORDS)),
    unmap: () => {
      munmap(rx.pointer, RX_BYTES);
      munmap(tx.pointer, TX_BYTES);
    },
  };
}

/** Shared between processes is shared enough: Atomics work on any integer array, and these bytes never move. */
function asRing(memory: ArrayBuffer, capacity: number): RingMemory {
  return { buffer: memory as unknown as SharedArrayBuffer, recordBytes: RECORD_BYTES, capacity };
}

function mapOrFail(
  fd: number,
  offset: number,
  lengthBytes: number,
): { readonly pointer: Pointer; readonly memory: ArrayBuffer } {
  const mapping = map(lengthBytes, MAP_SHARED, fd, offset);
  if (mapping === undefined) throw new Error(`mapping captured frames failed with ${describeErrno(errno())}`);
  return mapping;
}

function pages(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}
