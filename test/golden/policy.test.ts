/**
 * Golden policies: what an operator writes (policy/*.yaml) and what becomes of it (policy/*.out): the model that the engine runs on,
 * or the mistakes. Read the diff of an .out file before `npx vitest run test/golden/policy.test.ts -u` takes it over.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { loadNodeConfig } from "../../config/load.ts";
import { SynwallError } from "../../src/base/errors.ts";
import {
  ACTION_ACCEPT,
  type PolicyModel,
  type RuleModel,
  type TimeoutsMs,
} from "../../src/dataplane/policy-model.ts";
import { formatIpv4, formatPortRange, formatPrefix } from "../../src/policy/address.ts";
import { formatProtocol } from "../../src/policy/protocols.ts";
import { DEFAULT_TIMEOUTS_MS } from "../../src/policy/timeouts.ts";
import { Site } from "../unit/config/site.ts";

const FOLDER = fileURLToPath(new URL("./policy/", import.meta.url));
const site = new Site(["fw1"]);
afterAll(() => site.remove());

const HEAD = `cluster:
  name: edge
  node: fw1
  secretFile: ${site.path("cluster.secret")}
  members: [{ id: 1, name: fw1, role: node, address: 192.0.2.1 }]
  tls: { ca: ${site.path("ca.crt")}, cert: ${site.path("fw1.crt")}, key: ${site.path("fw1.key")} }
`;

test.each(readdirSync(FOLDER).filter((name) => name.endsWith(".yaml")))("%s", async (name) => {
  const text = readFileSync(join(FOLDER, name), "utf8");
  await expect(transcript(text)).toMatchFileSnapshot(join(FOLDER, name.replace(/yaml$/, "out")));
});

/** The compiled policy in words, or one line for each mistake, with lines counted in the .yaml itself. */
function transcript(text: string): string {
  const headLines = HEAD.split("\n").length - 1;
  const path = site.write("golden.yaml", HEAD + text, 0o644);
  try {
    return describe(loadNodeConfig(path, "node").dataplane!.policy);
  } catch (error) {
    if (!(error instanceof SynwallError)) throw error;
    const lines = error.message.replaceAll(`${path}:`, "").split("\n");
    return `${error.code}\n${lines.map((line) => line.replace(/^\d+/, (n) => `line ${Number(n) - headLines}`)).join("\n")}\n`;
  }
}

function describe(policy: PolicyModel): string {
  const zone = (id: number): string => (id < 0 ? "any" : policy.zones[id]!.name);
  return [
    `affinity ${policy.affinity}, sync deadline ${policy.syncDeadlineMs} ms`,
    ...policy.zones.map(
      (z) =>
        `zone ${z.id} ${z.name}: ${formatIpv4(z.gateway)} in ${formatPrefix(z.prefix)}, trust ${z.trust}, ports ${z.ports.join(" ")}`,
    ),
    ...policy.routes.map(
      (r) =>
        `route ${formatPrefix(r.to)} -> ${zone(r.zone)} ${r.via === 0 ? "on-link" : `via ${formatIpv4(r.via)}`}`,
    ),
    ...policy.snat.map(
      (s) =>
        `snat ${zone(s.fromZone)} -> ${zone(s.toZone)} ${s.sources.map(formatPrefix).join(" ") || "any"}: ${s.pool.map(formatIpv4).join(" ")}`,
    ),
    ...policy.dnat.map(
      (d) =>
        `dnat ${zone(d.zone)} ${formatProtocol(d.protocol)} ${formatIpv4(d.address)}:${formatPortRange(d.ports)} -> ${formatIpv4(d.to)}:${d.toPort}`,
    ),
    ...policy.answered.map((a, i) => `answered ${i}: ${formatIpv4(a.address)} in ${zone(a.zone)}`),
    ...policy.rules.map((rule) => describeRule(rule, zone)),
    ...changedTimeouts(policy.timeoutsMs),
    "",
  ].join("\n");
}

function describeRule(rule: RuleModel, zone: (id: number) => string): string {
  const parts = [
    `rule ${rule.id} ${rule.name}: ${rule.action === ACTION_ACCEPT ? "accept" : "drop"} ${zone(rule.fromZone)} -> ${zone(rule.toZone)}`,
  ];
  if (rule.protocol >= 0) parts.push(formatProtocol(rule.protocol));
  if (rule.sources.length > 0) parts.push(`from ${rule.sources.map(formatPrefix).join(" ")}`);
  if (rule.sourcePorts.length > 0)
    parts.push(`from ports ${rule.sourcePorts.map(formatPortRange).join(" ")}`);
  if (rule.destinations.length > 0) parts.push(`to ${rule.destinations.map(formatPrefix).join(" ")}`);
  if (rule.destinationPorts.length > 0)
    parts.push(`to ports ${rule.destinationPorts.map(formatPortRange).join(" ")}`);
  if (rule.icmpType >= 0)
    parts.push(`type ${rule.icmpType}${rule.icmpCode >= 0 ? ` code ${rule.icmpCode}` : ""}`);
  parts.push(["default commit", "commit sync", "commit async"][rule.commit]!);
  if (rule.log) parts.push("logged");
  return parts.join(", ");
}

function changedTimeouts(timeouts: TimeoutsMs): string[] {
  return (Object.keys(timeouts) as (keyof TimeoutsMs)[])
    .filter((name) => timeouts[name] !== DEFAULT_TIMEOUTS_MS[name])
    .map((name) => `timeout ${name} ${timeouts[name]} ms`);
}
