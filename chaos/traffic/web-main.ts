/**
 * Web server of a lab's host: says its name on port 80, so that a `curl` through the firewall shows whom it reached.
 * `/bytes/N` is N bytes of a known pattern. Runs as long as the lab stands. Argument: the host's name.
 */
import { createServer, type ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { bytesOfPattern, PATTERN_BYTES_MAX } from "./pages.ts";

const PORT = 80;
const host = process.argv[2] ?? "nobody";

const server = createServer((request, response) => {
  const bytes = Number(/^\/bytes\/(\d{1,8})$/.exec(request.url ?? "")?.[1] ?? -1);
  if (bytes >= 0 && bytes <= PATTERN_BYTES_MAX) sendPattern(response, bytes);
  else sendText(response, `This is ${host}; you are ${seenAs(request.socket.remoteAddress)}.\n`);
});
server.listen(PORT); // Both families, where the host has both.
process.on("SIGTERM", () => process.exit(0));

function sendText(response: ServerResponse, body: string): void {
  response.writeHead(200, { "content-type": "text/plain", "content-length": Buffer.byteLength(body) });
  response.end(body);
}

function sendPattern(response: ServerResponse, bytes: number): void {
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": bytes });
  Readable.from(bytesOfPattern(bytes)).pipe(response);
}

/** A socket of both families writes IPv4 addresses as IPv6. */
function seenAs(address: string | undefined): string {
  return address?.replace(/^::ffff:/, "") ?? "unknown";
}
