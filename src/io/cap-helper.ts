/**
 * Capture helper: a process of its own that runs libpcap (package `cap`) for one worker and moves frames between it and
 * the shared rings. Owns the capture handles; decides nothing about frames but the filter.
 *
 * Why a process: `cap` is bound to the main thread's event loop, where a stall would stall packets, and it aborts its
 * process when an interface goes down. Here that costs the worker nothing: it starts the next helper.
 *
 * Descriptors: 3 lifeline to the worker, 4 memory, 5 doorbell for sending, 6 + i doorbell of port i for received frames.
 * Argument: CapHelperTask as JSON. Lifeline: we write one line, `ok` or why not; we read port numbers to close, and
 * end with the worker.
 */
import { readSync, writeSync } from "node:fs";
import type { Cap } from "cap";
import type { RecordRing } from "../base/ring.ts";
import { FRAME_AT, mapDrops, mapRings, txDropsAt } from "./cap-memory.ts";
import { isForUs } from "./filter.ts";
import { readFd, setrlimit, watchReadable, writeFd } from "./libc.ts";
import { FRAME_BYTES_MAX, type PortFilter, type PortOptions } from "./port.ts";
import { openUdpSink } from "./udp-sink.ts";

export interface CapHelperPort extends PortOptions {
  /** The interface's own address. */
  readonly mac: readonly number[];
}

export interface CapHelperTask {
  readonly ports: readonly CapHelperPort[];
}

const LIFELINE = 3;
const MEMORY = 4;
const TX_DOORBELL = 5;
const RX_DOORBELLS = 6;
const RLIMIT_CORE = 4;
/** libpcap cuts it into slots of an MTU, but of 64 KiB when the interface has GRO or TSO on. */
const KERNEL_BUFFER_BYTES = 16 << 20;
const SOURCE_AT = 6;
const CAPTURE_BYTES = 65_536;
/** While frames keep coming `cap` does not return to the event loop: so look after sending and the worker in between. */
const FRAMES_BETWEEN_SENDS = 32;
const SENDS_MAX = 256;
const FRAMES_BETWEEN_LIFE_CHECKS = 1024;

const one = Buffer.alloc(8);
one.writeBigUInt64LE(1n);
const counter = Buffer.alloc(8);

class CapturedPort {
  readonly #capture: Cap;
  readonly #filter: PortFilter;
  readonly #mac: Buffer;
  readonly #rx: RecordRing;
  readonly #tx: RecordRing;
  readonly #rxBytes: Buffer;
  readonly #txRecords: Buffer[] = [];
  readonly #drops: Int32Array;
  readonly #index: number;
  readonly #captured = Buffer.alloc(CAPTURE_BYTES);
  #frames = 0;
  #isOpen = true;

