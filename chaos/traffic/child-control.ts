/**
 * Control of a traffic process: lines on standard input ("quiet", "stop"), one JSON object a line on standard output
 * ({"type":"ready"}, {"type":"result",…}). A process whose starter is gone ends by itself.
 */
import { createInterface } from "node:readline";

export interface TrafficProcess {
  /** Begin nothing new; let what is under way come to its end. */
  quiet(): void;
  /** What was seen, as JSON; may wait for what is under way. */
  result(): object | Promise<object>;
}

/** Runs the process's side of the control until "stop". */
export function serveControl(traffic: TrafficProcess): void {
  const lines = createInterface({ input: process.stdin });
  let isStopping = false;
  lines.on("line", (line) => {
    if (line === "quiet") traffic.quiet();
    if (line !== "stop") return;
    isStopping = true; // A long result takes its time: the end of the input must not cut it off.
    void report(traffic);
  });
  lines.on("close", () => {
    if (!isStopping) process.exit(0);
  });
  process.on("SIGINT", () => undefined); // Ctrl-C is for the drill, which then ends us.
}

async function report(traffic: TrafficProcess): Promise<void> {
  const result = await traffic.result();
  process.stdout.write(`${JSON.stringify({ type: "result", ...result })}\n`, () => process.exit(0));
}

export function reportReady(): void {
  process.stdout.write(`${JSON.stringify({ type: "ready" })}\n`);
}
