/**
 * Files of the servers that the clients talk to: accounts, keys, configurations and what they serve. The texts are computed
 * (pure); nothing of the machine's own configuration is read.
 */
import { createHash, randomBytes } from "node:crypto";
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { run } from "../lab/run.ts";
import type { Blob } from "./model.ts";

const CERTIFICATE_DAYS = 30;
/** What programs and the linker look up there. */
const ETC_FOLDERS: ReadonlySet<string> = new Set(["alternatives", "ld.so.conf.d"]);
/** And the copies and new files of whoever edits them. */
const ACCOUNTS = /^(passwd|shadow)/;

/**
 * Shell text: runs a command with the folder "$1" as /etc, and an empty /run. `ip netns exec` gives each command mounts of its own:
 * what is mounted here is seen by this command alone.
 */
export const PRIVATELY = [
  'mount --bind "$1" /etc',
  "mount -t tmpfs -o mode=755 tmpfs /run",
  "mkdir /run/sshd /run/vsftpd",
  "shift",
  'exec "$@"',
].join(" && ");
export const FTP_BYTES_PER_SECOND = 600_000;

/** Everything that servers run on, under one folder. */
export interface ServerFiles {
  readonly directory: string;
  /** What the servers see as /etc. */
  readonly etc: string;
  readonly sshConfig: string;
  readonly sshKey: string;
  readonly caddyConfig: string;
  readonly certificate: string;
  /** Folder that web, FTP and TFTP servers show. */
  readonly served: string;
  /** By family: 4 or 6. */
  vsftpdConfig(family: 4 | 6): string;
}

export function serverFiles(directory: string): ServerFiles {
  const file = (name: string): string => join(directory, name);
  return {
    directory,
    etc: file("etc"),
    sshConfig: file("sshd.conf"),
    sshKey: file("client_key"),
    caddyConfig: file("caddy.json"),
    certificate: file("web.crt"),
    served: file("served"),
    vsftpdConfig: (family) => file(`vsftpd${family}.conf`),
  };
}

export interface ServerPlan {
  /** Addresses that the web server's certificate names. */
  readonly names: readonly string[];
  readonly address4: string;
  readonly address6: string | undefined;
  readonly blobs: readonly { readonly name: string; readonly bytes: number }[];
}

/** Writes all files. Answers what the blobs are. */
export async function writeServerFiles(files: ServerFiles, plan: ServerPlan): Promise<Blob[]> {
  mkdirSync(files.directory, { recursive: true, mode: 0o700 });
  for (const name of ["served", "empty", "caddy"])
    mkdirSync(join(files.directory, name), { recursive: true });
  const keep = (path: string, text: string): void => writeFileSync(path, text, { mode: 0o600 });
  writeEtc(files.etc, passwdText(files.served));
  keep(files.sshConfig, sshdText(files.directory));
  const addresses = [plan.address4, ...(plan.address6 === undefined ? [] : [plan.address6])];
  keep(files.caddyConfig, caddyText(files, addresses));
  keep(files.vsftpdConfig(4), vsftpdText(files.directory, 4, plan.address4));
  if (plan.address6 !== undefined) keep(files.vsftpdConfig(6), vsftpdText(files.directory, 6, plan.address6));
  await makeKeys(files, plan.names);
  return plan.blobs.map(({ name, bytes }) => {
    const content = randomBytes(bytes);
    writeFileSync(join(files.served, name), content, { mode: 0o644 });
    return { name, bytes, sha256: createHash("sha256").update(content).digest("hex") };
  });
}

/**
 * Copies of what anybody may read in /etc itself, with accounts of the servers' own. A copy, since the machine's files are replaced
 * by other programs at any time, and a file that is mounted over one of them is gone from there when that is renamed.
 */
