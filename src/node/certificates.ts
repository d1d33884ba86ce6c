/**
 * Certificates of a running member: takes another one over from its files, or gets one from a registrar first, without touching
 * a connection that stands. Owns when; how files are replaced is cluster/transport/key-pair.ts, who signs cluster/registration/registrar.ts.
 */

import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { diskFs } from "../../cluster/storage/fs.ts";
import { finishPair, replacePair } from "../../cluster/transport/key-pair.ts";
import { judgeMaterial, loadTls, type TlsMaterial, whyUnreadable } from "../../cluster/transport/tls.ts";
import type { NodeConfig } from "../../config/node-config.ts";
import { SynwallError } from "../base/errors.ts";

export interface CertificatesOptions {
  readonly cluster: Pick<NodeConfig["cluster"], "tls" | "self" | "ports" | "founders">;
  /** Members that may have the CA's key, the likeliest first. */
  readonly registrars: () => readonly { readonly address: string }[];
  /** Whoever uses certificates. */
  readonly onChange: (tls: TlsMaterial) => void;
  /** Something that an operator may want to know, in one line. */
  readonly onNote?: (text: string) => void;
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
    this.#finish();
    this.#tls = load(options.cluster);
  }

  get tls(): TlsMaterial {
    return this.#tls;
  }

  /** Reads the files again. Throws SW_TLS_INVALID, and then all stays as it was. */
  reload(): CertificateReport {
    const { cluster, onChange } = this.#options;
    this.#tls = load(cluster);
    onChange(this.#tls);
    return { validTo: new X509Certificate(this.#tls.cert).validTo };
  }

  /**
   * Makes a new key, which stays here, gets a certificate for it, and takes both over. Throws SW_REGISTRATION_FAILED, and then
   * the present pair holds.
   */
  async rotate(): Promise<CertificateReport> {
    const { cluster, registrars } = this.#options;
    // Loaded when it is needed: most lives of a member need no X.509 library.
    const { makeRequest } = await import("../../cluster/registration/x509.ts");
    const { renewCertificate } = await import("../../cluster/registration/client.ts");
    const { key, request } = await makeRequest(cluster.self.name);
    const failures: string[] = [];
    let got: { readonly cert: string; readonly from: string } | undefined;
    for (const { address } of registrars()) {
      try {
        const place = { address, port: cluster.ports.registration };
        const { cert } = await renewCertificate(place, this.#tls, request);
        this.#requireUsable(place, { cert: bytes(cert), key: bytes(key) });
        got = { from: address, cert };
        break;
      } catch (error) {
        if (!(error instanceof SynwallError) || error.code !== "SW_REGISTRATION_FAILED") throw error;
        failures.push(error.message);
      }
    }
    if (got !== undefined) {
      this.#replace(key, got.cert);
      return { ...this.reload(), from: got.from };
    }
    throw new SynwallError(
      "SW_REGISTRATION_FAILED",
      `no member gave a new certificate that can be used; the present one stays:\n${failures.join("\n")}`,
    );
  }

  /** What the process before this one may have left. A file that cannot be written now does no harm: what is read fits. */
  #finish(): void {
    const { cluster, onNote } = this.#options;
    try {
      if (finishPair(cluster.tls, diskFs))
        onNote?.(`finished a rotation of ${cluster.tls.cert} that was cut short`);
    } catch (error) {
      onNote?.(`a rotation of ${cluster.tls.cert} was cut short and cannot be finished: ${reason(error)}`);
    }
  }

  /** Before the present pair is gone: a start judges by the same rules, and by the CA file as it is now. */
  #requireUsable({ address, port }: { address: string; port: number }, pair: Omit<TlsMaterial, "ca">): void {
    const { cluster } = this.#options;
    const { tls, self } = cluster;
    const names = { ca: tls.ca, cert: "the certificate that it gives", key: "the new key" };
    let why: string | undefined;
    try {
      const material = { ca: readFileSync(tls.ca), ...pair };
      why = judgeMaterial(material, names, self.name, Date.now(), joinedAs(cluster))[0]?.message;
    } catch (error) {
      why = `cannot read ${tls.ca} (${whyUnreadable(error)})`;
    }
    if (why !== undefined) throw new SynwallError("SW_REGISTRATION_FAILED", `${address}:${port}: ${why}`);
  }

  #replace(key: string, cert: string): void {
    const { cluster } = this.#options;
    try {
      replacePair(cluster.tls, { cert: bytes(cert), key: bytes(key) }, diskFs);
    } catch (error) {
      throw new SynwallError(
        "SW_REGISTRATION_FAILED",
        `the new certificate cannot be written beside ${cluster.tls.cert} (${reason(error)}): the member's user must be able to write in that folder and in that of ${cluster.tls.key}; the present one stays`,
        {},
        error,
      );
    }
  }
}

function load(cluster: CertificatesOptions["cluster"]): TlsMaterial {
  return loadTls(cluster.tls, cluster.self.name, Date.now(), joinedAs(cluster));
}

/** The id that this member's certificate must name. */
function joinedAs({ self, founders }: CertificatesOptions["cluster"]): number | undefined {
  return founders.includes(self.id) ? undefined : self.id;
}

function bytes(text: string): Buffer {
  return Buffer.from(text.endsWith("\n") ? text : `${text}\n`);
}

function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}
