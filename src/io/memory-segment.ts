/**
 * Memory segment: the wire between memory ports; a learning bridge or a hub. Owns who hears a frame, carrier, and the
 * hand-over to a simulator that decides when (and whether) a frame arrives. Deterministic: ports hear in the order in
 * which they were attached.
 */
import { assert } from "../base/assert.ts";
import { type Copyable, CopySlab, copyable } from "./copy.ts";
import { MacTable } from "./mac-table.ts";
import type { MemoryPort } from "./memory.ts";

/** A frame on its way to one port, owned by who carries it. deliver() may be called never, once or several times. */
export interface FrameInFlight {
  readonly segment: MemorySegment;
  readonly from: MemoryPort;
  readonly to: MemoryPort;
  /** A copy: may be changed or kept. */
  readonly bytes: Uint8Array;
  /** Hands the frame to the receiver now; without effect when the receiver has no carrier by then. */
  deliver(): void;
}

export interface MemorySegmentOptions {
  /** `bridge` learns where addresses are, as a switch does; `hub` repeats everything to everyone. */
  readonly kind: "bridge" | "hub";
  /** Decides when frames arrive. Without it they arrive at flush(), in order. */
  readonly carry?: (frame: FrameInFlight) => void;
}

/** Directions in which a switch lets nothing through at one of its ports. */
export interface Blocked {
  readonly fromPort: boolean;
  readonly toPort: boolean;
}

interface Attachment {
  port: MemoryPort;
  hasCarrier: boolean;
  blocked: Blocked;
}

const EVERYBODY = -1;

export class MemorySegment {
  readonly #isBridge: boolean;
  readonly #carry: ((frame: FrameInFlight) => void) | undefined;
  readonly #attachments: Attachment[] = [];
  readonly #learned = new MacTable(1024);
  readonly #copies = new CopySlab();

  constructor(options: MemorySegmentOptions) {
    this.#isBridge = options.kind === "bridge";
    this.#carry = options.carry;
  }

  /** Plugs a port in; carrier comes up. A port has one segment at most. */
  attach(port: MemoryPort): void {
    assert(port.segment === undefined, `memory port ${port.name} is plugged in already`);
    this.#attachments.push({ port, hasCarrier: true, blocked: { fromPort: false, toPort: false } });
    port.segment = this;
  }

  /** Pulls the plug of a port out. */
  detach(port: MemoryPort): void {
    const index = this.#indexOf(port);
    if (index < 0) return;
    this.#attachments.splice(index, 1);
    // Indexes moved: forget all, as a switch that was rebooted.
    this.#learned.clear();
    port.segment = undefined;
  }

  /** `port` takes the place of `former`, as when a process opens an interface again: the switch keeps what it learned. */
  replug(former: MemoryPort, port: MemoryPort): void {
    const index = this.#indexOf(former);
    assert(index >= 0 && port.segment === undefined, `memory port ${port.name} cannot be plugged in`);
    this.#attachments[index]!.port = port;
    former.segment = undefined;
    port.segment = this;
  }

  /** The switch lets nothing through at this port, and nobody is told: both ends keep their carrier. */
  setBlocked(port: MemoryPort, blocked: Blocked): void {
    const index = this.#indexOf(port);
    assert(index >= 0, `memory port ${port.name} is not on this segment`);
    this.#attachments[index]!.blocked = blocked;
  }

  /** Cuts or mends the cable of one port. */
  setCarrier(port: MemoryPort, isUp: boolean): void {
    const index = this.#indexOf(port);
    assert(index >= 0, `memory port ${port.name} is not on this segment`);
    this.#attachments[index]!.hasCarrier = isUp;
    if (!isUp) this.#learned.forget(index);
  }

  hasCarrier(port: MemoryPort): boolean {
    return this.#attachments[this.#indexOf(port)]?.hasCarrier ?? false;
  }

  /** One frame out of `from`'s memory; false when it has no carrier. Copies; the caller keeps the chunk. */
  transmit(from: MemoryPort, memory: Copyable, at: number, lengthBytes: number): boolean {
    const source = this.#indexOf(from);
    if (source < 0 || !this.#attachments[source]!.hasCarrier) return false;
    // Sent well, and lost in the switch, which learns nothing from it.
    if (this.#attachments[source]!.blocked.fromPort) return true;
    let target = EVERYBODY;
    if (this.#isBridge && lengthBytes >= 12) {
      this.#learned.learn(memory.bytes, at + 6, source);
      if ((memory.bytes[at]! & 1) === 0) target = this.#learned.find(memory.bytes, at);
    }
    if (target === source) return true;
    for (let i = 0; i < this.#attachments.length; i++) {
      if (i === source || (target !== EVERYBODY && target !== i)) continue;
      this.#hand(from, this.#attachments[i]!, memory, at, lengthBytes);
    }
    return true;
  }

  #hand(from: MemoryPort, to: Attachment, memory: Copyable, at: number, lengthBytes: number): void {
    if (!to.hasCarrier || to.blocked.toPort) return;
    if (this.#carry === undefined) {
      to.port.accept(memory, at, lengthBytes);
      return;
    }
    const bytes = this.#copies.copy(memory.bytes, at, lengthBytes);
    this.#carry({
      segment: this,
      from,
      to: to.port,
      bytes,
      deliver: () => {
        if (this.hasCarrier(to.port)) to.port.accept(copyable(bytes), 0, bytes.length);
      },
    });
  }

  #indexOf(port: MemoryPort): number {
    for (let i = 0; i < this.#attachments.length; i++) if (this.#attachments[i]!.port === port) return i;
    return -1;
  }
}
