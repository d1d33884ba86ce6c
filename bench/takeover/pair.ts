/**
 * Pair: two dataplane cores on the same memory wires, in virtual time. Node 1 owns half of the slots, node 2 the other half and
 * the replicas of all flows. Owns how they are set up; measures nothing.
 */

import type { Member, SlotTable } from "../../cluster/control/model.ts";
import { PROFILES } from "../../cluster/liveness/model.ts";
import { RecordRing } from "../../src/base/ring.ts";
import { counterIndex } from "../../src/dataplane/counters.ts";
import { flowTableBytes } from "../../src/dataplane/flow-table.ts";
import { type MemoryPort, openMemoryPorts } from "../../src/io/memory.ts";
import { MemorySegment } from "../../src/io/memory-segment.ts";
import type { ChunkPool } from "../../src/io/pool.ts";
import { DataplaneCore } from "../../src/node/dataplane-core.ts";
import { createSharedMemory } from "../../src/node/shared-memory.ts";
import type { FromWorker, ToWorker, WorkerSetup } from "../../src/node/worker-protocol.ts";
import { KEY_BYTES, policy } from "../engine/bed.ts";

export const SLOTS = 64;
const NAMES = ["inside", "outside", "cluster"];
const CHUNKS = 1024;
const RING_FRAMES = 256;

/** New wires for a pair. */
export function makeWires(): readonly MemorySegment[] {
  return NAMES.map(() => new MemorySegment({ kind: "bridge" }));
}

export interface Shared {
  readonly wires: readonly MemorySegment[];
  nowMs: number;
}

export class Node {
  readonly said: FromWorker[] = [];
  readonly core: DataplaneCore;
  readonly pool: ChunkPool;
  readonly ports: readonly MemoryPort[];
  /** Our end of what the control thread would fill. */
  readonly replicas: RecordRing;
  readonly #shared: Shared;
  readonly #counters: Float64Array;

  constructor(id: number, flowsMax: number, shared: Shared) {
    const memory = createSharedMemory(flowTableBytes(flowsMax), policy(1).rules.length);
    const wires = NAMES.map((link, i) => ({
      name: `fw${id}-${link}`,
      segment: shared.wires[i]!,
      defer: () => {},
      ringFrames: RING_FRAMES,
    }));
    const opened = openMemoryPorts(wires, CHUNKS);
    this.#shared = shared;
    this.#counters = new Float64Array(memory.counters);
    this.ports = opened.ports;
    this.pool = opened.ports[0]!.pool;
    this.replicas = new RecordRing(memory.replicas);
    const setup: WorkerSetup = {
      memory,
      flowsMax,
      policy: policy(1),
      ruleLogsPerSecond: 1000,
      driver: "auto",
      realtime: "never",
      ports: NAMES.map((interfaceName) => ({ interfaceName, filter: { kind: "all" } })),
      selfId: id,
      selfAddress: `192.0.2.${id}`,
      slots: SLOTS,
      isPair: false,
      witnessHops: 0,
      profile: PROFILES.lan,
      peers: [
        {
          nodeId: 3 - id,
          name: `fw${3 - id}`,
          role: "node",
          address: `192.0.2.${3 - id}`,
          links: [0, 1, 2],
        },
      ],
      voters: [1, 2],
      flowKey: KEY_BYTES,
      heartbeatKey: KEY_BYTES,
      cookieKey: KEY_BYTES,
      redirectKey: KEY_BYTES,
      sealRedirects: "never",
      clusterName: "bench",
    };
    this.core = new DataplaneCore(
      setup,
      this.pool,
      this.ports,
      () => new Uint8Array(32),
      { nowMs: () => shared.nowMs, random: () => id },
      (message) => this.said.push(message),
      () => 0,
    );
  }

  turn(): void {
    this.core.turn(this.#shared.nowMs);
  }

  /** What the thread does each millisecond. */
  tick(): void {
    this.core.turn(this.#shared.nowMs);
    this.core.tick(this.#shared.nowMs);
  }

  receive(message: ToWorker): void {
    this.core.receive(message, this.#shared.nowMs);
  }

  /** In the table now. */
  get flows(): number {
    return this.#counters[counterIndex("flowsNow")]!;
  }

  /** How many slots it said to have `gained` or `steered` so far. */
  slotsSaid(change: "gained" | "steered"): number {
    let sum = 0;
    for (const message of this.said)
      if (typeof message === "object" && message.type === "slots" && message.change === change)
        sum += message.slots.length;
    return sum;
  }
}

/** Node 1 owns the first `firstOwns` slots and node 2 the others; in a later epoch than the first, they were moved in it. */
export function state(epoch: number, firstOwns: number, isFirstDown = false): ToWorker {
  const each = <T>(of: (slot: number) => T): T[] => Array.from({ length: SLOTS }, (_, slot) => of(slot));
  const owner = each((slot) => (slot < firstOwns ? 1 : 2));
  const isMoved = (slot: number): boolean => isFirstDown && slot < SLOTS / 2;
  const table: SlotTable = {
    epoch,
    owner,
    backup: each((slot) => (isFirstDown ? 0 : 3 - owner[slot]!)),
    synced: each(() => true),
    awaiting: each((slot) => (isMoved(slot) ? [1] : [])),
    movedEpoch: each((slot) => (isFirstDown && !isMoved(slot) ? epoch - 1 : epoch)),
    backupEpoch: each(() => epoch),
    cause: "initial",
  };
  const members: Member[] = [1, 2].map((id) => ({
    id,
    name: `fw${id}`,
    role: "node",
    address: `192.0.2.${id}`,
    weight: 1,
    state: isFirstDown && id === 1 ? "down" : "active",
    incarnation: 1,
  }));
  return { type: "state", table, members, ownIncarnation: 1 };
}
