/**
 * Web server of a lab's host: says its name on port 80, so that a `curl` through the firewall shows whom it reached.
 * `/bytes/N/R` is N bytes of a known pattern, at R bytes a second. Runs as long as the lab stands. Argument: the host's name.
 */
import { createServer, type ServerResponse } from "node:http";
import { bytesOfPattern, PATTERN_BYTES_MAX } from "./pages.ts";

const PORT = 80;
const PAGE = /^\/bytes\/(\d{1,8})\/(\d{1,9})$/;
const host = process.argv[2] ?? "nobody";

const server = createServer((request, response) => {
  const [bytes = -1, bytesPerSecond = 0] = (PAGE.exec(request.url ?? "") ?? []).slice(1).map(Number);
  if (bytes >= 0 && bytes <= PATTERN_BYTES_MAX) sendPattern(response, bytes, bytesPerSecond);
  else sendText(response, `This is ${host}; you are ${seenAs(request.socket.remoteAddress)}.\n`);
});
server.listen(PORT); // Both families, where the host has both.
process.on("SIGTERM", () => process.exit(0));

function sendText(response: ServerResponse, body: string): void {
  response.writeHead(200, { "content-type": "text/plain", "content-length": Buffer.byteLength(body) });
  response.end(body);
}

/** Paced by the sender: a receiver that reads slowly lets buffers take most of a page at once. */
function sendPattern(response: ServerResponse, bytes: number, bytesPerSecond: number): void {
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": bytes });
  const chunks = bytesOfPattern(bytes);
  const startedMs = performance.now();
  let sent = 0;
  const send = (): void => {
    const { value, done } = chunks.next();
    if (done) return void response.end();
    response.write(value);
    sent += value.length;
    setTimeout(send, Math.max(0, startedMs + (sent / bytesPerSecond) * 1000 - performance.now()));
  };
  send();
}

/** A socket of both families writes IPv4 addresses as IPv6. */
function seenAs(address: string | undefined): string {
  return address?.replace(/^::ffff:/, "") ?? "unknown";
}
