/**
 * Opening XDP ports: memory, sockets, program and attachment of all ports of a worker, or a clear refusal that leaves
 * nothing behind. Everything hangs on file descriptors of this process, so it is gone when the process is.
 */
import { endianness } from "node:os";
import { assert } from "../../base/assert.ts";
import { Interface } from "../interface.ts";
import { AF_PACKET, closeFd, errno, SOCK_CLOEXEC, SOCK_RAW, setsockopt, socket } from "../libc.ts";
import { ChunkPool } from "../pool.ts";
import type { OpenedPorts, PortFilter, PortOptions } from "../port.ts";
import {
  attachLink,
  createSocketMap,
  loadProgram,
  putSocket,
  XDP_FLAGS_GENERIC,
  XDP_FLAGS_NATIVE,
} from "./bpf.ts";
import { CardError, explain, SystemError } from "./errors.ts";
import { XdpGroup, XdpPort } from "./port.ts";
import { programOf } from "./programs.ts";
import { RING_FRAMES, XdpQueue } from "./queue.ts";
import { checkQueues } from "./queue-budget.ts";
import { Umem } from "./umem.ts";

/** A queue may hold a full fill ring, a full rx ring and a full tx ring; as much again is for the caller. */
const CHUNKS_PER_QUEUE = 4 * RING_FRAMES;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_MR_PROMISC = 1;
const EPERM = 1;
const EBUSY = 16;
const EEXIST = 17;

/** Opens all ports on one UMEM. Throws SynwallError SW_IO_RIGHTS or SW_IO_INTERFACE. */
export function openXdpPorts(options: readonly PortOptions[]): OpenedPorts {
  assert(endianness() === "LE", "XDP rings are read as little-endian words");
  assert(options.length > 0, "openPorts needs at least one port");
  const undo: (() => void)[] = [];
  let name = options[0]!.interfaceName;
  try {
    // The right that is missing most often, asked for first: later refusals are harder to understand.
    closeFd(createSocketMap(1));
    const interfaces = options.map((option) => {
      const made = new Interface((name = option.interfaceName));
      undo.push(() => made.close());
      return made;
    });
    checkQueues(interfaces);
    interfaces.forEach((one, i) => {
      if (options[i]!.hasTags === true) checkTags(one);
    });
    const queues = interfaces.reduce((sum, one) => sum + one.rxQueues, 0);
    const umem = new Umem(queues * CHUNKS_PER_QUEUE);
    undo.push(() => umem.release());
    const group = new XdpGroup(umem, new ChunkPool(umem.memory));
    let first: XdpQueue | undefined;
    interfaces.forEach((one, i) => {
      name = one.name;
      const made: XdpQueue[] = [];
      for (let queueIndex = 0; queueIndex < one.rxQueues; queueIndex++) {
        const place = { interfaceIndex: one.index, queueIndex, sharedWith: first };
        const queue = new XdpQueue(umem, group.pool, place);
        undo.push(() => queue.close());
        first ??= queue;
        made.push(queue);
      }
      const { mode, keepers } = attach(one, made, options[i]!.filter, undo);
      new XdpPort(group, { interface: one, mode, queues: made, keepers });
    });
    const modes = group.ports.map((port) => `${port.name} ${port.mode}`).join(", ");
    return { pool: group.pool, ports: [...group.ports], reason: `xdp: ${modes}` };
  } catch (error) {
    for (const step of undo.reverse()) step();
    throw explain(name, error);
  }
}

/** A card that takes tags off keeps them to itself: an XDP program would see the frames of all VLANs as untagged. */
function checkTags(one: Interface): void {
  if (!one.takesTagsOff()) return;
  const why = "it takes VLAN tags off frames before xdp sees them (rx-vlan-offload)";
  throw new CardError(one.name, why, `ethtool -K ${one.name} rxvlan off txvlan off`);
}

interface Attachment {
  readonly mode: "native" | "generic";
  readonly keepers: number[];
}

function attach(
  one: Interface,
  queues: readonly XdpQueue[],
  filter: PortFilter,
  undo: (() => void)[],
): Attachment {
  const keepers: number[] = [];
  const keep = (fd: number): void => {
    keepers.push(fd);
    undo.push(() => closeFd(fd));
  };
  // Hosts send to our virtual addresses, which the card does not know. A cluster link has only its own.
  if (filter.kind === "all") keep(makePromiscuous(one.index));
  const mapFd = createSocketMap(queues.length);
  try {
    queues.forEach((queue, index) => {
      putSocket(mapFd, index, queue.fd);
    });
    const programFd = loadProgram(programOf(filter, mapFd));
    try {
      const { mode, linkFd } = attachBest(programFd, one.index);
      keep(linkFd);
      return { mode, keepers };
    } finally {
      closeFd(programFd);
    }
  } finally {
    // The link holds the program, and the program holds the map.
    closeFd(mapFd);
  }
}

function attachBest(
  programFd: number,
  interfaceIndex: number,
): { mode: "native" | "generic"; linkFd: number } {
  try {
    return { mode: "native", linkFd: attachLink(programFd, interfaceIndex, XDP_FLAGS_NATIVE) };
  } catch (error) {
    // Refusals that generic mode would meet too, and whose reason must not be hidden by its own.
    const isFinal = error instanceof SystemError && [EPERM, EBUSY, EEXIST].includes(error.errno);
    if (isFinal) throw error;
    return { mode: "generic", linkFd: attachLink(programFd, interfaceIndex, XDP_FLAGS_GENERIC) };
  }
}

/** The interface hears every address for as long as the returned socket lives. struct packet_mreq. */
function makePromiscuous(interfaceIndex: number): number {
  // Protocol 0: the socket itself hears nothing.
  const fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SystemError("opening a packet socket", errno());
  const membership = Buffer.alloc(128);
  membership.writeInt32LE(interfaceIndex, 0);
  membership.writeUInt16LE(PACKET_MR_PROMISC, 4);
  if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership, 16) === 0) return fd;
  const why = errno();
  closeFd(fd);
  throw new SystemError("making the interface promiscuous", why);
}
