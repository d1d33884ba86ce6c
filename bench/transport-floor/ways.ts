/**
 * Ways: batches and acknowledgements over one stream, by three transports, each as plainly as it can be used. Owns both ends of each;
 * what a message says is nobody's business here.
 */
import { connect as connectHttp2, createSecureServer } from "node:http2";
import type { AddressInfo, Server as NetServer } from "node:net";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
} from "@grpc/grpc-js";
import { TLS_FLOOR, type TlsMaterial } from "../../cluster/transport/tls.ts";

export const WAYS = ["grpc-js", "node:http2", "TLS socket"] as const;
export type Way = (typeof WAYS)[number];

export interface Wire {
  send(batch: Buffer): void;
  onAck: () => void;
}

const ADDRESS = "127.0.0.1";
const PATH = "/bench.Floor/Replicate";
const ACK = Buffer.alloc(10, 1);
/** Of gRPC: a byte that says whether it is compressed, and the length. */
const PREFIX_BYTES = 5;
const raw = (bytes: Buffer): Buffer => bytes;
const SERVICE = {
  replicate: {
    path: PATH,
    requestStream: true,
    responseStream: true,
    requestSerialize: raw,
    requestDeserialize: raw,
    responseSerialize: raw,
    responseDeserialize: raw,
  },
} as const;

/** Answers the port that it listens on. */
export function serve(way: Way, { ca, cert, key }: TlsMaterial): Promise<number> {
  const options = { ca, cert, key, requestCert: true, rejectUnauthorized: true, ...TLS_FLOOR };
  if (way === "node:http2") {
    const server = createSecureServer(options);
    server.on("stream", (stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
      stream.on("error", () => {});
      stream.on(
        "data",
        perMessage(() => stream.write(framed(ACK))),
      );
    });
    return listening(server);
  }
  if (way === "TLS socket") {
    return listening(
      createTlsServer(options, (socket) => {
        socket.setNoDelay(true);
        socket.on("error", () => {});
        socket.on(
          "data",
          perMessage(() => socket.write(framed(ACK))),
        );
      }),
    );
  }
  const server = new Server();
  server.addService(SERVICE, {
    replicate: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.sendMetadata(new Metadata());
      call.on("data", () => call.write(ACK));
    },
  });
  const pairs = [{ private_key: key, cert_chain: cert }];
  return new Promise((resolve, reject) => {
    server.bindAsync(`${ADDRESS}:0`, ServerCredentials.createSsl(ca, pairs, true), (error, port) => {
      if (error === null) resolve(port);
      else reject(error);
    });
  });
}

export async function open(way: Way, port: number, { ca, cert, key }: TlsMaterial): Promise<Wire> {
  const options = { ca, cert, key, servername: "fw2", checkServerIdentity: () => undefined, ...TLS_FLOOR };
  if (way === "node:http2") {
    const session = connectHttp2(`https://${ADDRESS}:${port}`, options);
    const stream = session.request(
      { ":method": "POST", ":path": PATH, te: "trailers" },
      { endStream: false },
    );
    await new Promise((resolve) => stream.once("response", resolve));
    const wire: Wire = { send: (batch) => void stream.write(framed(batch)), onAck: () => {} };
    stream.on(
      "data",
      perMessage(() => wire.onAck()),
    );
    return wire;
  }
  if (way === "TLS socket") {
    const socket = connectTls({ host: ADDRESS, port, ...options });
    await new Promise<void>((resolve) => socket.once("secureConnect", resolve));
    socket.setNoDelay(true);
    const wire: Wire = { send: (batch) => void socket.write(framed(batch)), onAck: () => {} };
    socket.on(
      "data",
      perMessage(() => wire.onAck()),
    );
    return wire;
  }
  const client = new Client(`${ADDRESS}:${port}`, credentials.createSsl(ca, key, cert), {
    "grpc.ssl_target_name_override": "fw2",
    "grpc.enable_retries": 0,
  });
  const call = client.makeBidiStreamRequest(PATH, raw, raw, new Metadata(), {});
  call.on("error", () => {});
  await new Promise((resolve) => call.once("metadata", resolve));
  const wire: Wire = { send: (batch) => void call.write(Buffer.from(batch)), onAck: () => {} };
  call.on("data", () => wire.onAck());
  return wire;
}

function listening(server: NetServer): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, ADDRESS, () => resolve((server.address() as AddressInfo).port));
  });
}

/** Calls once for each framed message in a stream of bytes, however they come. */
function perMessage(onMessage: () => void): (bytes: Buffer) => void {
  let held: Buffer = Buffer.alloc(0);
  return (bytes) => {
    held = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
    while (held.length >= PREFIX_BYTES) {
      const end = PREFIX_BYTES + held.readUInt32BE(1);
      if (held.length < end) return;
      held = held.subarray(end);
      onMessage();
    }
  };
}

function framed(message: Buffer): Buffer {
  const out = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  out[0] = 0;
  out.writeUInt32BE(message.length, 1);
  message.copy(out, PREFIX_BYTES);
  return out;
}
