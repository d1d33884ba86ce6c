import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const alias = { "raft-ts": fileURLToPath(new URL("./cluster/raft-ts/src/index.ts", import.meta.url)) };
const common = { globals: false, pool: "forks" as const, testTimeout: 60_000 };

// Labs run whole clusters with real-time threads: alone, after everything else, or they would test each other's patience.
const ALONE = ["test/e2e/**/*.test.ts", "test/conformance/port-{cap,xdp,bench}.test.ts"];

export default defineConfig({
  resolve: { alias },
  test: {
    projects: [
      {
        resolve: { alias },
        test: {
          ...common,
          name: "pure",
          include: ["test/**/*.test.ts", "cluster/raft-ts/test/**/*.test.ts"],
          exclude: ALONE,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        resolve: { alias },
        test: { ...common, name: "kernel", include: ALONE, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
