import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { ROOT_DIRECTORY } from "../../../config/version.ts";
import { DROP_REASONS } from "../../../src/dataplane/verdict.ts";
import { CATALOGUE } from "../../../src/metrics/catalogue.ts";
import { PROMTOOL, promtool } from "../metrics/promtool.ts";

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

const RULES = join(ROOT_DIRECTORY, "config/alerts/synwall.rules.yml");
const RULE_TESTS = join(ROOT_DIRECTORY, "config/alerts/synwall.rules.test.yml");
const ruleTests = readFileSync(RULE_TESTS, "utf8");
const file = parse(readFileSync(RULES, "utf8")) as { groups: { rules: Rule[] }[] };
const rules = file.groups.flatMap((group) => group.rules);

/** Series names that an exposition has, histograms spelled out. */
const series = new Set(
  CATALOGUE.flatMap((area) => area.entries).flatMap((entry) =>
    entry.type === "histogram"
      ? ["_bucket", "_sum", "_count"].map((suffix) => entry.name + suffix)
      : [entry.name],
  ),
);

describe.each(rules.map((rule) => [rule.alert, rule] as const))("alert %s", (name, rule) => {
  test("says what happened, what it means, what to do, and where more stands", () => {
    expect(Object.keys(rule.annotations).sort()).toEqual(["action", "meaning", "runbook", "summary"]);
    expect(["critical", "warning", "info"]).toContain(rule.labels["severity"]);
    expect(existsSync(join(ROOT_DIRECTORY, rule.annotations["runbook"]!))).toBe(true);
  });

  test("uses only metrics of the catalogue", () => {
    const used = rule.expr.match(/\bsynwall_\w+/g) ?? [];
    expect(used.length > 0 || rule.expr.startsWith("up{")).toBe(true);
    for (const metric of used) expect([metric, series.has(metric)]).toEqual([metric, true]);
  });

  test("names only drop reasons that exist", () => {
    for (const [, reasons] of rule.expr.matchAll(/drops_total\{reason=~?"([^"]+)"/g)) {
      for (const reason of reasons!.split("|")) expect(DROP_REASONS).toContain(reason);
    }
  });

  test("is tested in both directions: it fires, and it is silent on a healthy pair", () => {
    expect(ruleTests).toMatch(new RegExp(`eval_time: 15m, alertname: ${name} \\}`));
    expect(ruleTests).toMatch(new RegExp(`(alertname="${name}"|alertname: ${name}\n)`));
  });
});

test.skipIf(PROMTOOL === undefined)("promtool checks the rules and runs their tests", () => {
  const checked = promtool(["check", "rules", RULES]);
  expect([checked.status, checked.text]).toEqual([0, expect.stringContaining(`${rules.length} rules found`)]);
  const tested = promtool(["test", "rules", RULE_TESTS]);
  expect([tested.status, tested.text]).toEqual([0, expect.stringContaining("SUCCESS")]);
});