export function writeEtc(etc: string, passwd: string): void {
  mkdirSync(etc, { recursive: true, mode: 0o755 });
  for (const entry of readdirSync("/etc", { withFileTypes: true })) {
    const [from, to] = [join("/etc", entry.name), join(etc, entry.name)];
    if (ACCOUNTS.test(entry.name)) continue;
    if (entry.isSymbolicLink()) symlinkSync(readlinkSync(from), to);
    else if (entry.isFile() && isPublic(from)) copyFileSync(from, to);
    else if (entry.isDirectory() && ETC_FOLDERS.has(entry.name)) {
      cpSync(from, to, { recursive: true, verbatimSymlinks: true });
    }
  }
  writeFileSync(join(etc, "passwd"), passwd);
  writeFileSync(join(etc, "shadow"), "root:*:19000:0:99999:7:::\n", { mode: 0o600 });
}

/** Also while it is being replaced, when it is not there for a moment. */
function isPublic(file: string): boolean {
  const found = statSync(file, { throwIfNoEntry: false });
  return found !== undefined && (found.mode & 0o004) !== 0;
}

async function makeKeys(files: ServerFiles, names: readonly string[]): Promise<void> {
  const { directory, sshKey } = files;
  const hostKey = join(directory, "host_key");
  for (const key of [hostKey, sshKey]) {
    await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key]);
  }
  await run("cp", [`${sshKey}.pub`, join(directory, "authorized")]);
  await run("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
    ...["-keyout", join(directory, "web.key"), "-out", files.certificate, "-subj", "/CN=lab web server"],
    ...["-days", String(CERTIFICATE_DAYS)],
    ...["-addext", `subjectAltName=${names.map((name) => `IP:${name}`).join(",")}`],
  ]);
}

/** Accounts of the servers alone: the machine's own are hidden from them. */
export function passwdText(ftpHome: string): string {
  return [
    "root:*:0:0:root:/root:/bin/sh",
    "sshd:*:101:65534::/run/sshd:/usr/sbin/nologin",
    `ftp:*:102:65534::${ftpHome}:/usr/sbin/nologin`,
    "nobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
    "",
  ].join("\n");
}

export function sshdText(directory: string): string {
  return [
    "Port 22",
    `HostKey ${directory}/host_key`,
    `AuthorizedKeysFile ${directory}/authorized`,
    "PermitRootLogin prohibit-password",
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
    "UsePAM no",
    "UseDNS no",
    "StrictModes no", // The folder belongs to this lab, under /var/tmp.
    "PidFile none",
    "PrintMotd no",
    "LogLevel ERROR",
    "",
  ].join("\n");
}

export function vsftpdText(directory: string, family: 4 | 6, address: string): string {
  return [
    ...(family === 4
      ? ["listen=YES", "listen_ipv6=NO", `listen_address=${address}`]
      : ["listen=NO", "listen_ipv6=YES", `listen_address6=${address}`]),
    "background=NO",
    "anonymous_enable=YES",
    "no_anon_password=YES",
    "local_enable=NO",
    "write_enable=NO",
    `anon_root=${directory}/served`,
    `secure_chroot_dir=${directory}/empty`,
    "connect_from_port_20=YES",
    // Sandboxes of its own do not fit a namespace that is one already.
    "seccomp_sandbox=NO",
    "isolate=NO",
    "isolate_network=NO",
    // Paced by the sender: buffers on the way must not take the whole file at once.
    `anon_max_rate=${FTP_BYTES_PER_SECOND}`,
    "xferlog_enable=NO",
    "",
  ].join("\n");
}

/** Each address by itself: over QUIC the server knows no other way to choose its certificate for who names none. */
export function caddyText(
  { directory, certificate, served }: ServerFiles,
  addresses: readonly string[],
): string {
  const server = {
    listen: addresses.map((address) => `${address.includes(":") ? `[${address}]` : address}:443`),
    automatic_https: { disable: true },
    tls_connection_policies: [{}],
    routes: [{ handle: [{ handler: "file_server", root: served }] }],
  };
  const files = [{ certificate, key: `${directory}/web.key` }];
  return JSON.stringify({
    admin: { disabled: true, config: { persist: false } },
    logging: { logs: { default: { level: "ERROR" } } },
    storage: { module: "file_system", root: `${directory}/caddy` },
    apps: {
      tls: { certificates: { load_files: files } },
      http: { servers: { web: server } },
    },
  });
}
