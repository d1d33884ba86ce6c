/**
 * Document: docs/metrics.md, made from the catalogue. Owns its wording.
 */
import { CATALOGUE } from "./catalogue.ts";
import type { MetricEntry } from "./entry.ts";

const HEAD = `# Metrics

Every node and the witness serve these on \`control.http\` under \`/metrics\`. Values are read when Prometheus asks; nothing is
done per packet. Labels are names from the configuration and fixed words, never addresses of hosts: the only addresses are those
of NAT pools, 2,048 at most. A witness has no dataplane, so it shows only members, peers, Raft and process.

This page is made from \`src/metrics/catalogue.ts\` by \`npm run docs\`; a test compares them. What to alert on stands in
\`config/alerts/synwall.rules.yml\`, and what to do then in [runbooks](runbooks/). Drop reasons are explained
in [drops.md](drops.md).
`;

export function metricsDocument(): string {
  const areas = CATALOGUE.map(
    (area) =>
      `\n## ${area.title}\n\n| name | type | labels | meaning |\n|---|---|---|---|\n${area.entries.map(row).join("")}`,
  );
  return HEAD + areas.join("");
}

function row(entry: MetricEntry): string {
  const labels = entry.labels.length === 0 ? "" : `\`${entry.labels.join("`, `")}\``;
  return `| \`${entry.name}\` | ${entry.type} | ${labels} | ${entry.help} |\n`;
}
