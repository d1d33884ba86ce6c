/**
 * Network card of a simulated host, or of the witness: whole frames in and out, at one port of a switch.
 */
import { createMemoryPool, MemoryPort } from "../../../src/io/memory.ts";

/** Frames leave as soon as they are queued. */
const CHUNKS = 4;

export class Nic {
  readonly port: MemoryPort;

  /** Its port is still to be attached to a switch. `onFrame` has a frame during the call only. */
  constructor(name: string, onFrame: (frame: Uint8Array) => void) {
    this.port = new MemoryPort(createMemoryPool(CHUNKS), {
      name,
      mtuBytes: 1700,
      // No dataplane behind it: everything is the kernel's.
      filter: { kind: "cluster", udpPorts: [] },
      kernel: onFrame,
    });
  }

  get mac(): Uint8Array {
    return this.port.mac;
  }

  send(frame: Uint8Array): void {
    const at = this.port.pool.alloc();
    this.port.pool.bytes.set(frame, at);
    this.port.send(at, frame.length);
    this.port.flush();
  }
}
