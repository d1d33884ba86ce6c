/**
 * Kept members: the members file of a running member follows the replicated state, so that its next start knows whom to ask.
 * Members that its configuration lists are not kept: the configuration is their owner's.
 */
import { diskFs } from "../../cluster/storage/fs.ts";
import { replaceFile } from "../../cluster/storage/replace-file.ts";
import { formatMembers, membersFile } from "../../config/members-file.ts";
import type { MemberConfig, NodeConfig } from "../../config/node-config.ts";

/** `others`: all members but this one. Throws SW_STORAGE_FAILED; the file of before stays. */
export function keepMembers(
  { cluster, control }: Pick<NodeConfig, "cluster" | "control">,
  others: readonly MemberConfig[],
): void {
  if (cluster.areMembersListed) return;
  const known = { founders: cluster.founders, members: [cluster.self, ...others] };
  replaceFile(membersFile(control.dataDir), formatMembers(known), diskFs);
}
