/**
 * Certificates for tests: a CA and members' certificates made by openssl in a temporary folder, elliptic curves, one day.
 * The folder goes with remove(), or with the process when a test or bench is interrupted.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TlsFiles } from "../../../../cluster/transport/tls.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
const OPEN = new Set<CertificateFolder>();
let isWatching = false;

export class CertificateFolder {
  readonly path = mkdtempSync(join(tmpdir(), "synwall-tls-"));
  readonly #made = new Map<string, TlsFiles>();
  readonly #shared = new Set<string>();

  constructor() {
    removeWithProcess(this);
    this.#makeCa("ca");
  }

  /** A certificate for `name`, signed by the CA of that name ("ca" unless told). */
  member(name: string, ca = "ca"): TlsFiles {
    const known = this.#made.get(`${ca}/${name}`);
    if (known !== undefined) return known;
    if (ca !== "ca" && !this.#shared.has(ca)) this.#makeCa(ca);
    const base = `${ca}-${name}`;
    openssl(this.path, [
      ...["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
      ...["-keyout", `${base}.key`, "-out", `${base}.csr`, "-subj", `/CN=${name}`],
    ]);
    openssl(this.path, [
      ...["x509", "-req", "-in", `${base}.csr`, "-CA", `${ca}.crt`, "-CAkey", `${ca}.key`],
      ...["-CAcreateserial", "-out", `${base}.crt`, "-days", "1"],
    ]);
    const files = {
      ca: this.file(`${ca}.crt`),
      cert: this.file(`${base}.crt`),
      key: this.file(`${base}.key`),
    };
    this.#made.set(`${ca}/${name}`, files);
    return files;
  }

  /** A CA that all its members share; others are made anew for each. */
  sharedCa(name: string): void {
    this.#makeCa(name);
    this.#shared.add(name);
  }

  /** One file that holds these CAs, in this order, as while a CA is replaced. */
  bundle(...cas: readonly string[]): string {
    const path = this.file(`${cas.join("+")}.crt`);
    writeFileSync(path, cas.map((ca) => readFileSync(this.file(`${ca}.crt`), "utf8")).join(""));
    return path;
  }

  /** One that ended yesterday. */
  expired(name: string): TlsFiles {
    const [first, last] = [2, 1].map((days) => opensslTime(Date.now() - days * 86_400_000));
    const base = `expired-${name}`;
    openssl(this.path, [
      ...["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
      ...["-keyout", `${base}.key`, "-out", `${base}.csr`, "-subj", `/CN=${name}`],
    ]);
    // Only "openssl ca" can date a certificate back, and it wants its own little world.
    writeFileSync(this.file("index.txt"), "");
    writeFileSync(this.file("ca.cnf"), CA_CONFIG);
    openssl(this.path, [
      ...["ca", "-batch", "-notext", "-config", "ca.cnf", "-in", `${base}.csr`, "-out", `${base}.crt`],
      ...["-cert", "ca.crt", "-keyfile", "ca.key", "-startdate", first!, "-enddate", last!],
    ]);
    return { ca: this.file("ca.crt"), cert: this.file(`${base}.crt`), key: this.file(`${base}.key`) };
  }

  file(name: string): string {
    return join(this.path, name);
  }

  remove(): void {
    OPEN.delete(this);
    rmSync(this.path, { recursive: true, force: true });
  }

  #makeCa(name: string): void {
    openssl(this.path, [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
      ...["-keyout", `${name}.key`, "-out", `${name}.crt`, "-subj", `/CN=${name}`, "-days", "1"],
    ]);
  }
}

function removeWithProcess(folder: CertificateFolder): void {
  OPEN.add(folder);
  if (isWatching) return;
  isWatching = true;
  process.once("exit", removeAll);
  for (const signal of SIGNALS) process.once(signal, removeAndDie);
}

function removeAll(): void {
  for (const folder of OPEN) folder.remove();
}

/** A signal that has a listener no longer ends the process: it is sent again when the listener is gone. */
function removeAndDie(signal: NodeJS.Signals): void {
  removeAll();
  process.kill(process.pid, signal);
}

const CA_CONFIG = `[ca]
default_ca = only
[only]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
`;

function opensslTime(ms: number): string {
  return `${new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, "")}`;
}

function openssl(cwd: string, args: readonly string[]): void {
  execFileSync("openssl", args, { cwd, stdio: "pipe" });
}
