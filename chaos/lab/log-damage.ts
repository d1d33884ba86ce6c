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

const REFUSES_WITHIN_MS = 15_000;

export class LogDamage {
  readonly #lab: Lab;
  readonly #file: string;
  readonly #at: number;

  private constructor(lab: Lab, file: string) {
    this.#lab = lab;
    this.#file = file;
    this.#at = middleOf(readFileSync(file));
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
    bytes[this.#at] = bytes[this.#at]! ^ 1;
    writeFileSync(this.#file, bytes);
  }
}

/** A byte that means something, with records before and behind it: what is zero may be padding, or not written yet. */
function middleOf(bytes: Uint8Array): number {
  const end = bytes.findLastIndex((byte) => byte !== 0);
  return bytes.findIndex((byte, i) => i > end / 2 && byte > 1);
}

function walFiles(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".wal"))
    .map((entry) => join(entry.parentPath, entry.name));
}