  constructor(capture: Cap, index: number, options: CapHelperPort, drops: Int32Array) {
    this.#capture = capture;
    this.#index = index;
    this.#filter = options.filter;
    this.#mac = Buffer.from(options.mac);
    this.#drops = drops;
    const rings = mapRings(MEMORY, index);
    this.#rx = rings.rx;
    this.#tx = rings.tx;
    this.#rxBytes = bufferOf(rings.rx);
    const tx = bufferOf(rings.tx);
    for (let at = 0; at < tx.length; at += rings.tx.recordBytes) {
      this.#txRecords.push(tx.subarray(at + FRAME_AT, at + rings.tx.recordBytes));
    }
    capture.on("packet", (lengthBytes: number) => this.#onFrame(lengthBytes));
    const linkType = capture.open(
      options.interfaceName,
      expressionOf(options.filter),
      KERNEL_BUFFER_BYTES,
      this.#captured,
    );
    if (linkType !== "ETHERNET") throw new Error(`it is ${linkType}, not Ethernet`);
  }

  /** Sends what waits, but not without end; then asks to be woken. */
  drain(): void {
    if (!this.#isOpen) return;
    for (let left = Math.min(this.#tx.length(), SENDS_MAX); left > 0; left--) {
      const at = this.#tx.at(0);
      try {
        this.#capture.send(this.#txRecords[at / this.#tx.recordBytes]!, this.#tx.view.getUint32(at, true));
      } catch {
        // The kernel had no room, or the interface is down: as on a real wire, the frame is lost.
        Atomics.add(this.#drops, txDropsAt(this.#index), 1);
      }
      this.#tx.release(1);
    }
    if (this.#tx.length() > 0 || !this.#tx.arm()) writeFd(TX_DOORBELL, one, 8);
  }

  close(): void {
    this.#isOpen = false;
    this.#capture.close();
  }

  #onFrame(lengthBytes: number): void {
    if (++this.#frames % FRAMES_BETWEEN_SENDS === 0) for (const port of ports) port.drain();
    if (this.#frames % FRAMES_BETWEEN_LIFE_CHECKS === 0 && process.ppid !== parent) process.exit(0);
    // What the kernel itself sends. libpcap's own word for it, `inbound`, swallows the first frame: that one is
    // filtered in user space, where its direction is not known. What we send does not come back to our handle.
    if (this.#captured.compare(this.#mac, 0, 6, SOURCE_AT, SOURCE_AT + 6) === 0) return;
    // libpcap puts a VLAN tag back in that the kernel's filter did not see: so ask again here.
    if (!isForUs(this.#filter, this.#captured, 0, lengthBytes)) return;
    if (lengthBytes > FRAME_BYTES_MAX) {
      Atomics.add(this.#drops, this.#index, 1);
      return;
    }
    const at = this.#rx.reserve();
    if (at < 0) return; // The ring counts what it refuses.
    this.#rx.view.setUint32(at, lengthBytes, true);
    this.#captured.copy(this.#rxBytes, at + FRAME_AT, 0, lengthBytes);
    this.#rx.publish();
    if (this.#rx.takeArmed()) writeFd(RX_DOORBELLS + this.#index, one, 8);
  }
}

const parent = process.ppid;
const ports: CapturedPort[] = [];

// A signal to the whole process group is the worker's business; we go when it goes.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});

// Being aborted is part of our life: no core files of it.
setrlimit(RLIMIT_CORE, Buffer.alloc(128));

await main(JSON.parse(process.argv[2] ?? "{}") as CapHelperTask);

async function main(task: CapHelperTask): Promise<void> {
  try {
    const { Cap } = await import("cap").then((module) => module.default as unknown as typeof module);
    const drops = mapDrops(MEMORY);
    task.ports.forEach((options, index) => {
      ports.push(new CapturedPort(new Cap(), index, options, drops));
      if (options.filter.kind === "cluster") openUdpSink(options.interfaceName, options.filter.udpPorts);
    });
  } catch (error) {
    writeSync(LIFELINE, `${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  }
  watchReadable(
    TX_DOORBELL,
    () => {
      readFd(TX_DOORBELL, counter, 8);
      for (const port of ports) port.drain();
    },
    () => process.exit(1),
  );
  watchReadable(LIFELINE, onLifeline, () => process.exit(0));
  for (const port of ports) port.drain();
  writeSync(LIFELINE, "ok\n");
}

function onLifeline(): void {
  const commands = Buffer.alloc(64);
  let count = 0;
  try {
    count = readSync(LIFELINE, commands);
  } catch {
    // The worker's process was killed: same as its end.
  }
  if (count === 0) process.exit(0);
  for (const index of commands.subarray(0, count)) ports[index]?.close();
}

/** What the kernel hands to libpcap: isForUs(), but said to spare copies. */
function expressionOf(filter: PortFilter): string {
  if (filter.kind === "all") return "";
  const udpPorts = filter.udpPorts.map((port) => `udp dst port ${port}`).join(" or ");
  const ours = `ip[0] = 0x45 and ip[6:2] & 0x3fff = 0 and (${udpPorts || "udp"})`;
  return `(${ours}) or (arp[6:2] = 2 and arp[24:4] = 0)`;
}

function bufferOf(ring: RecordRing): Buffer {
  return Buffer.from(ring.bytes.buffer, ring.bytes.byteOffset, ring.recordBytes * ring.capacity);
}
