/**
 * Certificates of a running member: takes another one over from its files, or gets one from a registrar first, without touching
 * a connection that stands. Owns the files' replacement; who signs is cluster/registration/registrar.ts.
 */

import { X509Certificate } from "node:crypto";
import { renameSync, writeFileSync } from "node:fs";
import { loadTls, type TlsMaterial } from "../../cluster/transport/tls.ts";
import type { NodeConfig } from "../../config/node-config.ts";
import { SynwallError } from "../base/errors.ts";

export interface CertificatesOptions {
  readonly cluster: Pick<NodeConfig["cluster"], "tls" | "self" | "ports">;
  /** Members that may have the CA's key, the likeliest first. */
  readonly registrars: () => readonly { readonly address: string }[];
  /** Whoever uses certificates. */
  readonly onChange: (tls: TlsMaterial) => void;
}

export interface CertificateReport {
  readonly validTo: string;
  /** Address of the registrar; absent when the files were taken as they are. */
  readonly from?: string;
}

export class Certificates {
  readonly #options: CertificatesOptions;
  #tls: TlsMaterial;

  constructor(options: CertificatesOptions) {
    this.#options = options;
    this.#tls = loadTls(options.cluster.tls, options.cluster.self.name);
  }

  get tls(): TlsMaterial {
    return this.#tls;
  }

  /** Reads the files again. Throws SW_TLS_INVALID, and then all stays as it was. */
  reload(): CertificateReport {
    const { cluster, onChange } = this.#options;
    this.#tls = loadTls(cluster.tls, cluster.self.name);
    onChange(this.#tls);
    return { validTo: new X509Certificate(this.#tls.cert).validTo };
  }

  /** Makes a new key, which stays here, gets a certificate for it, and takes both over. Throws SW_REGISTRATION_FAILED. */
  async rotate(): Promise<CertificateReport> {
    const { cluster, registrars } = this.#options;
    // Loaded when it is needed: most lives of a member need no X.509 library.
    const { makeRequest } = await import("../../cluster/registration/x509.ts");
    const { renewCertificate } = await import("../../cluster/registration/client.ts");
    const { key, request } = await makeRequest(cluster.self.name);
    const failures: string[] = [];
    for (const { address } of registrars()) {
      try {
        const place = { address, port: cluster.ports.registration };
        const { cert } = await renewCertificate(place, this.#tls, request);
        replace(cluster.tls.key, key);
        replace(cluster.tls.cert, cert);
        return { ...this.reload(), from: address };
      } catch (error) {
        if (!(error instanceof SynwallError) || error.code !== "SW_REGISTRATION_FAILED") throw error;
        failures.push(error.message);
      }
    }
    throw new SynwallError(
      "SW_REGISTRATION_FAILED",
      `no member gave a new certificate; the present one stays:\n${failures.join("\n")}`,
    );
  }
}

function replace(path: string, text: string): void {
  writeFileSync(`${path}.new`, text.endsWith("\n") ? text : `${text}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
