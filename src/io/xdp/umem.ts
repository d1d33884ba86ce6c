/**
 * UMEM: the frame memory that the kernel and all XDP ports of a worker share. Mapped through libc, page-aligned, and
 * never unmapped: who still holds pool.bytes after close() reads zeroes instead of crashing the process.
 */
import {
  errno,
  MAP_ANONYMOUS,
  MAP_POPULATE,
  MAP_PRIVATE,
  madvise,
  map,
  type Pointer,
  setrlimit,
} from "../libc.ts";
import { CHUNK_BYTES } from "../port.ts";
import { SystemError } from "./errors.ts";

const RLIMIT_MEMLOCK = 8;
const RLIM_INFINITY = 0xffffffffffffffffn;
const MADV_DONTNEED = 4;

export class Umem {
  readonly memory: ArrayBuffer;
  readonly pointer: Pointer;

  constructor(chunks: number) {
    const lengthBytes = chunks * CHUNK_BYTES;
    raiseLockedMemory();
    const mapping = map(lengthBytes, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (mapping === undefined) throw new SystemError(`mapping ${lengthBytes} bytes of frame memory`, errno());
    this.memory = mapping.memory;
    this.pointer = mapping.pointer;
  }

  /** Gives the pages back; addresses stay valid. Only after the last socket is closed. */
  release(): void {
    madvise(this.pointer, this.memory.byteLength, MADV_DONTNEED);
  }
}

/** Kernels before 5.11, and processes without CAP_IPC_LOCK, count frame memory against this limit. */
function raiseLockedMemory(): void {
  const limit = Buffer.alloc(128);
  limit.writeBigUInt64LE(RLIM_INFINITY, 0);
  limit.writeBigUInt64LE(RLIM_INFINITY, 8);
  // Without the right to raise it the registration of the memory may still fit, and says so when it does not.
  setrlimit(RLIMIT_MEMLOCK, limit);
}
