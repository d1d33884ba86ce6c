/**
 * Process metrics: CPU, memory and age of the Synwall process, under the names that all Prometheus clients use, so that ready
 * dashboards find them; and whom it refused on its own machine. Read from the process itself, not from the snapshot.
 */
import { readdirSync } from "node:fs";
import type { MetricArea } from "./entry.ts";
import { single } from "./entry.ts";
import { LOCAL_SERVER_REFUSALS } from "./local-servers.ts";

export const PROCESS_METRICS: MetricArea = {
  title: "Process",
  entries: [
    single("counter", "process_cpu_seconds_total", "CPU time of all threads, user and system", () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    }),
    single("gauge", "process_resident_memory_bytes", "Resident memory", () => process.memoryUsage.rss()),
    single(
      "gauge",
      "process_start_time_seconds",
      "Start of the process since the Unix epoch",
      () => Date.now() / 1000 - process.uptime(),
    ),
    single("gauge", "process_open_fds", "Open file descriptors", openDescriptors),
    LOCAL_SERVER_REFUSALS,
  ],
};

function openDescriptors(): number | undefined {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return undefined; // No procfs: nothing to tell.
  }
}
