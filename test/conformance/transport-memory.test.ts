import { MemoryNetwork } from "../../cluster/transport/in-memory.ts";
import { seededRandom } from "../../src/base/env.ts";
import { VirtualClock } from "../unit/cluster/control/virtual-clock.ts";
import { transportConformance } from "./transport-suite.ts";

transportConformance("memory transport", async () => {
  const clock = new VirtualClock();
  const network = new MemoryNetwork({
    schedule: (delayMs, callback) => clock.schedule(delayMs, callback),
    random: seededRandom(7),
    delayMsMin: 0.1,
    delayMsMax: 3,
  });
  return {
    make: (id) => network.attach(id),
    kill: async (id) => network.kill(id),
    until: async (condition) => {
      await clock.until(condition);
    },
    close: async () => {},
  };
});
