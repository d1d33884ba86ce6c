/**
 * Prints "N passed, N failed" from the JSON report of a test run, as the last line of .ci/run. Exit status 1 when a test failed,
 * a file could not be loaded, no test ran, or there is no report.
 */
import { readFileSync } from "node:fs";

interface Report {
  readonly success: boolean;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly testResults: readonly { readonly status: string; readonly assertionResults: readonly unknown[] }[];
}

const report = readReport(process.argv[2] ?? "");
// A file that fails before its first test (a bad import) is in no test count.
const filesBroken = report.testResults.filter(
  (file) => file.status === "failed" && file.assertionResults.length === 0,
).length;
const failed = report.numFailedTests + filesBroken;
if (report.numPassedTests + failed === 0) process.stdout.write("no test ran\n");
if (report.numPendingTests > 0) process.stdout.write(`${report.numPendingTests} skipped\n`);
process.stdout.write(`${report.numPassedTests} passed, ${failed} failed\n`);
process.exitCode = failed === 0 && report.numPassedTests > 0 && report.success ? 0 : 1;

function readReport(path: string): Report {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Report;
  } catch {
    process.stdout.write(`no test report at ${path}: the run ended before its tests\n`);
    return { success: false, numPassedTests: 0, numFailedTests: 1, numPendingTests: 0, testResults: [] };
  }
}
