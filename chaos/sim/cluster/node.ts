/**
 * Simulated node: the parts of a real one, joined without threads. The control thread is NodeCore, the worker DataplaneCore over
 * memory ports; what they say to each other takes a moment, in order.
 */

import type { DurableStorage } from "../../../cluster/storage/durable-storage.ts";
import { LatencyHistogram } from "../../../src/base/histogram.ts";
import { flowTableBytes } from "../../../src/dataplane/flow-table.ts";
import type { PolicyModel } from "../../../src/dataplane/policy-model.ts";
import { type CompiledRules, compileRules } from "../../../src/dataplane/rules/compile.ts";
import { createMemoryPool, MemoryPort } from "../../../src/io/memory.ts";
import { adminHandlers } from "../../../src/node/admin-handlers.ts";
import { DataplaneCore } from "../../../src/node/dataplane-core.ts";
import type { Started } from "../../../src/node/dataplane-host.ts";
import { heartbeatMac } from "../../../src/node/keys.ts";
import { NodeCore } from "../../../src/node/node-core.ts";
import { NodeReport } from "../../../src/node/node-report.ts";
import { isShared } from "../../../src/node/open-driver.ts";
import { createSharedMemory } from "../../../src/node/shared-memory.ts";
import { WorkerRhythm } from "../../../src/node/worker-rhythm.ts";
import { CLUSTER_MTU, type Link } from "../../lab/topology.ts";
import {
  spoilEngine,
  spoiledAnswer,
  spoiledEnv,
  spoiledMessage,
  spoiledSetup,
  spoilMemory,
  spoilPort,
  unprovenSettle,
} from "./bugs.ts";
import { cheapMac } from "./cheap-mac.ts";
import { inOrder } from "./in-order.ts";
import type { Boot, Running } from "./member.ts";

/** From one thread to the other, and from a frame's arrival to the worker that wakes up. */
const HOP_MS_MIN = 0.01;
const HOP_MS_MAX = 0.05;

const STARTED: Omit<Started, "ports"> = {
  type: "started",
  driver: "memory",
  reason: "memory: in-process wires",
  isRealtime: false,
  realtimeReason: "virtual time",
};

export function bootNode(boot: Boot): Running {
  const { world, config, life, env, storage, transport, journal } = boot;
  const { sizes } = world;
  const { flowsMax, policy } = config.dataplane!;
  const memory = createSharedMemory(flowTableBytes(flowsMax), policy.rules.length, sizes.rings);
  spoilMemory(world.bug, memory);
  const hopMs = (): number => HOP_MS_MIN + ((HOP_MS_MAX - HOP_MS_MIN) * world.random(256)) / 256;
  const toMain = inOrder((work) => void life.after(hopMs(), work));
  const toWorker = inOrder((work) => life.wire(hopMs(), work));
  const core: NodeCore = new NodeCore({
    ...boot,
    memory,
    timers: life,
    ...(sizes.sync === undefined ? {} : { syncLimits: sizes.sync }),
    post: (message) => {
      const unproven = unprovenSettle(world.bug, message, setup.selfId);
      if (unproven !== undefined) void core.controller.propose(unproven);
      const heard = spoiledMessage(world.bug, message);
      toWorker(() => rhythm.receive(heard));
    },
  });
  const { setup } = core;
  const pool = createMemoryPool(sizes.poolChunks);
  const ports = setup.ports.map(({ interfaceName, filter }) => {
    const link = interfaceName as Link;
    const port = new MemoryPort(pool, {
      name: `${config.cluster.self.name}-${link}`,
      filter,
      mtuBytes: link === "cluster" ? CLUSTER_MTU : 1500,
      ringFrames: sizes.ringFrames,
      defer: (wake) => life.wire(hopMs(), wake),
    });
    boot.plug(link, port);
    spoilPort(world.bug, setup.selfId, link, port);
    return port;
  });
  const turn = { nowMs: 0 };
  const dataplane = new DataplaneCore(
    spoiledSetup(world.bug, {
      ...setup,
      compiled: compiledOf(policy),
      ...(sizes.engine === undefined ? {} : { engineLimits: sizes.engine }),
    }),
    pool,
    ports,
    sizes.hasCheapMac ? cheapMac(0) : heartbeatMac(setup.heartbeatKey),
    spoiledEnv(world.bug, env, turn),
    (message) => {
      const said = spoiledAnswer(world.bug, message);
      toMain(() => core.receive(said));
    },
    () => life.wallMs(),
  );
  spoilEngine(world.bug, dataplane.engine);
  const rhythm = runWorker(boot, dataplane, ports, turn);
  void transport.start(core.handlers());
  core.start();
  journal.add("started", `${config.cluster.self.name} started, ports by ${STARTED.reason}`);
  const syncLatency = isShared(storage) ? new LatencyHistogram() : (storage as DurableStorage).syncLatency;
  const started = {
    ...STARTED,
    ports: ports.map(({ name, driver, mode, mtuBytes }) => ({ name, driver, mode, mtuBytes })),
  };
  return {
    admin: adminHandlers(new NodeReport({ core, started, store: { syncLatency }, transport })),
    controller: core.controller,
    processes: core.processes,
    storage,
    memory,
    dataplane,
    lifelineOpened: (node) => core.lifelineOpened(node),
    lifelineClosed: (node) => core.lifelineClosed(node),
  };
}

/** Rules by their policy: seed after seed it is the same. */
const COMPILED = new WeakMap<PolicyModel, CompiledRules>();

function compiledOf(policy: PolicyModel): CompiledRules {
  let compiled = COMPILED.get(policy);
  if (compiled === undefined) {
    compiled = compileRules(policy.rules);
    COMPILED.set(policy, compiled);
  }
  // Tokens of rate limits are taken from it.
  return { ...compiled, limits: compiled.limits.slice() };
}

/** What worker.ts does with a thread's event loop. */
function runWorker(
  { life, onWorked }: Boot,
  core: DataplaneCore,
  ports: readonly MemoryPort[],
  turn: { nowMs: number },
): WorkerRhythm {
  const rhythm = new WorkerRhythm({
    core,
    nowMs: () => {
      turn.nowMs = life.workerNowMs();
      return turn.nowMs;
    },
    after: (ms, callback) => life.afterWire(ms, callback),
    soon: (callback) => life.wire(0, callback),
    onWorked,
  });
  for (const port of ports) port.onReadable(rhythm.wake);
  life.wire(0, rhythm.wake);
  return rhythm;
}
