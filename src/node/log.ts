/**
 * Log: pino behind the few words that the node uses. Owns levels and formats; secrets never come here, since nothing logs
 * configuration or keys.
 */
import pino from "pino";
import type { JournalEvent, JournalKind } from "./admin-model.ts";

export interface Log {
  line(level: "debug" | "info" | "warn" | "error" | "fatal", text: string): void;
  event(event: JournalEvent): void;
}

/** Events that an operator must see first. */
const WARNINGS: ReadonlySet<JournalKind> = new Set<JournalKind>([
  "peer-down",
  "link-down",
  "takeover-proposed",
  "fenced",
  "stall",
  "resync",
]);

export function createLog(level: string, node: string): Log {
  const logger = pino(
    { level, base: { node }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ sync: false }),
  );
  return {
    line: (at, text) => logger[at](text),
    event: ({ kind, epoch, node: member, slots, text }) =>
      logger[WARNINGS.has(kind) ? "warn" : "info"]({ kind, epoch, member, slots: slots.length }, text),
  };
}
