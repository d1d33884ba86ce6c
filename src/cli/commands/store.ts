/**
 * `synwall store`: the log of a cluster in the site's etcd. Owns the wording; what is written is cluster/control/kv-founding.ts.
 */
import { Command } from "commander";
import { loadNodeConfig, roleInFile } from "../../../config/load.ts";
import { SynwallError } from "../../base/errors.ts";
import { initStore } from "../../node/open-store.ts";
import type { Terminal } from "../terminal.ts";

export function storeCommand(terminal: Terminal): Command {
  const store = new Command("store").description(
    "the log of a cluster in the site's etcd (control.store: etcd)",
  );
  store
    .command("init")
    .description("begin the log of a new cluster, once, before its members are started")
    .requiredOption("--config <file>", "configuration of any of the members")
    .action(async ({ config: path }: { readonly config: string }) => {
      const { cluster, control } = loadNodeConfig(path, roleInFile(path));
      if (control.etcd === undefined) {
        throw new SynwallError(
          "SW_ADMIN_BAD_REQUEST",
          `${path}: control.store is raft: the members keep the log themselves, and begin it when they start`,
        );
      }
      const place = await initStore(control.etcd, cluster.name, cluster.slots);
      terminal.out(`the log of ${cluster.name} begins in ${place}; start the members\n`);
    });
  return store;
}
