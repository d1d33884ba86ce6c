/**
 * Log: pino behind the few words that the node uses. Owns levels and formats; secrets never come here, since nothing logs
 * configuration or keys.
 */
import { LRUCache } from "lru-cache";
import pino from "pino";
import type { JournalEvent, JournalKind } from "./admin-model.ts";
import type { RuleLogLine } from "./rule-log-lines.ts";

export interface Log {
  line(level: "debug" | "info" | "warn" | "error" | "fatal", text: string): void;
  event(event: JournalEvent): void;
  /** What a rule with `log: true` decided. */
  rule(line: RuleLogLine, text: string): void;
  /** Writes what waits, before the process ends without being asked. */
  flush(): void;
}

/** Events that an operator must see first. */
const WARNINGS: ReadonlySet<JournalKind> = new Set<JournalKind>([
  "peer-down",
  "link-down",
  "link-late",
  "takeover-proposed",
  "fenced",
  "stall",
  "suspended",
  "hung",
  "disk",
  "clock",
  "resync",
]);

/** The same line again within this time is counted instead: a peer that is turned away tries again every half second. */
const REPEAT_MS = 10_000;
/** Different lines that are remembered; the least recent is forgotten first. */
const REPEATS_MAX = 256;

export function createLog(level: string, node: string): Log {
  const output = pino.destination({ sync: false });
  const logger = pino({ level, base: { node }, timestamp: pino.stdTimeFunctions.isoTime }, output);
  const repeats = new LRUCache<string, { sinceMs: number; count: number }>({ max: REPEATS_MAX });
  return {
    line: (at, text) => {
      const nowMs = Date.now();
      const last = repeats.get(text);
      if (last !== undefined && nowMs - last.sinceMs < REPEAT_MS && at !== "error" && at !== "fatal") {
        last.count++;
        return;
      }
      const again = last === undefined || last.count === 0 ? "" : ` (and ${last.count} times more before)`;
      repeats.set(text, { sinceMs: nowMs, count: 0 });
      logger[at](text + again);
    },
    event: ({ kind, epoch, node: member, slots, text }) =>
      logger[WARNINGS.has(kind) ? "warn" : "info"]({ kind, epoch, member, slots: slots.length }, text),
    rule: (line, text) => logger.info(line, text),
    flush: () => {
      try {
        output.flushSync();
      } catch {
        // Nobody reads any more, or the disk under it is full: the end does not wait for that.
      }
    },
  };
}
