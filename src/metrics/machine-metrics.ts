/**
 * Machine metrics: disk, clocks, threads and certificates below a member. Part of the catalogue.
 */
import type { MetricArea } from "./entry.ts";
import { single } from "./entry.ts";

export const MACHINE_METRICS: MetricArea = {
  title: "Machine",
  entries: [
    single(
      "gauge",
      "synwall_disk_free_bytes",
      "Room on the file system of control.dataDir, for an ordinary user",
      ({ machine }) => known(machine?.diskFreeBytes),
    ),
    single(
      "gauge",
      "synwall_disk_free_min_bytes",
      "control.diskFreeMiBMin: with less room a node gives up its slots",
      ({ machine }) => machine?.diskFreeBytesMin,
    ),
    single(
      "counter",
      "synwall_clock_jumps_total",
      "Times that somebody set the time of day by a second or more, forward or back",
      ({ machine }) => machine?.wallJumps,
    ),
    single(
      "counter",
      "synwall_machine_suspensions_total",
      "Times that the machine was suspended and said so; a lease never outlasts it",
      ({ machine }) => machine?.suspensions,
    ),
    single("counter", "synwall_machine_suspended_seconds_total", "How long that was in all", ({ machine }) =>
      machine === undefined ? undefined : machine.suspendedMs / 1e3,
    ),
    single(
      "gauge",
      "synwall_disk_still_seconds",
      "For how long a write to control.dataDir has waited for the disk; at 10 s the process ends itself",
      ({ machine }) => (machine === undefined ? undefined : machine.diskStillMs / 1e3),
    ),
    single(
      "gauge",
      "synwall_worker_still_seconds",
      "For how long the packet worker's loop has not turned; at 5 s the process ends itself",
      ({ machine }) => (machine?.workerStillMs === undefined ? undefined : machine.workerStillMs / 1e3),
    ),
    single(
      "gauge",
      "synwall_certificate_expiry_timestamp_seconds",
      "When this member's certificate ends; it is renewed by itself where a member has the CA's key",
      ({ machine }) => (machine === undefined ? undefined : machine.certificateUntilMs / 1e3),
    ),
    single(
      "gauge",
      "synwall_ca_expiry_timestamp_seconds",
      "When the certificate of the cluster's CA ends",
      ({ machine }) => (machine === undefined ? undefined : machine.caUntilMs / 1e3),
    ),
  ],
};

function known(value: number | undefined): number | undefined {
  return value === undefined || Number.isNaN(value) ? undefined : value;
}
