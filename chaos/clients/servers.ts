/**
 * Servers that the clients talk to: started on the lab's outside server for one run of the suite, ended with it. They run with
 * a /etc and a /run of their own, so that nothing of this machine is used or touched.
 */
import { SynwallError } from "../../src/base/errors.ts";
import type { HostProcess, Hosts } from "./hosts.ts";
import { lastWords } from "./model.ts";
import { PRIVATELY, type ServerFiles } from "./server-files.ts";
import { SERVER_FILES } from "./tools.ts";

const SERVER_HOST = "server";

interface ServerSpec {
  readonly name: string;
  readonly port: number;
  readonly command: readonly string[];
}

/** Starts all servers and waits until they listen. Throws SW_LAB_FAILED with the last words of one that does not. */
export async function startServers(
  hosts: Hosts,
  files: ServerFiles,
  addresses: { readonly v4: string; readonly v6: string | undefined },
): Promise<void> {
  const started = serverSpecs(files, addresses).map((spec) => ({ spec, running: start(hosts, files, spec) }));
  for (const { spec, running } of started) {
    if ((await hosts.isListening(SERVER_HOST, spec.port)) && !running.hasEnded) continue;
    await running.end();
    throw new SynwallError("SW_LAB_FAILED", `${spec.name} does not serve: ${lastWords(await running.ended)}`);
  }
}

function start(hosts: Hosts, files: ServerFiles, { command }: ServerSpec): HostProcess {
  const environment = ["env", `HOME=${files.directory}/caddy`];
  return hosts.start(SERVER_HOST, [...["sh", "-c", PRIVATELY, "sh", files.etc], ...environment, ...command]);
}

function serverSpecs(
  files: ServerFiles,
  { v4, v6 }: { readonly v4: string; readonly v6: string | undefined },
): ServerSpec[] {
  const tftpd = (address: string): string[] => [
    ...[SERVER_FILES.tftpd, "--foreground", "--user", "nobody", "--secure"],
    ...["--address", `${address}:69`, files.served],
  ];
  const both = v6 === undefined ? [] : [v6];
  return [
    {
      name: "caddy",
      port: 443,
      command: [SERVER_FILES.caddy, "run", "--config", files.caddyConfig],
    },
    { name: "sshd", port: 22, command: [SERVER_FILES.sshd, "-D", "-e", "-f", files.sshConfig] },
    { name: "vsftpd", port: 21, command: [SERVER_FILES.vsftpd, files.vsftpdConfig(4)] },
    { name: "tftpd", port: 69, command: tftpd(v4) },
    ...both.flatMap((address) => [
      { name: "vsftpd (IPv6)", port: 21, command: [SERVER_FILES.vsftpd, files.vsftpdConfig(6)] },
      { name: "tftpd (IPv6)", port: 69, command: tftpd(`[${address}]`) },
    ]),
  ];
}
