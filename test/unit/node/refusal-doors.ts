/**
 * Doors for the walk over all refusals: each service of a member that listens on the network with TLS, started as a member starts it,
 * and each bad peer that may come to it. Owns no expectations (refusals.test.ts).
 */
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type SecureVersion, type TLSSocket } from "node:tls";
import { Client, Metadata, type ServiceError } from "@grpc/grpc-js";
import { Registrar } from "../../../cluster/registration/registrar.ts";
import { GrpcTransport } from "../../../cluster/transport/grpc.ts";
import { PeerCredentials } from "../../../cluster/transport/grpc-credentials.ts";
import {
  CLIENT_OPTIONS,
  controlService,
  raftService,
  syncService,
} from "../../../cluster/transport/grpc-services.ts";
import { Lifelines } from "../../../cluster/transport/lifeline.ts";
import { type RefusalCounts, zeroRefusals } from "../../../cluster/transport/refusals.ts";
import { loadTls, type TlsFiles, type TlsMaterial } from "../../../cluster/transport/tls.ts";
import type { TransportHandlers } from "../../../cluster/transport/transport.ts";
import type { CertificateFolder } from "../cluster/transport/certificates.ts";

export const SELF = { id: 1, name: "fw1", address: "127.0.0.1" };
export const PEER = { id: 2, name: "fw2", address: "127.0.0.2" };
/** The peer joined: its certificate must name its id. */
const FOUNDERS = [SELF.id];
const QUESTION = `${JSON.stringify({ type: "renew", request: "whatever" })}\n`;
const HTTP2_PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/** A service that listens. */
export interface Door {
  readonly lines: readonly string[];
  readonly counts: Readonly<RefusalCounts>;
  /** What got through and may not. */
  readonly taken: readonly string[];
  setTls(tls: TlsMaterial): void;
  close(): void;
}

export type Service = "gRPC" | "lifeline" | "registration";

export async function openDoor(service: Service, port: number, folder: CertificateFolder): Promise<Door> {
  const lines: string[] = [];
  const taken: string[] = [];
  const tls = loadTls(folder.member(SELF.name), SELF.name);
  if (service === "gRPC") {
    const transport = new GrpcTransport({
      self: SELF,
      peers: [PEER],
      port,
      tls,
      founders: FOUNDERS,
      onRefused: (line) => void (line.includes("answers as") || lines.push(line)),
    });
    await transport.start(takers(taken));
    const counts = transport.counters.refused;
    return {
      lines,
      counts,
      taken,
      setTls: (next) => transport.setTls(next),
      close: () => void transport.close(),
    };
  }
  const counts = zeroRefusals();
  const onRefused = (line: string, reason: keyof RefusalCounts): void => {
    lines.push(line);
    counts[reason]++;
  };
  if (service === "lifeline") {
    const self = { ...SELF, id: 3 }; // It dials nobody.
    const onUp = (node: number): void => void taken.push(`a lifeline of ${node}`);
    const lifelines = new Lifelines({
      ...{ self, peers: [PEER], port, tls, founders: FOUNDERS },
      ...{ onUp, onClosed: () => {}, onRefused },
    });
    await lifelines.start();
    return { lines, counts, taken, setTls: (next) => lifelines.setTls(next), close: () => lifelines.close() };
  }
  const authority = { key: read(folder.file("ca.key")), cert: read(folder.file("ca.crt")) };
  const registrar = new Registrar({
    address: SELF.address,
    port,
    tls,
    authority,
    days: 1,
    hello: { cluster: "edge", slots: 64, profile: "vm" },
    nowMs: () => Date.now(),
    token: () => undefined,
    whyNoMember: () => undefined,
    join: async () => "nobody joins here",
    founders: FOUNDERS,
    member: (name) => (name === PEER.name ? PEER : undefined),
    welcome: () => ({ ca: authority.cert, secret: "ab".repeat(32), founders: [1], members: [] }),
    onRefused: (reason, line) => onRefused(line, reason),
    onIssued: (line) => taken.push(line),
    onFailed: (line) => taken.push(line),
  });
  await registrar.listen();
  return { lines, counts, taken, setTls: (next) => registrar.setTls(next), close: () => registrar.close() };
}

/** Whoever comes with TLS and these files, or none. Says what is said at that door, and answers how to go away. */
export function visit(
  service: Service,
  port: number,
  ca: string,
  files?: Pick<TlsFiles, "cert" | "key">,
  version?: SecureVersion,
): () => void {
  const socket: TLSSocket = connectTls({
    host: SELF.address,
    port,
    ca: readFileSync(ca),
    ...(files === undefined ? {} : { cert: readFileSync(files.cert), key: readFileSync(files.key) }),
    ...(version === undefined ? {} : { minVersion: version, maxVersion: version }),
    ...(service === "gRPC" ? { ALPNProtocols: ["h2"] } : {}),
    checkServerIdentity: () => undefined,
  });
  socket.on("error", () => {});
  socket.once("secureConnect", () => socket.write(service === "registration" ? QUESTION : HTTP2_PREFACE));
  return () => socket.destroy();
}

/** Whoever speaks clear text. */
export function speak(port: number, words: "HTTP/1" | "HTTP/2" | "bytes"): () => void {
  const text = { "HTTP/1": "GET / HTTP/1.1\r\n\r\n", "HTTP/2": HTTP2_PREFACE, bytes: "\0\x01\x02\x03\x04" }[
    words
  ];
  const socket: Socket = connect(port, SELF.address, () => socket.end(text));
  socket.on("error", () => {});
  return () => socket.destroy();
}

const METHODS = {
  "raft: exchange": raftService.exchange,
  "raft: snapshot": raftService.sendSnapshot,
  "control: status": controlService.status,
  "sync: replicate": syncService.replicate,
} as const;
export type Method = keyof typeof METHODS;
export const METHOD_NAMES = Object.keys(METHODS) as Method[];

/** One gRPC call with that certificate; answers the code with which it ended. */
export function call(name: Method, port: number, tls: TlsMaterial): Promise<number> {
  const { path, requestSerialize, responseDeserialize } = METHODS[name];
  const client = new Client(`${SELF.address}:${port}`, new PeerCredentials(SELF, tls, () => {}), {
    ...CLIENT_OPTIONS,
    "grpc.ssl_target_name_override": SELF.name,
    "grpc.default_authority": SELF.name,
  });
  return new Promise((resolve) => {
    const stream = client.makeBidiStreamRequest(
      path,
      requestSerialize as (value: never) => Buffer,
      responseDeserialize as (bytes: Buffer) => unknown,
      new Metadata(),
      {},
    );
    stream.on("error", ({ code }: ServiceError) => {
      client.close();
      resolve(code);
    });
    stream.on("data", () => {});
    if (name === "control: status") stream.write({} as never);
    stream.end();
  });
}

function takers(taken: string[]): TransportHandlers {
  return {
    onRaft: (from) => void taken.push(`a message of ${from}`),
    onStatus: (from) => {
      throw new Error(`${from} was told the status`);
    },
    onSyncLink: (from) => void taken.push(`a replication link of ${from}`),
    onUnreachable: () => {},
    onSnapshotSent: () => {},
  };
}

function read(path: string): string {
  return readFileSync(path, "utf8");
}
