/**
 * bpf(2): the four commands that put a program onto an interface. Everything here lives as long as its file descriptor,
 * so it vanishes with the process, also when that is killed.
 */
import { addressOf, bpf, errno } from "../libc.ts";
import { INSTRUCTION_BYTES } from "./assembler.ts";
import { SystemError } from "./errors.ts";

const BPF_MAP_CREATE = 0;
const BPF_MAP_UPDATE_ELEM = 2;
const BPF_PROG_LOAD = 5;
const BPF_PROG_TEST_RUN = 10;
const BPF_LINK_CREATE = 28;
const BPF_MAP_TYPE_XSKMAP = 17;
const BPF_PROG_TYPE_XDP = 6;
const BPF_XDP = 37;
const BPF_F_TEST_XDP_LIVE_FRAMES = 2;
const LOG_BYTES = 65_536;
/** Beyond the last field that we fill; the kernel wants the rest to be zero. */
const ATTRIBUTE_BYTES = 128;

export const XDP_FLAGS_GENERIC = 2;
export const XDP_FLAGS_NATIVE = 4;

/** Buffers whose addresses stand in the attributes: nobody else refers to them while the kernel reads them. */
const lent: Uint8Array[] = [];

function lend(bytes: Uint8Array): bigint {
  lent.push(bytes);
  return addressOf(bytes);
}

/** What the attributes point to may be collected after this call, and not before. */
function call(command: number, attributes: Uint8Array): number {
  const answer = bpf(command, attributes);
  lent.length = 0;
  return answer;
}

/** A map from receive queue to XDP socket. */
export function createSocketMap(queues: number): number {
  const attributes = Buffer.alloc(ATTRIBUTE_BYTES);
  attributes.writeUInt32LE(BPF_MAP_TYPE_XSKMAP, 0);
  attributes.writeUInt32LE(4, 4); // key: u32
  attributes.writeUInt32LE(4, 8); // value: u32
  attributes.writeUInt32LE(queues, 12);
  attributes.write("synwall_sockets", 28, "latin1");
  return check("creating the XDP socket map", call(BPF_MAP_CREATE, attributes));
}

export function putSocket(mapFd: number, queue: number, socketFd: number): void {
  const key = Buffer.alloc(128);
  key.writeUInt32LE(queue, 0);
  const value = Buffer.alloc(128);
  value.writeUInt32LE(socketFd, 0);
  const attributes = Buffer.alloc(ATTRIBUTE_BYTES);
  attributes.writeUInt32LE(mapFd, 0);
  attributes.writeBigUInt64LE(lend(key), 8);
  attributes.writeBigUInt64LE(lend(value), 16);
  check("putting a socket into the XDP socket map", call(BPF_MAP_UPDATE_ELEM, attributes));
}

/** Loads an XDP program; the verifier's own words are in the error when it refuses. */
export function loadProgram(code: Uint8Array): number {
  const licence = Buffer.alloc(128);
  licence.write("Apache-2.0", "latin1");
  const instructions = Buffer.alloc(Math.max(128, code.length));
  instructions.set(code);
  const attributes = Buffer.alloc(ATTRIBUTE_BYTES);
  attributes.writeUInt32LE(BPF_PROG_TYPE_XDP, 0);
  attributes.writeUInt32LE(code.length / INSTRUCTION_BYTES, 4);
  attributes.writeBigUInt64LE(lend(instructions), 8);
  attributes.writeBigUInt64LE(lend(licence), 16);
  attributes.write("synwall", 48, "latin1");
  attributes.writeUInt32LE(BPF_XDP, 68);
  const fd = call(BPF_PROG_LOAD, attributes);
  if (fd >= 0) return fd;
  const why = errno();
  const log = Buffer.alloc(LOG_BYTES);
  attributes.writeUInt32LE(1, 24);
  attributes.writeUInt32LE(log.length, 28);
  attributes.writeBigUInt64LE(lend(instructions), 8);
  attributes.writeBigUInt64LE(lend(licence), 16);
  attributes.writeBigUInt64LE(lend(log), 32);
  const again = call(BPF_PROG_LOAD, attributes);
  if (again >= 0) return again;
  throw new SystemError("loading the XDP program", why, log.toString("latin1").replace(/\0.*$/s, ""));
}

/** Attaches a program; the link's descriptor keeps it attached. */
export function attachLink(programFd: number, interfaceIndex: number, flags: number): number {
  const attributes = Buffer.alloc(ATTRIBUTE_BYTES);
  attributes.writeUInt32LE(programFd, 0);
  attributes.writeUInt32LE(interfaceIndex, 4);
  attributes.writeUInt32LE(BPF_XDP, 8);
  attributes.writeUInt32LE(flags, 12);
  return check("attaching the XDP program", call(BPF_LINK_CREATE, attributes));
}

/** Runs a program on `count` copies of a frame that go where its verdict says: a generator inside the kernel (5.18). */
export function runOnLiveFrames(programFd: number, frame: Uint8Array, count: number): void {
  const data = Buffer.alloc(Math.max(128, frame.length));
  data.set(frame);
  // struct xdp_md: the frame is all there is, and came in nowhere.
  const context = Buffer.alloc(128);
  context.writeUInt32LE(frame.length, 4);
  const attributes = Buffer.alloc(ATTRIBUTE_BYTES);
  attributes.writeUInt32LE(programFd, 0);
  attributes.writeUInt32LE(frame.length, 8);
  attributes.writeBigUInt64LE(lend(data), 16);
  attributes.writeUInt32LE(count, 32);
  attributes.writeUInt32LE(24, 40);
  attributes.writeBigUInt64LE(lend(context), 48);
  attributes.writeUInt32LE(BPF_F_TEST_XDP_LIVE_FRAMES, 64);
  check("sending frames from the kernel", call(BPF_PROG_TEST_RUN, attributes));
}

function check(action: string, fd: number): number {
  if (fd < 0) throw new SystemError(action, errno());
  return fd;
}
