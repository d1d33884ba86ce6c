import { MemoryKv } from "../../cluster/storage/memory-kv.ts";
import { kvConformance } from "./kv-suite.ts";

const store = new MemoryKv();
const clock = { schedule: (ms: number, callback: () => void): void => void setTimeout(callback, ms) };

kvConformance("a store in memory", () => ({
  open: () => store.client(clock, { delayMs: 0, timeoutMs: 2_000, isCut: false, isMute: false }),
  compact: async () => store.compact(),
  until: async (isDone) => {
    while (!isDone()) await new Promise((resolve) => setImmediate(resolve));
  },
}));
