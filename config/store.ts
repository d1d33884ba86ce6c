/**
 * Store: what control.store: etcd needs to be whole: endpoints that fit together, nothing in clear text over a network, and files that
 * can be read. Owns these checks and the reading of the files; connecting is src/node/open-store.ts.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { whyUnreadable } from "../cluster/transport/tls.ts";
import type { FileMistake } from "./files.ts";
import type { Mistake } from "./mistakes.ts";
import type { EtcdConfig } from "./node-config.ts";
import type { NodeFile, WitnessFile } from "./schema.ts";

const FIELD = ["control", "etcd"];
const OWN_HOSTS = /^(127(\.\d+){3}|localhost|\[::1\])$/;

export function checkStore({
  cluster,
  control,
}: {
  readonly cluster: Pick<NodeFile["cluster"], "quorum">;
  readonly control: NodeFile["control"] | WitnessFile["control"];
}): Mistake[] {
  const { store, etcd } = control;
  if (store === "raft") {
    if (etcd === undefined) return [];
    return [{ path: FIELD, message: "the log is kept by Raft: set control.store to etcd, or remove this" }];
  }
  if (etcd === undefined) {
    return [{ path: ["control", "store"], message: "etcd needs to be found: add control.etcd.endpoints" }];
  }
  const mistakes = [...checkEndpoints(etcd), ...checkIdentity(etcd)];
  if (cluster.quorum.mode === "pair") {
    const message = "with control.store etcd the store votes, and a pair needs no more: remove this";
    mistakes.push({ path: ["cluster", "quorum", "mode"], message });
  }
  return mistakes;
}

type EtcdFile = NonNullable<NodeFile["control"]["etcd"]>;

function checkEndpoints({ endpoints, tls }: EtcdFile): Mistake[] {
  const mistakes: Mistake[] = [];
  endpoints.forEach((endpoint, i) => {
    const path = [...FIELD, "endpoints", i];
    const { protocol, hostname } = new URL(endpoint);
    if (endpoints.indexOf(endpoint) < i) {
      mistakes.push({ path, message: `${endpoint} is listed twice: keep one of them` });
    }
    if (protocol === "http:" && !OWN_HOSTS.test(hostname)) {
      mistakes.push({
        path,
        message: `${endpoint} would carry the cluster's state in clear text: use https; http is for this machine only`,
      });
    }
    if (protocol === "https:" && tls === undefined) {
      mistakes.push({ path, message: `${endpoint} is to be proven: add control.etcd.tls.ca` });
    }
    if (protocol === "http:" && tls !== undefined) {
      mistakes.push({
        path,
        message: `${endpoint} does not use control.etcd.tls: use https, or remove control.etcd.tls`,
      });
    }
  });
  return mistakes;
}

function checkIdentity({ tls, user, passwordFile }: EtcdFile): Mistake[] {
  const mistakes: Mistake[] = [];
  if ((tls?.cert === undefined) !== (tls?.key === undefined)) {
    const [has, lacks] = tls?.cert === undefined ? ["key", "cert"] : ["cert", "key"];
    mistakes.push({
      path: [...FIELD, "tls", has],
      message: `needs its other half: add control.etcd.tls.${lacks}`,
    });
  }
  if ((user === undefined) !== (passwordFile === undefined)) {
    const [has, lacks] = user === undefined ? ["passwordFile", "user"] : ["user", "passwordFile"];
    mistakes.push({ path: [...FIELD, has], message: `needs its other half: add control.etcd.${lacks}` });
  }
  return mistakes;
}

/** Everything in the files that would make connecting fail later. */
export function checkStoreFiles(etcd: EtcdConfig | undefined): FileMistake[] {
  if (etcd === undefined) return [];
  const mistakes: FileMistake[] = [];
  const look = (
    field: string[],
    path: string | undefined,
    judge: (bytes: Buffer) => void,
    what: string,
  ): void => {
    if (path === undefined) return;
    const at = [...FIELD, ...field];
    let bytes: Buffer;
    try {
      bytes = readFileSync(path);
    } catch (cause) {
      const message = `cannot read ${path} (${whyUnreadable(cause)}): install ${what} there`;
      mistakes.push({ code: "SW_CONFIG_UNREADABLE", path: at, message });
      return;
    }
    try {
      judge(bytes);
    } catch {
      mistakes.push({
        code: "SW_TLS_INVALID",
        path: at,
        message: `${path} does not hold ${what}: install it there`,
      });
    }
  };
  const { tls, user } = etcd;
  look(["tls", "ca"], tls?.ca, (bytes) => new X509Certificate(bytes), "the CA certificate of etcd");
  look(["tls", "cert"], tls?.cert, (bytes) => new X509Certificate(bytes), "a client certificate for etcd");
  look(["tls", "key"], tls?.key, (bytes) => createPrivateKey(bytes), "the key of that certificate");
  look(["passwordFile"], user?.passwordFile, () => {}, "the password of that user");
  for (const [field, path] of [
    [["tls", "key"], tls?.key],
    [["passwordFile"], user?.passwordFile],
  ] as const) {
    if (path === undefined || mistakes.some((mistake) => mistake.path.at(-1) === field.at(-1))) continue;
    const mode = statSync(path).mode & 0o777;
    if ((mode & 0o077) === 0) continue;
    mistakes.push({
      code: "SW_CONFIG_INVALID",
      path: [...FIELD, ...field],
      message: `${path} has mode 0${mode.toString(8)}, so others can read it: run chmod 600 ${path}`,
    });
  }
  return mistakes;
}

/** The files' content, as they were checked. */
export function readStoreFiles({ tls, user }: EtcdConfig): {
  readonly tls?: { readonly ca: Buffer; readonly cert?: Buffer; readonly key?: Buffer };
  readonly user?: { readonly name: string; readonly password: string };
} {
  return {
    ...(tls === undefined
      ? {}
      : {
          tls: {
            ca: readFileSync(tls.ca),
            ...(tls.cert === undefined ? {} : { cert: readFileSync(tls.cert) }),
            ...(tls.key === undefined ? {} : { key: readFileSync(tls.key) }),
          },
        }),
    ...(user === undefined
      ? {}
      : {
          user: { name: user.name, password: readFileSync(user.passwordFile, "utf8").replace(/\r?\n$/, "") },
        }),
  };
}
