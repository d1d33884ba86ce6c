/**
 * `synwall lag`: how far behind the peers were over the last minute, and how long acknowledgements take.
 */
import type { Command } from "commander";
import type { AdminMethods } from "../../node/admin-model.ts";
import { adminCall } from "../admin-client.ts";
import { type AskOptions, duration, withAskOptions } from "../options.ts";
import { chooseSocket } from "../socket.ts";
import { formatCount, formatMs, printJson, type Terminal, table } from "../terminal.ts";

interface LagOptions extends AskOptions {
  readonly since: number;
  readonly reset?: boolean;
}

const WINDOW_MS = 60_000;

export function addLagCommand(program: Command, terminal: Terminal): void {
  withAskOptions(program.command("lag"))
    .description("sync lag of the last minute by peer, and the time from change to acknowledgement")
    .option("--since <duration>", "look back this far, at most 60s", duration, WINDOW_MS)
    .option("--reset", "begin a new histogram of acknowledgements after this answer")
    .action(async (options: LagOptions) => {
      const socket = chooseSocket(options.socket);
      const sinceMs = Number(process.hrtime.bigint()) / 1e6 - options.since;
      const result = await adminCall(socket, "lag", { sinceMs, reset: options.reset ?? false });
      if (options.json) {
        printJson(terminal, result);
        return;
      }
      const { members } = await adminCall(socket, "status", {});
      terminal.out(formatLag(result, new Map(members.map((member) => [member.id, member.name]))));
    });
}

export function formatLag(result: AdminMethods["lag"]["result"], names: ReadonlyMap<number, string>): string {
  const byPeer = new Map<number, number[]>();
  for (const sample of result.samples) {
    const lags = byPeer.get(sample.peer);
    if (lags === undefined) byPeer.set(sample.peer, [sample.lagMs]);
    else lags.push(sample.lagMs);
  }
  if (byPeer.size === 0)
    return "no samples: this node replicates to nobody (no peer, or it is the witness)\n";
  const rows = [...byPeer].map(([peer, lags]) => {
    const sorted = Float64Array.from(lags).sort();
    return [
      names.get(peer) ?? `node ${peer}`,
      formatCount(lags.length),
      formatMs(lags.at(-1)!),
      formatMs(quantile(sorted, 0.5)),
      formatMs(quantile(sorted, 0.99)),
      formatMs(sorted.at(-1)!),
    ];
  });
  const titles = ["SAMPLES", "NOW", "P50", "P99", "MAX"];
  const { ack } = result;
  return [
    table([{ title: "LAG TO" }, ...titles.map((title) => ({ title, isRight: true }))], rows),
    `acknowledged ${formatCount(ack.count)} changes: p50 ${formatMs(ack.p50Ms)}, p99 ${formatMs(ack.p99Ms)}, worst ${formatMs(ack.maxMs)}\n`,
  ].join("");
}

/** Nearest rank in a sorted, non-empty array. */
function quantile(sorted: Float64Array, q: number): number {
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)]!;
}
