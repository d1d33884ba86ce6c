import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { alias: { "raft-ts": fileURLToPath(new URL("./cluster/raft-ts/src/index.ts", import.meta.url)) } },
  test: {
    include: ["test/**/*.test.ts", "cluster/raft-ts/test/**/*.test.ts"],
    globals: false,
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000,
  },
});
