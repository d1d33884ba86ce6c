/**
 * Members file: who belongs to the cluster, for members that began or joined it by command instead of listing everybody in their
 * configuration. `cluster init` and `join` write it to the data folder, and a running member keeps it up to date; the
 * truth is the replicated state, this is whom to ask for it. Owns the format, not how it is put
 * on disk (cluster/storage/replace-file.ts).
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { whyUnreadable } from "../cluster/transport/tls.ts";
import type { FileMistake } from "./files.ts";
import type { MemberConfig } from "./node-config.ts";

const id = z.number().int().min(1).max(255);
const schema = z.strictObject({
  version: z.literal(1),
  /** Voters that the cluster's log was begun with: the same on all members, for ever. */
  founders: z.array(id).min(1).max(255),
  members: z
    .array(
      z.strictObject({
        id,
        name: z.string(),
        role: z.enum(["node", "witness"]),
        address: z.string(),
        weight: z.number().int().min(0).max(100),
      }),
    )
    .min(1)
    .max(255),
});

export interface KnownMembers {
  readonly founders: readonly number[];
  readonly members: readonly MemberConfig[];
}

export function membersFile(dataDir: string): string {
  return `${dataDir}/members.json`;
}

export function readMembers(dataDir: string): KnownMembers | FileMistake {
  const file = membersFile(dataDir);
  const mistake = (message: string): FileMistake => ({
    code: "SW_CONFIG_UNREADABLE",
    path: ["cluster", "members"],
    message,
  });
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    return mistake(
      `no members are listed, and there is no ${file} (${whyUnreadable(cause)}): list them, or run synwall cluster init or join`,
    );
  }
  try {
    const parsed = schema.safeParse(JSON.parse(text));
    if (parsed.success) return parsed.data;
  } catch {
    // Said below.
  }
  return mistake(`${file} cannot be understood: put a copy of another member's there`);
}

/** The file's content. */
export function formatMembers({ founders, members }: KnownMembers): string {
  return `${JSON.stringify({ version: 1, founders, members }, undefined, 2)}\n`;
}
