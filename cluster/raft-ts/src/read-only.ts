/**
 * Read-index requests that wait for a quorum to confirm the leader (Raft thesis section 6.4).
 * Owns the round counter that heartbeats carry. It is never reset or reused while the process lives, and messages
 * carry the term, so an answer to an old round cannot confirm a new read.
 */
import { type Index, NONE, type NodeId } from "./types.ts";

export interface PendingRead {
  /** The server that asked. */
  readonly from: NodeId;
  readonly context: Uint8Array;
  /** The commit index when the request came. */
  readonly index: Index;
}

/** Reads that may wait at the same time; anybody in the cluster may ask for one. */
export const READS_MAX = 4096;

const CONTEXT_BYTES = 8;
const U32 = 0x1_0000_0000;

export class ReadOnly {
  #round = 0;
  #queue: { round: number; read: PendingRead }[] = [];
  /** The highest round that each server has confirmed. */
  #acked = new Map<NodeId, number>();

  get size(): number {
    return this.#queue.length;
  }

  /** Queues a read and answers the heartbeat context of its round; `self` confirms at once. */
  add(read: PendingRead, self: NodeId): Uint8Array {
    this.#round++;
    this.#queue.push({ round: this.#round, read });
    this.#acked.set(self, this.#round);
    return encodeRound(this.#round);
  }

  /** The context for a regular heartbeat: the latest round that still waits. */
  lastContext(): Uint8Array | undefined {
    const last = this.#queue.at(-1);
    return last === undefined ? undefined : encodeRound(last.round);
  }

  /** Notes a heartbeat response. A confirmed round confirms all earlier ones. */
  ack(id: NodeId, context: Uint8Array): void {
    const round = decodeRound(context);
    if (round === undefined || round > this.#round || id === NONE) return;
    this.#acked.set(id, Math.max(round, this.#acked.get(id) ?? 0));
  }

  /** The highest round that the server has confirmed. */
  ackedBy(id: NodeId): number | undefined {
    return this.#acked.get(id);
  }

  /** Takes the reads up to `round` out, which a quorum has confirmed, in the order of their arrival. */
  takeConfirmed(round: number): PendingRead[] {
    const rest = this.#queue.findIndex((waiting) => waiting.round > round);
    return this.#queue.splice(0, rest < 0 ? this.#queue.length : rest).map(({ read }) => read);
  }

  /** Forgets all reads, as at a change of role or term; the counter goes on. */
  clear(): void {
    this.#queue = [];
    this.#acked.clear();
  }
}

function encodeRound(round: number): Uint8Array {
  const bytes = new Uint8Array(CONTEXT_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(round / U32));
  view.setUint32(4, round % U32);
  return bytes;
}

function decodeRound(context: Uint8Array): number | undefined {
  if (context.length !== CONTEXT_BYTES) return undefined;
  const view = new DataView(context.buffer, context.byteOffset, context.byteLength);
  return view.getUint32(0) * U32 + view.getUint32(4);
}
