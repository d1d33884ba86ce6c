/**
 * Keys: one key per use, derived from the cluster secret (HKDF-SHA-256, RFC 5869); the secret itself is used for nothing.
 */
import { createHmac, hkdfSync } from "node:crypto";
import type { Mac } from "../../cluster/liveness/envelope.ts";

export interface ClusterKeys {
  /** Slot hash, flow table hash and port mixing. */
  readonly flowKey: Uint8Array;
  readonly heartbeatKey: Uint8Array;
  /** SYN cookies: any node checks what another one made. */
  readonly cookieKey: Uint8Array;
  /** Redirected frames (link-seals.ts): each direction between two processes has keys of its own, derived from this one. */
  readonly redirectKey: Uint8Array;
}

/**
 * `logId` names the log where a store of the site keeps it. Members of different logs must not count each other's promises, if
 * somebody ever begins a second one for the same cluster: they do not understand each other's heartbeats.
 */
export function deriveKeys(secret: Uint8Array, clusterName: string, logId = ""): ClusterKeys {
  return {
    flowKey: derive(secret, clusterName, "synwall flow 1"),
    heartbeatKey: derive(secret, clusterName, `synwall heartbeat 1${logId === "" ? "" : ` of ${logId}`}`),
    cookieKey: derive(secret, clusterName, "synwall cookie 1"),
    redirectKey: derive(secret, clusterName, "synwall redirect 1"),
  };
}

/** HMAC-SHA-256 over whole envelopes; sender and receiver are named inside them, so all members may share one key. */
export function heartbeatMac(key: Uint8Array): Mac {
  return (bytes) => createHmac("sha256", key).update(bytes).digest();
}

function derive(secret: Uint8Array, clusterName: string, label: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", secret, clusterName, label, 32));
}
