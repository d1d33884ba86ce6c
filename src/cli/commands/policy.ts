/**
 * `synwall policy apply`: has a running node take over rules, NAT and routes from its configuration file. Owns asking for it;
 * what may change while the node runs is node/policy-change.ts.
 */
import { resolve } from "node:path";
import type { Command } from "commander";
import { adminCall } from "../admin-client.ts";
import { type AskOptions, withAskOptions } from "../options.ts";
import { chooseSocket } from "../socket.ts";
import { printJson, type Terminal } from "../terminal.ts";

/** Tens of thousands of rules take a while to read, and nobody waits for them but who asked. */
const LOADING_MS_MAX = 120_000;

interface ApplyOptions extends AskOptions {
  readonly config: string;
}

export function addPolicyCommand(program: Command, terminal: Terminal): void {
  const policy = program.command("policy").description("the policy that this node runs on");
  withAskOptions(policy.command("apply"))
    .description(
      "read rules, NAT and routes from the file again; what is no longer allowed ends at its next packet, all else goes on",
    )
    .requiredOption("--config <file>", "the node's configuration file")
    .addHelpText("after", "\nExample:\n  synwall policy apply --config /etc/synwall/fw1.yaml\n")
    .action(async (options: ApplyOptions) => {
      const params = { config: resolve(options.config) };
      const result = await adminCall(chooseSocket(options.socket), "policy.apply", params, {
        timeoutMs: LOADING_MS_MAX,
      });
      if (options.json) printJson(terminal, result);
      else {
        for (const note of result.notes) terminal.out(`${note}\n`);
        terminal.out(
          `policy ${result.fingerprint.slice(0, 8)} with ${result.rules} rules holds; do the same on the other nodes\n`,
        );
      }
    });
}
