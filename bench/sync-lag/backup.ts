/**
 * Backup: the other process of the bench. Obeys its parent: `start` gives it its certificate, `table` a table; answers with
 * what it has proven and with its CPU time.
 */
import type { TlsFiles } from "../../cluster/transport/tls.ts";
import { mainThreadCpuSeconds } from "../main-thread.ts";
import { SyncNode, table } from "./sync-node.ts";

export type ToBackup =
  | { readonly type: "start"; readonly port: number; readonly tls: TlsFiles }
  | { readonly type: "table"; readonly epoch: number; readonly isSynced: boolean }
  | { readonly type: "cpu" }
  | { readonly type: "stop" };

export type FromBackup =
  /** Listens now: what a parent says before is lost. */
  | { readonly type: "up" }
  | { readonly type: "started" }
  | { readonly type: "proven"; readonly slots: readonly number[] }
  | { readonly type: "cpu"; readonly seconds: number };

const answer = (message: FromBackup): void => void process.send!(message);
let node: SyncNode | undefined;

process.on("disconnect", () => process.exit(1));
process.on("message", async (message: ToBackup) => {
  switch (message.type) {
    case "start":
      node = new SyncNode({
        id: 2,
        port: message.port,
        tls: message.tls,
        onReady: (slots) => answer({ type: "proven", slots }),
      });
      await node.start();
      answer({ type: "started" });
      return;
    case "table":
      node?.replication.setTable(table(message.epoch, message.isSynced));
      return;
    case "cpu":
      answer({ type: "cpu", seconds: mainThreadCpuSeconds() });
      return;
    case "stop":
      await node?.stop();
      process.exit(0);
  }
});
answer({ type: "up" });
