/**
 * `synwall journal`: what happened on this node lately, in order, with times to the millisecond.
 */
import type { Command } from "commander";
import type { AdminMethods } from "../../node/admin-model.ts";
import { adminCall } from "../admin-client.ts";
import { type AskOptions, duration, wholeAtLeast, withAskOptions } from "../options.ts";
import { chooseSocket } from "../socket.ts";
import { printJson, type Terminal, table } from "../terminal.ts";

const LIST_LIMIT = 50;

interface JournalOptions extends AskOptions {
  readonly since?: number;
  readonly limit: number;
}

export function addJournalCommand(program: Command, terminal: Terminal): void {
  withAskOptions(program.command("journal"))
    .description("the last events of this node: peers, epochs, takeovers, fences, moves")
    .option("--since <duration>", "only the last 30s, 5m, 2h, ...", duration)
    .option("--limit <n>", "at most this many, the newest", wholeAtLeast(1), LIST_LIMIT)
    .action(async (options: JournalOptions) => {
      const socket = chooseSocket(options.socket);
      const sinceMs = options.since === undefined ? 0 : monotonicNowMs() - options.since;
      const result = await adminCall(socket, "journal", { sinceMs, limit: options.limit });
      if (options.json) printJson(terminal, result);
      else terminal.out(formatJournal(result));
    });
}

/** CLOCK_MONOTONIC, which the node stamps its events with; the socket is on the same machine. */
function monotonicNowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export function formatJournal(result: AdminMethods["journal"]["result"]): string {
  if (result.events.length === 0) return "nothing happened in that time\n";
  const rows = result.events.map((event) => [
    new Date(event.wallMs).toISOString().replace("T", " ").replace("Z", ""),
    event.epoch === 0 ? "-" : String(event.epoch),
    event.kind,
    event.text + (event.slots.length > 0 ? ` [${event.slots.length} slots]` : ""),
  ]);
  return table(
    [{ title: "TIME (UTC)" }, { title: "EPOCH", isRight: true }, { title: "EVENT" }, { title: "WHAT" }],
    rows,
  );
}
