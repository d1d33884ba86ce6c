/**
 * World: what the members and hosts of a simulated cluster share: one clock, one seed, the wires and the network of the control
 * plane. Owns nothing of what they do with it.
 */
import type { Message } from "raft-ts";
import type { DurableStorage } from "../../../cluster/storage/durable-storage.ts";
import type { MemoryKv } from "../../../cluster/storage/memory-kv.ts";
import type { RecordFormat } from "../../../cluster/sync/wire-format.ts";
import type { MemoryNetwork } from "../../../cluster/transport/in-memory.ts";
import type { JournalEvent } from "../../../src/node/admin-model.ts";
import type { Bug } from "./bugs.ts";
import type { SimClock } from "./clock.ts";
import type { SimMember } from "./member.ts";
import type { Sizes } from "./sizes.ts";
import type { SimWires } from "./wires.ts";

export interface World {
  readonly clock: SimClock;
  readonly random: (bound: number) => number;
  readonly wires: SimWires;
  readonly network: MemoryNetwork;
  /** Keeps the members' log; absent: they keep it themselves, by Raft. */
  readonly store: MemoryKv | undefined;
  readonly sizes: Sizes;
  /** Planted on purpose, to see the checkers find it. */
  readonly bug: Bug | undefined;
  /** Versions of records that the n-th process of a member speaks; absent: this build's. */
  readonly recordFormats: ((member: string, n: number) => readonly RecordFormat[]) | undefined;
  /** A member wrote into its journal. */
  readonly onEvent: (member: string, event: JournalEvent) => void;
  /** A member ended by itself: its disk failed or an invariant is broken. */
  readonly onFatal: (member: SimMember, error: unknown) => void;
  /** A process opened its log. */
  readonly onStored: (member: SimMember, storage: DurableStorage) => void;
  readonly onRaft: (member: SimMember, message: Message) => void;
  /** The worker of a member has done something. */
  readonly onWorked: (member: SimMember) => void;
  readonly onLog: (member: string, level: string, text: string) => void;
}
