/**
 * Frame memory: what the engine needs of the pool that owns all frames of a worker (io/port.ts: FramePool fits).
 * Owns the interface only: the dataplane does not know drivers.
 */
export interface FrameMemory {
  readonly bytes: Uint8Array;
  /** Offset of a free frame's first byte, or -1 when there is none. At least 192 bytes of its chunk are before it, as before
   * every received frame: room for GENEVE over IPv4 over Ethernet, or for an ICMP error's headers. */
  alloc(): number;
  /** Gives the chunk that holds `at` back. */
  free(at: number): void;
  /** Chunks that alloc() could give now. */
  available(): number;
}

/** Where frames leave. Takes the frame's ownership in every case; false: no room, the port freed it. */
export interface FrameOutput {
  send(portIndex: number, at: number, lengthBytes: number): boolean;
}

/** A port as the engine sees it. */
export interface EnginePort {
  /** The interface's own address: 6 bytes. */
  readonly mac: Uint8Array;
  readonly mtuBytes: number;
  /** Zone id, or -1 for the cluster link. */
  readonly zone: number;
}
