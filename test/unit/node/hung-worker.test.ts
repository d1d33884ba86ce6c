/**
 * A packet worker that hangs while its main thread goes on, in whole clusters in virtual time.
 */
import { expect, test } from "vitest";
import { SimCluster } from "../../../chaos/sim/cluster/cluster.ts";
import { SMALL_SIZES } from "../../../chaos/sim/cluster/sizes.ts";

test.each([
  { nodes: 2, hasWitness: true },
  { nodes: 3, hasWitness: false },
])("it is declared down once, and let in again when it goes on: %o", async (size) => {
  const events: string[] = [];
  const cluster: SimCluster = new SimCluster({
    ...{ ...size, seed: 3, profile: "lan", flowsMax: 256, sizes: SMALL_SIZES },
    onEvent: (member, { kind, text }) => events.push(`${member} ${kind}: ${text}`),
  });
  const { clock } = cluster;
  const seen = (event: RegExp): number => events.filter((text) => event.test(text)).length;
  await clock.drive(
    (async () => {
      await cluster.startAll();
      await clock.pause(3000);
      events.length = 0;
      const { worker } = cluster.member("fw1").life!;
      worker.pause();
      await clock.pause(3000);
      expect([seen(/^fw2 epoch-committed: .*fw1 is down/), seen(/^fw1 ready/)]).toEqual([1, 0]);
      worker.resume();
      await clock.pause(3000);
      expect([seen(/^fw2 epoch-committed: .*fw1 is down/), seen(/^fw1 ready/)]).toEqual([1, 1]);
    })(),
  );
});
