/**
 * Doors for the walk over all refusals: each service of a member that listens on the network with TLS, started as a member starts it,
 * and each bad peer that may come to it. Owns no expectations (refusals.test.ts).
 */
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type SecureVersion, type TLSSocket } from "node:tls";
import {
  Client,
  Metadata,
  Server,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServiceError,
} from "@grpc/grpc-js";
import { Registrar } from "../../../cluster/registration/registrar.ts";
import { GrpcTransport } from "../../../cluster/transport/grpc.ts";
import { MemberCredentials, PeerCredentials } from "../../../cluster/transport/grpc-credentials.ts";
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

/** The first byte of a number that has no second one: of no message whatsoever. */
export const GARBAGE = Buffer.from([0xff]);

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

/** Members besides `founders` must show a certificate that names their id. */
export async function openDoor(
  service: Service,
  port: number,
  folder: CertificateFolder,
  founders: readonly number[] = FOUNDERS,
): Promise<Door> {
  const lines: string[] = [];
  const taken: string[] = [];
  const tls = loadTls(folder.member(SELF.name), SELF.name);
  if (service === "gRPC") {
    const transport = new GrpcTransport({
      self: SELF,
      peers: [PEER],
      port,
      tls,
      founders,
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
      ...{ self, peers: [PEER], port, tls, founders },
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
    founders,
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
  "control: restart": controlService.restart,
  "sync: replicate": syncService.replicate,
} as const;
export type Method = keyof typeof METHODS;
export const METHOD_NAMES = Object.keys(METHODS) as Method[];

/** One gRPC call with that certificate, and one message as it is, twice in a stream; answers the code with which it ended. */
export function call(name: Method, port: number, tls: TlsMaterial, bytes?: Buffer): Promise<number> {
  const client = new Client(`${SELF.address}:${port}`, new PeerCredentials(SELF, tls, () => {}), {
    ...CLIENT_OPTIONS,
    "grpc.ssl_target_name_override": SELF.name,
    "grpc.default_authority": SELF.name,
  });
  return new Promise((resolve) => {
    const stream = client.makeBidiStreamRequest(METHODS[name].path, asItIs, asItIs, new Metadata(), {});
    stream.on("error", ({ code }: ServiceError) => {
      client.close();
      resolve(code);
    });
    stream.on("data", () => {});
    // Of these two, grpc-js takes no call without a message.
    const isAsked = name.startsWith("control");
    if (bytes !== undefined || isAsked) stream.write(bytes ?? Buffer.alloc(0));
    if (bytes !== undefined && !isAsked) stream.write(bytes);
    stream.end();
  });
}

/** Listens as a member does, and answers whatever it is asked with bytes that nobody can read. */
export async function answerGarbage(name: string, port: number, tls: TlsMaterial): Promise<() => void> {
  const server = new Server();
  for (const [service, definition] of Object.entries({ raftService, controlService, syncService })) {
    const raw = Object.entries(definition).map(([method, known]) => [
      method,
      { ...known, requestDeserialize: asItIs, responseSerialize: asItIs },
    ]);
    server.addService(Object.fromEntries(raw), GARBLERS[service as keyof typeof GARBLERS]);
  }
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`${name}:${port}`, new MemberCredentials(tls), (error) =>
      error === null ? resolve() : reject(error),
    ),
  );
  return () => server.forceShutdown();
}

type Answer = (error: null, bytes: Buffer) => void;

/** Streams are answered when something came, so that they stand before. */
const GARBLERS = {
  raftService: {
    exchange: (stream: ServerReadableStream<Buffer, Buffer>, answer: Answer) => {
      stream.sendMetadata(new Metadata());
      stream.once("data", () => answer(null, GARBAGE));
    },
    sendSnapshot: (stream: ServerReadableStream<Buffer, Buffer>, answer: Answer) => {
      stream.resume().once("end", () => answer(null, GARBAGE));
    },
  },
  controlService: {
    status: (_call: unknown, answer: Answer) => answer(null, GARBAGE),
    restart: (_call: unknown, answer: Answer) => answer(null, GARBAGE),
  },
  syncService: {
    replicate: (stream: ServerDuplexStream<Buffer, Buffer>) => {
      stream.sendMetadata(new Metadata());
      stream.on("data", () => {
        stream.write(GARBAGE);
        stream.write(GARBAGE);
      });
    },
  },
};

function asItIs(bytes: Buffer): Buffer {
  return bytes;
}

function takers(taken: string[]): TransportHandlers {
  return {
    onRaft: (from) => void taken.push(`a message of ${from}`),
    onStatus: (from) => {
      throw new Error(`${from} was told the status`);
    },
    onRestart: (from) => String(taken.push(`a restart for ${from}`)),
    onSyncLink: (from, link) => {
      taken.push(`a replication link of ${from}`);
      link.bind({
        onOpen: () => {},
        onMessage: () => taken.push(`a replication message of ${from}`),
        onWritable: () => {},
        onClose: () => {},
      });
    },
    onUnreachable: () => {},
    onSnapshotSent: () => {},
  };
}

function read(path: string): string {
  return readFileSync(path, "utf8");
}
