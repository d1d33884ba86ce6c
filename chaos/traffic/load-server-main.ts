/**
 * Load server: the far end of a drill's TCP traffic. Turns what streams and visits send, and serves the bulk download at a
 * steady pace until it is told to be quiet. Argument: the address to listen on.
 */
import { createServer as createHttpServer, type ServerResponse } from "node:http";
import { createServer, type Socket } from "node:net";
import { reportReady, serveControl } from "./child-control.ts";
import { BulkSource, CHUNK_INTERVAL_MS } from "./download-log.ts";
import { turn } from "./pattern.ts";
import { BULK_PORT, STREAM_PORT, VISIT_PORTS } from "./ports.ts";

const BACKLOG = 8192;

const address = process.argv[2] ?? "0.0.0.0";
const downloads = new Set<{ response: ServerResponse; position: number }>();
const source = new BulkSource();
let accepted = 0;
let resets = 0;

const servers = [STREAM_PORT, ...VISIT_PORTS].map((port) => ({ server: createServer(accept), port }));
const http = createHttpServer((_request, response) => {
  response.writeHead(200, { "content-type": "application/octet-stream" });
  downloads.add({ response, position: 0 });
  response.on("close", () => undefined);
});

let listening = 0;
const onListening = (): void => {
  if (++listening === servers.length + 1) reportReady();
};
for (const { server, port } of servers) server.listen({ port, host: address, backlog: BACKLOG }, onListening);
http.listen(BULK_PORT, address, onListening);
const pace = setInterval(feedDownloads, CHUNK_INTERVAL_MS);

serveControl({
  quiet: () => {
    clearInterval(pace);
    for (const { response } of downloads) response.end();
  },
  result: () => ({ accepted, resets, ...source.report() }),
});

function accept(socket: Socket): void {
  accepted++;
  socket.setNoDelay(true);
  socket.on("data", (bytes: Buffer) => void socket.write(turn(bytes)));
  socket.on("error", () => void resets++);
}

/** The first download carries the hash; a lab asks for one only. */
function feedDownloads(): void {
  for (const download of downloads) {
    const { response } = download;
    // A stalled download is not fed: what matters is that it goes on, not that it catches up.
    if (response.destroyed || response.writableNeedDrain) continue;
    const chunk = source.chunk(download.position);
    download.position += chunk.length;
    response.write(chunk);
  }
}
