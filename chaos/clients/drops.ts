/**
 * Drop counters of a whole lab, and how they grew. What every busy wire has (frames for others, ARP) is left out.
 */
import { statusOf } from "../lab/ask.ts";
import type { Lab } from "../lab/lab.ts";

/** No packet that somebody sent to or through the cluster. */
const NOISE: readonly string[] = ["stp_or_lldp", "not_for_us", "arp", "neighbour_discovery"];

export class Drops {
  readonly #counts: Readonly<Record<string, number>>;

  constructor(counts: Readonly<Record<string, number>>) {
    this.#counts = counts;
  }

  /** By reason, those that grew. */
  since(before: Drops): Record<string, number> {
    const grown = Object.entries(this.#counts)
      .filter(([reason]) => !NOISE.includes(reason))
      .map(([reason, count]) => [reason, count - (before.#counts[reason] ?? 0)] as const);
    return Object.fromEntries(grown.filter(([, count]) => count > 0));
  }
}

/** All nodes' counters together. */
export async function dropsOf(lab: Lab): Promise<Drops> {
  const total: Record<string, number> = {};
  for (const { name, role } of lab.state.topology.members) {
    if (role !== "node") continue;
    const status = await statusOf(lab.context.ask, lab.paths.socket(name));
    for (const [reason, count] of Object.entries(status?.dataplane?.drops ?? {})) {
      total[reason] = (total[reason] ?? 0) + count;
    }
  }
  return new Drops(total);
}
