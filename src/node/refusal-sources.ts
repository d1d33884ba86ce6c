/**
 * Refusal sources: where a node's refusals are counted, in memory that the dataplane worker writes. Owns nothing.
 */
import { COUNT } from "../dataplane/context.ts";
import { RedirectView } from "./redirect-view.ts";
import type { RefusalSources } from "./refusal-lines.ts";
import type { SharedMemory } from "./shared-memory.ts";
import { WorkerBoard } from "./worker-board.ts";

export function nodeRefusals(
  memory: Pick<SharedMemory, "board" | "counters" | "redirects">,
  peers: () => readonly { readonly id: number; readonly name: string }[],
): RefusalSources {
  const board = new WorkerBoard(memory.board);
  const counters = new Float64Array(memory.counters);
  const redirects = new RedirectView(memory.redirects);
  return {
    heartbeats: () => board.heartbeatsRefused(),
    heartbeatSender: (reason) => board.heartbeatSender(reason),
    redirects: {
      byReason: () => ({
        unsealed: counters[COUNT.redirectsClearRefused]!,
        forged: counters[COUNT.redirectsForged]!,
        replayed: counters[COUNT.redirectsReplayed]!,
        unproven: counters[COUNT.redirectsKeyless]!,
      }),
      byPeer: () => peers().map(({ id, name }) => ({ name, refused: redirects.of(id).refused })),
    },
  };
}
