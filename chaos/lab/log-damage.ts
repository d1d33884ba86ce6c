/**
 * Log damage: one bit of a stopped member's log turned over, in its middle, as a failing disk does; and put right again. The member
 * must refuse to start on it: a log that it cannot believe is no base for votes.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SynwallError } from "../../src/base/errors.ts";
import { startAgain } from "./faults.ts";
import { type Lab, lastWords, memberOf, runningProcess } from "./lab.ts";
import { poll } from "./wait.ts";

/** Bytes behind the beginning of the oldest segment: in a record that others follow. */
const DAMAGE_AT = 40;
const REFUSES_WITHIN_MS = 15_000;

export class LogDamage {
  readonly #lab: Lab;
  readonly #file: string;

  private constructor(lab: Lab, file: string) {
    this.#lab = lab;
    this.#file = file;
  }

  /** Damages the log of a member that does not run. */
  static of(lab: Lab, name: string): LogDamage {
    const { name: member } = memberOf(lab, name);
    if (runningProcess(lab, member) !== undefined) {
      throw new SynwallError("SW_LAB_FAILED", `${member} runs: its log can not be damaged behind its back`);
    }
    const [segment] = walFiles(lab.paths.data(member)).toSorted();
    if (segment === undefined) throw new SynwallError("SW_LAB_FAILED", `${member} has no log to damage`);
    const damage = new LogDamage(lab, segment);
    damage.#flip();
    return damage;
  }

  repair(): void {
    this.#flip();
  }

  /** Starts the member and answers its last words. Throws SW_DRILL_FAILED when it runs on. */
  async startRefused(name: string): Promise<string> {
    await startAgain(this.#lab, name);
    const hasEnded = await poll(() => runningProcess(this.#lab, name) === undefined, REFUSES_WITHIN_MS, {
      abort: this.#lab.context.abort,
    });
    if (!hasEnded) throw new SynwallError("SW_DRILL_FAILED", `${name} runs on a damaged log`);
    return lastWords(this.#lab, name);
  }

  #flip(): void {
    const bytes = readFileSync(this.#file);
    bytes[DAMAGE_AT] = bytes[DAMAGE_AT]! ^ 1;
    writeFileSync(this.#file, bytes);
  }
}

function walFiles(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".wal"))
    .map((entry) => join(entry.parentPath, entry.name));
}
