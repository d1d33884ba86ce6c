/**
 * Port: the one interface through which frames enter and leave, and the pool that owns their memory.
 * Drivers: xdp, cap, memory; test/conformance/port.ts holds what all three must do. No driver knows what a frame means.
 *
 * Ownership of a frame: receive() gives it to the caller; the caller gives it away with send() or free(), exactly once.
 *
 *   pool.bytes:  | headroom (>= 192 bytes) | frame ......... | unused |
 *                ^ chunk start             ^ at              (chunk = pool.chunkBytes, a power of two)
 */

/** Size and alignment of a chunk. */
export const CHUNK_BYTES = 2048;
/** Room before a frame that alloc() or receive() gave: what AF_XDP leaves, and enough for Ethernet + IPv6 + GENEVE. */
export const HEADROOM_BYTES = 256;
/** The longest frame that fits a chunk behind its headroom. */
export const FRAME_BYTES_MAX = CHUNK_BYTES - HEADROOM_BYTES;
/** The largest MTU that a port takes: its frames, with one VLAN tag, fit a chunk. */
export const MTU_BYTES_MAX = FRAME_BYTES_MAX - 18;

/** Memory of all frames of a worker: one UMEM for xdp, an ArrayBuffer for cap and memory. */
export interface FramePool {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Size and alignment of a chunk: 2048. A frame never crosses its chunk. */
  readonly chunkBytes: number;
  readonly chunks: number;
  /** Offset of a free frame's first byte (headroom already left), or -1: pool exhausted (counted). */
  alloc(): number;
  /** Gives the chunk that holds `at` back. */
  free(at: number): void;
  /** Chunks that alloc() could give now. */
  available(): number;
  /** alloc() calls answered -1. */
  exhausted(): number;
}

/** Frames that one receive() call returned; reused by the caller for every call. */
export interface RxBatch {
  /** Offsets into pool.bytes. */
  readonly at: Uint32Array;
  readonly lengthBytes: Uint32Array;
}

export interface PortCounters {
  rxFrames: number;
  rxBytes: number;
  txFrames: number;
  txBytes: number;
  /** Frames that the ring, the kernel or the wire had no room for; the port freed them. */
  txDropped: number;
  /** Frames lost before we saw them, where the driver can tell. */
  rxDropped: number;
  /** Frames of a VLAN that nobody on this interface has; see vlan.ts. */
  readonly rxUnknownVlan: number;
}

export interface Port {
  readonly driver: "xdp" | "cap" | "memory";
  /** "native", "generic" for xdp; "" otherwise. */
  readonly mode: string;
  readonly name: string;
  /** The interface's own address: 6 bytes. */
  readonly mac: Uint8Array;
  readonly mtuBytes: number;
  readonly pool: FramePool;
  readonly counters: PortCounters;
  /** Fills `batch` with at most `max` received frames; returns how many. Never blocks, never allocates. */
  receive(batch: RxBatch, max: number): number;
  /** Queues a frame for sending and takes its ownership. False: no room, the port freed it and counted it. */
  send(at: number, lengthBytes: number): boolean;
  /** Makes queued frames leave now; also collects finished ones. Call once per batch. */
  flush(): void;
  /** Calls `wake` from the event loop when frames may be waiting. Level-triggered: receive() until it returns 0. */
  onReadable(wake: () => void): void;
  /** The interface's MTU as it is now; a system call. `mtuBytes` is what it was when the port was opened. */
  mtuNow(): number;
  /** True while the interface has carrier; cheap enough for every tick. */
  carrier(): boolean;
  /** Detaches and frees everything; safe to call twice. */
  close(): void;
}

/** What a driver shall let through to us. `all` for zones. `cluster`: only UDP to `udpPorts` (IPv4, no options)
 * and ARP replies to 0.0.0.0, which answer our own probes; all else goes on to the kernel, which keeps its own address on that interface. */
export type PortFilter =
  | { readonly kind: "all" }
  | { readonly kind: "cluster"; readonly udpPorts: readonly number[] };

export interface PortOptions {
  readonly interfaceName: string;
  /** What the port is called; default: the interface's name. */
  readonly label?: string;
  /** 802.1Q tag of the frames that belong to this port; absent: frames without a tag. One interface may be named several times. */
  readonly vlan?: number;
  /** Of an interface: tags are looked at, so the card must leave them in the frames. */
  readonly hasTags?: boolean;
  readonly filter: PortFilter;
}

/**
 * src/io/open.ts exports: `openPorts(driver: "auto" | "xdp" | "cap", ports: readonly PortOptions[]): OpenedPorts`, all on
 * one pool. Throws SynwallError SW_IO_RIGHTS | SW_IO_INTERFACE with one line that says what to do; leaves nothing behind.
 */
export interface OpenedPorts {
  readonly pool: FramePool;
  readonly ports: readonly Port[];
  /** Which driver was taken and, for auto, why not the better one. */
  readonly reason: string;
}
