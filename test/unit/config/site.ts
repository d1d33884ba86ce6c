/**
 * A site on disk for tests: a CA, a member's certificate and key, a cluster secret, and configuration files made from the
 * examples by replacing text. Owns temporary folders, which it removes.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadNodeConfig } from "../../../config/load.ts";
import type { NodeConfig } from "../../../config/node-config.ts";
import { type ErrorCode, SynwallError } from "../../../src/base/errors.ts";

export type Example = "fw1" | "fw2" | "witness";

export function exampleText(name: Example): string {
  return readFileSync(
    fileURLToPath(new URL(`../../../config/examples/${name}.yaml`, import.meta.url)),
    "utf8",
  );
}

export class Site {
  readonly directory: string = mkdtempSync(join(tmpdir(), "synwall-config-"));

  constructor(members: readonly string[] = ["fw1", "fw2", "witness"]) {
    this.makeCa("ca");
    for (const member of members) this.makeCertificate(member, "ca", member);
    this.write("cluster.secret", `${"5a".repeat(32)}\n`, 0o600);
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  write(name: string, text: string, mode = 0o600): string {
    writeFileSync(this.path(name), text);
    chmodSync(this.path(name), mode);
    return this.path(name);
  }

  /** A configuration: an example with its files here, after `edits` (text to replacement) each of which must match. */
  configure(example: Example, edits: Readonly<Record<string, string>> = {}): string {
    let text = exampleText(example).replaceAll("/etc/synwall", this.directory);
    for (const [from, to] of Object.entries(edits)) {
      if (!text.includes(from)) throw new Error(`the example has no ${JSON.stringify(from)}`);
      text = text.replace(from, to);
    }
    return this.write(`${example}.yaml`, text, 0o644);
  }

  load(example: Example, edits: Readonly<Record<string, string>> = {}): NodeConfig {
    return loadNodeConfig(this.configure(example, edits), example === "witness" ? "witness" : "node");
  }

  /** The code and message lines that loading ends with; file paths in them are shortened. */
  failure(
    example: Example,
    edits: Readonly<Record<string, string>> = {},
  ): { code: ErrorCode; lines: string[] } {
    try {
      this.load(example, edits);
    } catch (error) {
      if (!(error instanceof SynwallError)) throw error;
      return { code: error.code, lines: error.message.replaceAll(`${this.directory}/`, "").split("\n") };
    }
    throw new Error("the configuration was accepted");
  }

  makeCa(name: string): void {
    this.#openssl(
      "req",
      "-x509",
      ...NEW_KEY,
      "-keyout",
      this.path(`${name}.key`),
      "-out",
      this.path(`${name}.crt`),
      "-days",
      "2",
      "-subj",
      `/CN=${name}`,
    );
  }

  makeCertificate(name: string, ca: string, commonName: string): void {
    this.#openssl(
      "req",
      ...NEW_KEY,
      "-keyout",
      this.path(`${name}.key`),
      "-out",
      this.path(`${name}.csr`),
      "-subj",
      `/O=Synwall/CN=${commonName}`,
    );
    this.#openssl(
      "x509",
      "-req",
      "-in",
      this.path(`${name}.csr`),
      "-CA",
      this.path(`${ca}.crt`),
      "-CAkey",
      this.path(`${ca}.key`),
      "-CAcreateserial",
      "-days",
      "1",
      "-out",
      this.path(`${name}.crt`),
    );
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  #openssl(...args: string[]): void {
    execFileSync("openssl", args, { stdio: "pipe" });
  }
}

const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"] as const;
