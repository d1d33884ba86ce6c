/**
 * Kept members: the members file of a running member follows the replicated state, so that its next start knows whom to ask.
 * Members that its configuration lists are not kept: the configuration is their owner's.
 */
import { diskFs } from "../../cluster/storage/fs.ts";
import { replaceFile } from "../../cluster/storage/replace-file.ts";
import { formatMembers, membersFile } from "../../config/members-file.ts";
import type { MemberConfig, NodeConfig } from "../../config/node-config.ts";

/** Between two attempts to write what could not be written. */
export const KEEP_AGAIN_MS = 10_000;

export class KeptMembers {
  readonly #config: Pick<NodeConfig, "cluster" | "control">;
  readonly #onNote: (text: string) => void;
  /** What the file does not hold yet. */
  #owed: readonly MemberConfig[] | undefined;

  constructor(config: Pick<NodeConfig, "cluster" | "control">, onNote: (text: string) => void) {
    this.#config = config;
    this.#onNote = onNote;
  }

  /** `others`: all members but this one. A file that cannot be written is told once, and tried again by tick(): the truth is elsewhere. */
  keep(others: readonly MemberConfig[]): void {
    const { cluster, control } = this.#config;
    if (cluster.areMembersListed) return;
    const known = { founders: cluster.founders, members: [cluster.self, ...others] };
    const wasOwed = this.#owed !== undefined;
    try {
      replaceFile(membersFile(control.dataDir), formatMembers(known), diskFs);
      this.#owed = undefined;
    } catch (error) {
      this.#owed = others;
      if (wasOwed) return;
      const why = error instanceof Error ? error.message : String(error);
      this.#onNote(
        `${why}: the file of before stays, and is written again when it can be; a start meanwhile may ask members that are gone`,
      );
    }
  }

  /** To be called every KEEP_AGAIN_MS. */
  tick(): void {
    if (this.#owed !== undefined) this.keep(this.#owed);
  }
}
