/**
 * Sync node: replication as a node runs it (rings in shared memory, a worker thread, gRPC with mTLS), without the rest of a
 * node. Owns the wiring only; the same steps as src/node/node.ts.
 */

import { Worker } from "node:worker_threads";
import { emptyState, type SlotTable } from "../../cluster/control/model.ts";
import { Replication } from "../../cluster/sync/replication.ts";
import { GrpcTransport } from "../../cluster/transport/grpc.ts";
import { loadTls, type TlsFiles } from "../../cluster/transport/tls.ts";
import { RECORD_BYTES } from "../../src/base/record.ts";
import { createRing, RecordRing } from "../../src/base/ring.ts";
import { nowMs, realEnv } from "../../src/node/clock.ts";
import { SyncDoorbells } from "../../src/node/sync-doorbells.ts";
import { beControlThread, besides } from "../main-thread.ts";
import type { FromModel, ModelWorkerSetup, ToModel } from "./model-worker.ts";

export const SLOTS = 64;
const RING_RECORDS = 65_536;
const TICK_MS = 10;

export interface SyncNodeOptions {
  readonly id: number;
  readonly port: number;
  readonly tls: TlsFiles;
  readonly onReady?: (slots: readonly number[]) => void;
  readonly onDone?: (summary: Extract<FromModel, { type: "done" }>["summary"]) => void;
}

const MEMBERS = [1, 2].map((id) => ({ id, name: `fw${id}`, address: `127.0.0.${id}` }));

/** Node 1 owns every slot, node 2 backs it up. */
export function table(epoch: number, isSynced: boolean): SlotTable {
  const base = emptyState(SLOTS).table;
  return {
    ...base,
    epoch,
    owner: base.owner.map(() => 1),
    backup: base.backup.map(() => 2),
    synced: base.synced.map(() => isSynced),
    movedEpoch: base.movedEpoch.map(() => 1),
    backupEpoch: base.backupEpoch.map(() => epoch),
  };
}

export class SyncNode {
  readonly replication: Replication;
  readonly #worker: Worker;
  readonly #nap: Int32Array;
  readonly #transport: GrpcTransport;
  readonly #bells: SyncDoorbells;
  readonly #ticker: NodeJS.Timeout;

  constructor(options: SyncNodeOptions) {
    const { id } = options;
    beControlThread();
    const setup: ModelWorkerSetup = {
      changes: createRing(RECORD_BYTES, RING_RECORDS),
      replicas: createRing(RECORD_BYTES, RING_RECORDS),
      applied: new SharedArrayBuffer(8),
      acked: new SharedArrayBuffer(8 * 256),
      nap: new SharedArrayBuffer(4),
      slots: SLOTS,
      peer: 3 - id,
    };
    this.#nap = new Int32Array(setup.nap);
    const changes = new RecordRing(setup.changes);
    const replicas = new RecordRing(setup.replicas);
    this.#bells = new SyncDoorbells({
      changes,
      replicas,
      replication: () => this.replication,
      nowMs,
      afterInput: setImmediate,
      // The model counts every acknowledgement.
      isAwaited: () => true,
      wake: () => this.post({ type: "doorbell" }),
    });
    this.#worker = new Worker(besides("model-worker"), { workerData: setup });
    this.#worker.on("message", (message: FromModel) => this.#onWorker(message, options));
    const self = MEMBERS[id - 1]!;
    this.#transport = new GrpcTransport({
      self,
      peers: MEMBERS.filter((member) => member !== self),
      port: options.port,
      tls: loadTls(options.tls, self.name),
    });
    this.replication = new Replication({
      selfId: id,
      slots: SLOTS,
      changes,
      replicas,
      applied: new Float64Array(setup.applied),
      acked: new Float64Array(setup.acked),
      env: realEnv,
      // Live changes alone would never have equal digests here: the model keeps no flows.
      limits: { digestIntervalMs: 1_000_000_000 },
      openLink: (peer) => this.#bells.outgoing(this.#transport.openSyncLink(peer)),
      requestExport: (slots) => this.post({ type: "export", slots }),
      requestDigest: () => {},
      onResync: () => {},
      onRefused: () => {},
      reportReady: (slots) => options.onReady?.(slots),
    });
    this.replication.setPeers([3 - id]);
    this.#ticker = setInterval(() => {
      this.replication.tick(nowMs());
      this.#bells.drain();
    }, TICK_MS);
  }

  async start(): Promise<void> {
    await this.#transport.start({
      onRaft: () => {},
      onStatus: () => ({
        node: 0,
        version: "",
        term: 0,
        commit: 0,
        applied: 0,
        state: "",
        lead: 0,
        epoch: 0,
        lostLinks: [],
        hearing: [],
      }),
      onSyncLink: (from, link) => this.replication.attachReceiver(this.#bells.incoming(link), from),
      onUnreachable: () => {},
      onSnapshotSent: () => {},
    });
  }

  /** Another limit than the product's, for what follows. */
  setGatherUs(gatherUs: number): void {
    (this.replication.limits as { gatherUs: number }).gatherUs = gatherUs;
  }

  post(message: ToModel): void {
    this.#worker.postMessage(message);
    if (Atomics.exchange(this.#nap, 0, 0) === 1) Atomics.notify(this.#nap, 0);
  }

  async stop(): Promise<void> {
    clearInterval(this.#ticker);
    await this.#worker.terminate();
    await this.#transport.close();
  }

  #onWorker(message: FromModel, options: SyncNodeOptions): void {
    if (message.type === "doorbell") this.#bells.drain();
    else if (message.type === "digest") this.replication.digestResult(message.slot, message.isEqual);
    else options.onDone?.(message.summary);
  }
}
