/**
 * `synwall lab demo --port memory`: the same story with the whole cluster in this process, in virtual time: no root, no
 * namespaces, no sockets.
 */

import { waitSettledOn } from "../../../chaos/drill/stage.ts";
import { SimCluster } from "../../../chaos/sim/cluster/cluster.ts";
import { plugHosts } from "../../../chaos/sim/cluster/hosts.ts";
import { simStage } from "../../../chaos/sim/cluster/stage.ts";
import { SynwallError } from "../../base/errors.ts";
import { untilSignal } from "../lab-context.ts";
import { type DemoOptions, tellStory } from "../lab-story.ts";
import type { Terminal } from "../terminal.ts";

export async function memoryDemo(options: DemoOptions, terminal: Terminal): Promise<void> {
  const { nodes, witness: hasWitness, profile, seed } = options;
  if (options.keep) {
    throw new SynwallError("SW_LAB_FAILED", "--keep: a cluster over memory ports ends with this process");
  }
  if (options.store === "etcd") {
    throw new SynwallError(
      "SW_LAB_FAILED",
      "--store etcd: over memory ports there is no etcd: use --port auto",
    );
  }
  terminal.err(
    `synwall: ${nodes} nodes${hasWitness ? " and a witness" : ""} in one process over memory ports, virtual time, seed ${seed}, profile ${profile}\n`,
  );
  const environment = [
    `a simulation: all in one process over memory ports in virtual time, seed ${seed}; it says nothing about the speed of this machine`,
    `Node.js ${process.version}`,
  ];
  const startedMs = performance.now();
  await untilSignal(async (abort) => {
    const cluster = new SimCluster({ seed, nodes, hasWitness, profile });
    const progress = (line: string): void => terminal.err(`  ${line}\n`);
    const stage = simStage(cluster, plugHosts(cluster), { progress, abort });
    const story = async (): Promise<void> => {
      await cluster.startAll();
      await waitSettledOn(stage);
      await tellStory({ stage, startedMs, environment, takeDown: async () => {} }, options, terminal);
    };
    await cluster.clock.drive(story());
  });
}
