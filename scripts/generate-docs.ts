/**
 * Writes the pages of docs/ that are made from code. Tests fail when a page is out of date.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT_DIRECTORY } from "../config/version.ts";
import { metricsDocument } from "../src/metrics/document.ts";

writeFileSync(join(ROOT_DIRECTORY, "docs/metrics.md"), metricsDocument());
process.stdout.write("docs/metrics.md written\n");
