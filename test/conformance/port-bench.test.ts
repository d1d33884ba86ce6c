/** The forwarding bench at smoke size, so that it does not rot. Needs root. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { whyNoXdp } from "./port-worlds.ts";

const BENCH = fileURLToPath(new URL("../../bench/forward.bench.ts", import.meta.url));

const why = whyNoXdp();
if (why !== undefined) {
  console.warn(`forwarding bench skipped: ${why}`);
  test.skip(`the forwarding bench: ${why}`, () => {});
} else {
  test("the forwarding bench forwards frames with every variant", async () => {
    const run = promisify(execFile)(process.execPath, ["--import", "tsx", BENCH, "--smoke"]);
    const { stdout } = await run;
    const rates = [...stdout.matchAll(/^.+? {2,}(\d+) kpps {2}\(/gm)].map(([, rate]) => Number(rate));
    expect(rates).toHaveLength(4);
    for (const rate of rates) expect(rate).toBeGreaterThan(0);
  });
}
