/**
 * All checks, in the order of the report.
 */
import type { Check } from "../model.ts";
import { CALL_CHECKS } from "./calls.ts";
import { FILE_CHECKS } from "./files.ts";
import { PATH_CHECKS } from "./paths.ts";
import { PING_CHECKS } from "./pings.ts";
import { SHELL_CHECKS } from "./shell.ts";
import { STREAM_CHECKS } from "./streams.ts";
import { WEB_CHECKS } from "./web.ts";

export const CHECKS: readonly Check[] = [
  ...WEB_CHECKS,
  ...SHELL_CHECKS,
  ...STREAM_CHECKS,
  ...FILE_CHECKS,
  ...CALL_CHECKS,
  ...PING_CHECKS,
  ...PATH_CHECKS,
];
