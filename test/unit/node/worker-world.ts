/**
 * A dataplane worker without its thread, for tests: the core over memory ports, with a clock that the test moves.
 */
import { PROFILES } from "../../../cluster/liveness/model.ts";
import { flowTableBytes } from "../../../src/dataplane/flow-table.ts";
import { type MemoryPort, openMemoryPorts } from "../../../src/io/memory.ts";
import { MemorySegment } from "../../../src/io/memory-segment.ts";
import type { ChunkPool } from "../../../src/io/pool.ts";
import { DataplaneCore } from "../../../src/node/dataplane-core.ts";
import { createSharedMemory, type SharedMemory } from "../../../src/node/shared-memory.ts";
import type { FromWorker, WorkerSetup } from "../../../src/node/worker-protocol.ts";
import { LAB_POLICY } from "../dataplane/world.ts";

const FLOWS_MAX = 256;
const NAMES = ["inside", "outside", "cluster"];

export class WorkerWorld {
  nowMs = 1000;
  wallMs = 0;
  readonly memory: SharedMemory = createSharedMemory(flowTableBytes(FLOWS_MAX), LAB_POLICY.rules.length);
  readonly segments: readonly MemorySegment[];
  readonly ports: readonly MemoryPort[];
  readonly pool: ChunkPool;
  readonly core: DataplaneCore;
  readonly said: FromWorker[] = [];

  /** `peer`: the other node of the pair, on the same wires. */
  constructor(chunks = 64, peer?: WorkerWorld) {
    const selfId = peer === undefined ? 1 : 2;
    this.segments = peer?.segments ?? NAMES.map(() => new MemorySegment({ kind: "bridge" }));
    const opened = openMemoryPorts(
      NAMES.map((link, i) => ({
        name: `fw${selfId}-${link}`,
        segment: this.segments[i]!,
        defer: () => {},
        ringFrames: 16,
      })),
      chunks,
    );
    this.ports = opened.ports;
    this.pool = opened.ports[0]!.pool;
    this.core = new DataplaneCore(
      setup(this.memory, selfId),
      this.pool,
      this.ports,
      () => new Uint8Array(32),
      { nowMs: () => this.nowMs, random: () => selfId },
      (message) => this.said.push(message),
      () => this.wallMs,
    );
  }

  /** Lets time pass, a tick each `everyMs`. */
  run(forMs: number, everyMs = 1): void {
    for (let ms = 0; ms < forMs; ms += everyMs) {
      this.nowMs += everyMs;
      this.core.turn(this.nowMs);
      this.core.tick(this.nowMs);
    }
  }
}

function setup(memory: SharedMemory, selfId: number): WorkerSetup {
  const peerId = 3 - selfId;
  return {
    memory,
    flowsMax: FLOWS_MAX,
    policy: LAB_POLICY,
    ruleLogsPerSecond: 1000,
    driver: "auto",
    realtime: "never",
    ports: NAMES.map((interfaceName) => ({ interfaceName, filter: { kind: "all" } })),
    selfId,
    selfAddress: `192.0.2.${selfId}`,
    slots: 64,
    isPair: false,
    witnessHops: 0,
    profile: PROFILES.lan,
    peers: [
      { nodeId: peerId, name: `fw${peerId}`, role: "node", address: `192.0.2.${peerId}`, links: [0, 1, 2] },
    ],
    voters: [1, 2],
    flowKey: new Uint8Array(32),
    heartbeatKey: new Uint8Array(32),
    cookieKey: new Uint8Array(32),
    redirectKey: new Uint8Array(32),
    sealRedirects: "never",
    clusterName: "test",
  };
}
