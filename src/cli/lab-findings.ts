/**
 * Findings of real clients and scans as people read them, and the option that chooses address families. Owns no running.
 */
import { InvalidArgumentError } from "commander";
import type { Family, Finding } from "../../chaos/clients/model.ts";
import { formatMs, table } from "./terminal.ts";

/** A table, and one line that sums it up. */
export function formatFindings(findings: readonly Finding[]): string {
  const rows = findings.map(({ check, family, during, verdict, tookMs, detail }) => [
    check,
    `IPv${family}`,
    during,
    verdict,
    formatMs(tookMs),
    detail,
  ]);
  const titles = ["CHECK", "FAMILY", "DURING", "VERDICT", "TOOK", "SEEN"];
  const count = (verdict: Finding["verdict"]): number =>
    findings.filter((each) => each.verdict === verdict).length;
  return [
    `\n${table(
      titles.map((title) => ({ title })),
      rows,
    )}\n`,
    `${count("pass")} of ${findings.length} passed, ${count("fail")} failed, ${count("not-yet")} not there yet\n`,
  ].join("");
}

/** `--family`: 4, 6 or both. */
export function families(text: string): readonly Family[] {
  if (text === "both") return [4, 6];
  if (text === "4" || text === "6") return [Number(text) as Family];
  throw new InvalidArgumentError("use 4, 6 or both");
}
