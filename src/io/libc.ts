/**
 * libc: the C functions that this folder calls through koffi, and nothing of what they are used for.
 * Every function answers as in C: -1 means failure, and errno() tells why (ask before calling anything else).
 */
import { getSystemErrorMap } from "node:util";
import koffi from "koffi";

// Node.js itself carries the symbols, whichever libc it was linked with.
const lib = koffi.load(null);

export type Pointer = bigint;

export const socket = lib.func("int socket(int domain, int type, int protocol)") as (
  domain: number,
  type: number,
  protocol: number,
) => number;
export const closeFd = lib.func("int close(int fd)") as (fd: number) => number;
export const bind = lib.func("int bind(int fd, void *address, uint32_t length)") as (
  fd: number,
  address: Uint8Array,
  length: number,
) => number;
export const setsockopt = lib.func(
  "int setsockopt(int fd, int level, int name, void *value, uint32_t length)",
) as (fd: number, level: number, name: number, value: Uint8Array, length: number) => number;
export const getsockopt = lib.func(
  "int getsockopt(int fd, int level, int name, void *value, void *length)",
) as (fd: number, level: number, name: number, value: Uint8Array, length: Uint8Array) => number;
export const sendto = lib.func(
  "int64_t sendto(int fd, void *data, size_t length, int flags, void *address, uint32_t addressLength)",
) as (fd: number, data: null, length: number, flags: number, address: null, addressLength: number) => number;
export const recvfrom = lib.func(
  "int64_t recvfrom(int fd, void *data, size_t length, int flags, void *address, void *addressLength)",
) as (fd: number, data: null, length: number, flags: number, address: null, addressLength: null) => number;
export const ioctl = lib.func("int ioctl(int fd, unsigned long request, void *argument)") as (
  fd: number,
  request: number,
  argument: Uint8Array,
) => number;
export const mmap = lib.func(
  "void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)",
) as (
  address: null,
  length: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
) => Pointer | null;
export const munmap = lib.func("int munmap(void *address, size_t length)") as (
  address: Pointer,
  length: number,
) => number;
export const madvise = lib.func("int madvise(void *address, size_t length, int advice)") as (
  address: Pointer,
  length: number,
  advice: number,
) => number;
export const setrlimit = lib.func("int setrlimit(int resource, void *limit)") as (
  resource: number,
  limit: Uint8Array,
) => number;
export const schedSetscheduler = lib.func(
  "int sched_setscheduler(int thread, int policy, void *parameters)",
) as (thread: number, policy: number, parameters: Uint8Array) => number;
export const schedGetscheduler = lib.func("int sched_getscheduler(int thread)") as (thread: number) => number;
export const clockGettime = lib.func("int clock_gettime(int clock, void *time)") as (
  clock: number,
  time: Uint8Array,
) => number;
/** Ends the process: no handler runs, no thread is waited for. */
export const exitNow = lib.func("void _exit(int status)") as (status: number) => void;
/** The calling thread stops sharing what `flags` name with the others. */
export const unshare = lib.func("int unshare(int flags)") as (flags: number) => number;
/** The calling thread moves into another network namespace. */
export const setns = lib.func("int setns(int fd, int kind)") as (fd: number, kind: number) => number;
export const poll = lib.func("int poll(void *fds, unsigned long count, int timeoutMs)") as (
  fds: Uint8Array,
  count: number,
  timeoutMs: number,
) => number;
export const socketpair = lib.func("int socketpair(int domain, int type, int protocol, void *ends)") as (
  domain: number,
  type: number,
  protocol: number,
  ends: Uint8Array,
) => number;
export const memfdCreate = lib.func("int memfd_create(const char *name, unsigned int flags)") as (
  name: string,
  flags: number,
) => number;
export const ftruncate = lib.func("int ftruncate(int fd, int64_t length)") as (
  fd: number,
  length: number,
) => number;
export const eventfd = lib.func("int eventfd(unsigned int value, int flags)") as (
  value: number,
  flags: number,
) => number;
export const readFd = lib.func("int64_t read(int fd, void *data, size_t length)") as (
  fd: number,
  data: Uint8Array,
  length: number,
) => number;
export const writeFd = lib.func("int64_t write(int fd, void *data, size_t length)") as (
  fd: number,
  data: Uint8Array,
  length: number,
) => number;
// Variadic in C; on the 64-bit ABIs of Linux an integer or pointer is passed alike either way.
const syscall = lib.func("int64_t syscall(int64_t number, int64_t a, void *b, int64_t c)") as (
  number: number,
  a: number,
  b: Uint8Array,
  c: number,
) => number;

const BPF_SYSCALL = process.arch === "arm64" ? 280 : 321;

/** bpf(2). */
export function bpf(command: number, attributes: Uint8Array): number {
  return syscall(BPF_SYSCALL, command, attributes, attributes.length);
}

export const AF_INET = 2;
export const AF_PACKET = 17;
export const AF_XDP = 44;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const PROT_READ_WRITE = 3;
export const MAP_SHARED = 0x01;
export const MAP_PRIVATE = 0x02;
export const MAP_ANONYMOUS = 0x20;
export const MAP_POPULATE = 0x8000;
const MAP_FAILED = 0xffffffffffffffffn;

/** Why the last call failed. */
export function errno(): number {
  return koffi.errno();
}

/** `EPERM (operation not permitted)`. */
export function describeErrno(number: number): string {
  const known = getSystemErrorMap().get(-number);
  return known === undefined ? `errno ${number}` : `${known[0]} (${known[1]})`;
}

/** Where a buffer's bytes are. Keep the buffer referenced for as long as C uses the address. */
export function addressOf(bytes: Uint8Array): Pointer {
  return koffi.address(bytes);
}

/** Memory that C sees too: mapped, or undefined and errno() tells why. */
export function map(
  lengthBytes: number,
  flags: number,
  fd: number,
  offset: number,
): { readonly pointer: Pointer; readonly memory: ArrayBuffer } | undefined {
  const pointer = mmap(null, lengthBytes, PROT_READ_WRITE, flags, fd, offset);
  if (pointer === null || pointer === MAP_FAILED) return undefined;
  return { pointer, memory: koffi.view(pointer, lengthBytes) };
}

/** Calls `ready` from the event loop while `fd` is readable; `failed` once when it never will be again. */
export function watchReadable(fd: number, ready: () => void, failed: () => void): { close(): void } {
  // koffi passes libuv's status first. It drops what a callback throws, so a broken invariant is thrown again from
  // a callback of Node.js, where it ends the process as it must.
  const onPoll = (status: unknown): void => {
    try {
      if (status === 0) ready();
      else failed();
    } catch (error) {
      setImmediate(() => {
        throw error;
      });
    }
  };
  const handle = koffi.node.poll(fd, onPoll);
  // A handle that nobody refers to is collected, and then silent.
  watches.add(handle);
  return {
    close: () => {
      watches.delete(handle);
      handle.close();
    },
  };
}

const watches = new Set<unknown>();
