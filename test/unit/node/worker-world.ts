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
  readonly segments: readonly MemorySegment[] = NAMES.map(() => new MemorySegment({ kind: "bridge" }));
  readonly ports: readonly MemoryPort[];
  readonly pool: ChunkPool;
  readonly core: DataplaneCore;
  readonly said: FromWorker[] = [];

  constructor(chunks = 64) {
    const opened = openMemoryPorts(
      NAMES.map((name, i) => ({ name, segment: this.segments[i]!, defer: () => {}, ringFrames: 16 })),
      chunks,
    );
    this.ports = opened.ports;
    this.pool = opened.ports[0]!.pool;
    this.core = new DataplaneCore(
      setup(this.memory),
      this.pool,
      this.ports,
      () => new Uint8Array(32),
      { nowMs: () => this.nowMs, random: () => 1 },
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

function setup(memory: SharedMemory): WorkerSetup {
  return {
    memory,
    flowsMax: FLOWS_MAX,
    policy: LAB_POLICY,
    ruleLogsPerSecond: 1000,
    driver: "auto",
    realtime: "never",
    ports: NAMES.map((interfaceName) => ({ interfaceName, filter: { kind: "all" } })),
    selfId: 1,
    selfAddress: "192.0.2.1",
    slots: 64,
    profile: PROFILES.lan,
    peers: [{ nodeId: 2, name: "fw2", role: "node", address: "192.0.2.2", links: [0, 1, 2] }],
    voters: [1, 2],
    flowKey: new Uint8Array(32),
    heartbeatKey: new Uint8Array(32),
    cookieKey: new Uint8Array(32),
    redirectKey: new Uint8Array(32),
    sealRedirects: "never",
    clusterName: "test",
  };
}
